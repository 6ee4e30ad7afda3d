"""``python -m refnet_triton.gpu``"""

import sys

from refnet_triton.gpu.main import main

if __name__ == "__main__":  # and not in the processes that it starts
    sys.exit(main())
