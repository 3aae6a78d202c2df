"""Programs that are asked something, and may hang with the TPM."""

from __future__ import annotations

import os
import signal
import subprocess

import psutil
import pytest
from support.waiting import wait_until

from tpmconsole.system.processes import ask


def test_a_program_that_cannot_be_killed_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    # Inside a driver that hangs, SIGKILL does nothing before the driver comes back.
    monkeypatch.setattr(subprocess.Popen, "kill", lambda _: None)
    program = ["/bin/sleep", "3.14"]
    with pytest.raises(subprocess.TimeoutExpired):
        ask(program, {}, 0.02)
    (left,) = [one for one in psutil.Process().children() if one.cmdline() == program]
    os.kill(left.pid, signal.SIGKILL)
    wait_until(lambda: not psutil.pid_exists(left.pid), "nobody reaps it")
