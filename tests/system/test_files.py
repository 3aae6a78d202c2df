"""Write and clean up files on a real file system."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from tpmconsole.errors import ConsoleError
from tpmconsole.system.files import PUBLIC_FILE, write_out


def test_what_a_user_names_replaces_nothing_but_a_file(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("old")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(target)
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    (tmp_path / "stdout").symlink_to(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
    (tmp_path / "folder").mkdir()
    before = {one.name: one.lstat() for one in tmp_path.iterdir()}
    for name in before.keys() - {"target"}:
        with pytest.raises(ConsoleError, match="Not written"):
            write_out(tmp_path / name, b"new")
    assert {one.name: one.lstat() for one in tmp_path.iterdir()} == before
    write_out(target, b"new", PUBLIC_FILE)
    assert (target.read_bytes(), target.stat().st_mode & 0o777) == (b"new", PUBLIC_FILE)
