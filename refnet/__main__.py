"""``python -m refnet`` is ``refnet``."""

import sys

try:
    from refnet.cli import main
except ModuleNotFoundError as error:  # a checkout that was not installed
    sys.exit(f"refnet: {error.name} is missing: pip install {error.name}")

if __name__ == "__main__":
    sys.exit(main())
