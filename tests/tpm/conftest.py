"""Fixtures for tests that talk to a TPM."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tpmconsole.tpm.client import Tpm
from tpmconsole.tpm.model import Algorithm, Connection
from tpmconsole.tpm.simulator import Simulator


@pytest.fixture(scope="session")
def shared_tpm(
    shared_simulator: Simulator, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Tpm]:
    """One client of the shared simulator, for all tests that change neither."""
    tpm = Tpm(shared_simulator.ensure, tmp_path_factory.mktemp("log") / "tpmconsole.log")
    yield tpm
    tpm.close()


@pytest.fixture(scope="session")
def made(shared_tpm: Tpm) -> dict[Algorithm, bytes]:
    """One key file of each kind, made by the shared simulator."""
    return {algorithm: shared_tpm.create(algorithm) for algorithm in Algorithm}


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Callable[..., Tpm]]:
    """Make clients that log to ``tmp_path / "log"``; they are closed at the end."""
    made: list[Tpm] = []

    def make(connect: Callable[[], Connection], **deadlines: float) -> Tpm:
        tpm = Tpm(connect, tmp_path / "log", deadlines=deadlines)
        made.append(tpm)
        return tpm

    yield make
    for tpm in made:
        tpm.close()
