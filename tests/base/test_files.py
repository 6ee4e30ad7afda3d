"""A file that cannot be written leaves the one there was."""

from __future__ import annotations

import os

import pytest

from refnet.base.files import replace_file


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    """With other content than before: the same bytes again would look whole either way."""
    path = tmp_path / "a.refnet"
    replace_file(path, b"the old one")

    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space left"):
        replace_file(path, b"the new one")
    assert path.read_bytes() == b"the old one"
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
