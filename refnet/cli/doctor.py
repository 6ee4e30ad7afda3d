"""refnet doctor: what this machine can run, what it cannot, and what to install."""

from __future__ import annotations

import argparse
import importlib.metadata
import platform
import sys

from refnet import __version__
from refnet import backend as backends
from refnet.cli.output import BAD, GOOD, HEADING, QUIET, say, table
from refnet.errors import RefnetError
from refnet.op import TABLE
from refnet.proof.judge import cases_of, compare

#: package: what it is for, and what installs it
PACKAGES = {
    "numpy": ("the reference", "pip install numpy"),
    "rich": ("this command line", "pip install rich"),
    "safetensors": ("files of weights", "pip install safetensors"),
    "torch": ("memory for the Triton kernels", "pip install 'refnet[triton]'"),
    "triton": ("the Triton kernels", "pip install 'refnet[triton]'"),
    "matplotlib": ("pictures", "pip install 'refnet[viz]'"),
}
LINUX_ONLY = ("torch", "triton")
SMOKE = "softmax"  # a reduction, an exponential and a division


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command takes no arguments."""


def run(arguments: argparse.Namespace) -> int:
    """Run the command; the exit code is 0 if the NumPy side works."""
    say("Packages", HEADING)
    rows = [("refnet", __version__, "")]
    rows.append(("python", platform.python_version(), f"{platform.system()} {platform.machine()}"))
    rows += [(name, *_package(name)) for name in PACKAGES]
    lines = table(("package", "version", ""), rows)
    say(lines[0], QUIET)
    for line, (_, version, _) in zip(lines[1:], rows, strict=True):
        say(line, BAD if version == "missing" else "")

    say()
    say("Backends", HEADING)
    works = {name: _backend(name) for name in backends.names()}

    say()
    if not works["numpy"]:
        say("The NumPy side does not work: reinstall refnet and NumPy.", BAD)
        return 1
    if any(backends.get(name).interpreted for name, fine in works.items() if fine):
        say("Kernels are interpreted: correct, but slow. With a GPU for Triton they are compiled.")
    others = [name for name, fine in works.items() if fine and name != "numpy"]
    if others:
        say(
            f"Everything can run here: refnet demo compares numpy with {' or '.join(others)}.", GOOD
        )
    else:
        say("The NumPy side works: refnet demo trains a network with it.", GOOD)
    return 0


def _package(name: str) -> tuple[str, str]:
    """(version, what the package is for or how to get it)."""
    use, install = PACKAGES[name]
    try:
        return importlib.metadata.version(name), use
    except importlib.metadata.PackageNotFoundError:
        if name in LINUX_ONLY and sys.platform != "linux":
            return "missing", f"{use}; Triton is published for Linux only"
        return "missing", f"{use}; {install}"


def _backend(name: str) -> bool:
    """Say whether a backend runs, where, and how near to the reference it computes one op."""
    try:
        backend = backends.get(name)
        described = backend.describe()
    except Exception as error:  # a package of another's that is broken may raise anything
        say(f"{name}: cannot run: {_line(error)}", BAD)
        return False
    try:
        op = TABLE[SMOKE]
        found = [compare(op, case, backend.dtypes[0], backend) for case in cases_of(op)]
    except Exception as error:
        say(f"{name}: {described}, but {SMOKE} fails: {_line(error)}", BAD)
        return False
    wrong = [f"{one.case}: {one.complaint}" for one in found if not one.ok]
    if wrong:
        say(f"{name}: {described}, but {SMOKE} is wrong: {_line(wrong[0])}", BAD)
        return False
    worst = max(one.ratio for one in found)
    say(
        f"{name}: {described}; {SMOKE} in {backend.dtypes[0]} is right on "
        f"{len(found)} cases (largest error {worst:.2f} of its bound)",
        GOOD,
    )
    return True


def _line(error: object) -> str:
    """An error as one line; those that are not ours with their type."""
    text = " ".join(str(error).split()).partition("cannot run here: ")
    ours = isinstance(error, (RefnetError, str))
    return (text[2] or text[0]) if ours else f"{type(error).__name__}: {text[2] or text[0]}"
