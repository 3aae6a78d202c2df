"""A self-test asks the TPM once, and its answer is enough for everything that shows it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tpmconsole.board import Board
from tpmconsole.settings import Settings
from tpmconsole.tpm.model import SelfTestResult
from tpmconsole.tpm.simulator import Simulator
from tpmconsole.tpm.worker.dispatcher import Dispatcher


def test_a_self_test_is_one_job(
    settings: Callable[..., Settings],
    shared_simulator: Simulator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    jobs: list[str] = []
    call = Dispatcher.call

    def counted(self: Dispatcher, job: str, *arguments: Any, **named: Any) -> Any:
        jobs.append(job)
        return call(self, job, *arguments, **named)

    monkeypatch.setattr(Dispatcher, "call", counted)
    monkeypatch.setattr(Board, "connect", lambda _: shared_simulator.ensure())
    board = Board(settings())
    try:
        result, health = board.self_test(full=True)
        assert jobs == ["self_test"]
        assert result.result is SelfTestResult.PASSED
        assert health.clock is not None
        assert (health.self_test.kind, health.self_test.time) == ("full", result.time)
        later = board.status(brief=True)
        assert later.self_test == health.self_test
        assert later.tcti_why == health.tcti_why
    finally:
        board.close()
