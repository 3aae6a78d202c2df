"""The simulated TPM's maker, and what comes of it where there is none."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tpmconsole.board import Board
from tpmconsole.settings import Settings
from tpmconsole.system.environment import SEARCH_PATH
from tpmconsole.system.files import make_private_folder
from tpmconsole.tpm.simulator import Simulator
from tpmconsole.tpm.simulator.maker import SETUP, Maker


def endorsed(state: Path) -> list[int]:
    board = Board(Settings(state=state, simulate=True))
    try:
        return [one.index for one in board.tpm.endorsement(prove=False).certificates]
    finally:
        board.close()


def test_a_new_tpm_has_certificates_and_no_keys_at_handles(state: Path) -> None:
    assert endorsed(state) == [0x01C00002, 0x01C00016]
    board = Board(Settings(state=state, simulate=True))
    assert board.tpm.persistent_keys() == ()
    board.close()
    assert len(Simulator(state / "simulator").maker.certificates()) == 2


def test_a_tpm_from_before_goes_on_without(state: Path) -> None:
    make_private_folder(state / "simulator" / "tpm")
    assert endorsed(state) == []
    assert not (state / "simulator" / "maker").exists()


def test_another_tpm_of_the_same_folder_is_of_the_same_maker(simulator: Simulator) -> None:
    simulator.ensure()
    [root, _] = simulator.maker.certificates()
    before = root.read_bytes()
    simulator.forget()
    simulator.ensure()
    assert root.read_bytes() == before


def without(folder: Path, *missing: str) -> str:
    """A search path that has all the simulator's programs but some."""
    folder.mkdir()
    for name in ("swtpm", "dbus-daemon", "tpm2-abrmd", SETUP, "swtpm_localca"):
        found = shutil.which(name, path=SEARCH_PATH)
        if name not in missing and found:
            (folder / name).symlink_to(found)
    return str(folder)


@pytest.mark.parametrize("missing", [SETUP, "swtpm_localca"])
def test_without_the_program_there_is_a_tpm_all_the_same(
    state: Path, tmp_path: Path, missing: str
) -> None:
    simulator = Simulator(state / "simulator", search_path=without(tmp_path / "bin", missing))
    simulator.ensure()
    assert simulator.status().running
    assert not (state / "simulator" / "maker").exists()


def test_a_program_that_fails_leaves_nothing(
    state: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = without(tmp_path / "bin", SETUP)
    fails = Path(path) / SETUP
    fails.write_text('#!/bin/sh\nfor last; do :; done; touch "${last#dir://}/half"; exit 3\n')
    fails.chmod(0o755)
    make_private_folder(state / "simulator")
    assert not Maker(state / "simulator" / "maker", path).make_chip(state / "simulator" / "tpm")
    assert "no endorsement certificates" in caplog.text
    assert sorted(one.name for one in (state / "simulator").iterdir()) == ["maker"]
    simulator = Simulator(state / "simulator", search_path=path)
    simulator.ensure()
    assert simulator.status().running
