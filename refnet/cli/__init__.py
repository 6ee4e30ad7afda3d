"""The command line: ``refnet demo | train | show | check | bound ...``, also as ``python -m refnet``.

Exit codes: 0 done; 1 done, but the result is not what was promised; 2 a mistake in what was asked,
said in one line; 130 interrupted.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import os
import sys
from collections.abc import Sequence

from refnet import __version__, backend
from refnet.cli import bound, check, demo, doctor, inspect, show, train
from refnet.errors import RefnetError

COMMANDS = {
    "demo": demo,
    "train": train,
    "show": show,
    "check": check,
    "bound": bound,
    "inspect": inspect,
    "doctor": doctor,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the arguments are those of the program unless given. Returns the exit code."""
    _print_anything()
    _know_the_checkout()
    parser = _parser()
    try:
        arguments = parser.parse_args(argv)
    except SystemExit as stop:  # argparse has printed its help or its complaint
        return int(stop.code or 0)
    if arguments.command is None:
        parser.print_help()
        return 0
    try:
        code: int = COMMANDS[arguments.command].run(arguments)
        sys.stdout.flush()
        return code
    except RefnetError as error:
        sys.stdout.flush()
        print(f"refnet {arguments.command}: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader, say `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print(f"\nrefnet {arguments.command}: interrupted", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="refnet",
        description="Neural networks twice: in NumPy to be read, in Triton to be run.",
        epilog="refnet COMMAND --help says what a command takes.",
    )
    parser.add_argument("--version", action="version", version=f"refnet {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for name, module in COMMANDS.items():
        doc = (module.__doc__ or "").strip()
        line = doc.partition("\n")[0].partition(": ")[2]
        command = commands.add_parser(
            name,
            help=line,
            description=line[:1].upper() + line[1:],
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        )
        module.add_arguments(command)
    return parser


def _print_anything() -> None:
    """A terminal that cannot show σ or ∂ shows ? instead of stopping the program."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def _know_the_checkout() -> None:
    """Find `refnet_triton` beside `refnet` where neither is installed: ``python -m refnet``."""
    if importlib.util.find_spec("refnet_triton"):
        backend.register_uninstalled("triton", "refnet_triton.backend:TritonBackend")
