"""Programs that are asked something, and may hang with the TPM."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from support.waiting import wait_until

from tpmconsole.errors import ExitCode
from tpmconsole.system import processes
from tpmconsole.system.processes import (
    NoProcError,
    Process,
    ask,
    boot_id,
    start_time,
    with_variable,
)


def test_a_program_that_cannot_be_killed_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    # Inside a driver that hangs, SIGKILL does nothing before the driver comes back.
    monkeypatch.setattr(subprocess.Popen, "kill", lambda _: None)
    program = ["/bin/sleep", "3.14"]
    with pytest.raises(subprocess.TimeoutExpired):
        ask(program, {}, 0.02)
    (left,) = [one for one in psutil.Process().children() if one.cmdline() == program]
    os.kill(left.pid, signal.SIGKILL)
    wait_until(lambda: not psutil.pid_exists(left.pid), "nobody reaps it")


@pytest.mark.parametrize(
    "look",
    [
        boot_id,
        lambda: Process(1, 1).alive,
        lambda: start_time(os.getpid()),
        lambda: with_variable("NAME", "value"),
    ],
)
def test_without_proc_nothing_is_said_of_a_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, look: Callable[[], object]
) -> None:
    """As after a chroot to a directory in which /proc is not mounted."""
    monkeypatch.setattr(processes, "PROC", tmp_path)
    with pytest.raises(NoProcError, match=r"No /proc: .* is not mounted") as caught:
        look()
    assert caught.value.exit_code is ExitCode.UNEXPECTED
