"""Which files the console makes private: its own, but not the target of a link."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any, cast

import pytest
from support.running import NOBODY, needs_root

from tpmconsole.board import Board
from tpmconsole.board.keys import make_private
from tpmconsole.errors import ConsoleError
from tpmconsole.settings import Settings
from tpmconsole.tpm.model import KeyFile


def _make_private(state: Path, path: Path) -> None:
    class File:
        def __init__(self) -> None:
            self.path = str(path)

    make_private(Board(Settings(state=state / "state")), cast("KeyFile", cast("Any", File())))


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "key.pem"
    path.write_text("key")
    path.chmod(0o644)
    return path


def test_our_own_file(tmp_path: Path, file: Path) -> None:
    _make_private(tmp_path, file)
    assert _mode(file) == 0o600
    assert "chmod" in (tmp_path / "state/audit.jsonl").read_text()


def test_a_link_is_not_followed(tmp_path: Path, file: Path) -> None:
    link = tmp_path / "link.pem"
    link.symlink_to(file)
    with pytest.raises(ConsoleError, match="it is a link"):
        _make_private(tmp_path, link)
    assert _mode(file) == 0o644


@needs_root
def test_anothers_file_is_left_alone(tmp_path: Path, file: Path) -> None:
    os.chown(file, NOBODY, NOBODY)
    with pytest.raises(ConsoleError, match="belongs to another user"):
        _make_private(tmp_path, file)
    assert _mode(file) == 0o644


def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.pem"
    os.mkfifo(pipe, 0o644)
    with pytest.raises(ConsoleError, match="neither a file nor a folder"):
        _make_private(tmp_path, pipe)
    assert _mode(pipe) == 0o644
