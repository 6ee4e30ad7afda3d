"""The machine that something was measured on: what a report has to say besides its numbers."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from refnet.base.version import __version__

PACKAGES = ("refnet", "numpy", "torch", "triton")


def machine() -> dict[str, Any]:
    """Date, versions and hardware: what a report has to say besides its numbers."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cores": os.cpu_count(),
        **{name: _version(name) for name in PACKAGES},
    }


def _version(package: str) -> str:
    if package == "refnet":  # a checkout may not be installed, or installed as it once was
        return __version__
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _commit() -> str:
    """The commit of the checkout this file belongs to, "and changes" if it was edited since; or ""."""

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(Path(__file__).parent), *words],
                capture_output=True, text=True, timeout=20, check=True,
            )  # fmt: skip
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip()

    tracked = git("ls-files", "--error-unmatch", "__init__.py") is not None
    if not tracked:  # installed, and the folder happens to lie inside somebody's checkout
        return ""
    edited = " and changes" if git("status", "--porcelain", "--untracked-files=no") else ""
    return (git("rev-parse", "HEAD") or "") + edited
