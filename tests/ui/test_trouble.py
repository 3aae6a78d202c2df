"""The console while its TPM dies or hangs: it responds to keys, and then recovers."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest
from support.technician import console
from support.waiting import wait_until

from tpmconsole.settings import Settings
from tpmconsole.tpm.simulator import Simulator

Make = Callable[..., Settings]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("program", ["swtpm", "tpm2-abrmd", "dbus-daemon"])
async def test_a_killed_part_of_the_simulator_is_repaired_at_the_next_use(
    settings: Make, simulator: Simulator, program: str
) -> None:
    async with console(settings(simulate=True)) as technician:
        await technician.sees("PASSED")
        before = simulator.status().pids
        os.kill(before[program], signal.SIGKILL)
        wait_until(lambda: not alive(before[program]), f"{program} is gone")
        await technician.press("t")
        await technician.sees("full, 20")
        assert simulator.status().pids[program] != before[program]
        assert len(technician.app.screen_stack) == 1


async def test_a_tpm_that_comes_back_is_noticed_without_a_key_press(
    settings: Make,
) -> None:
    async with console(settings(tcti="device:/nowhere", tcti_source="--tcti")) as technician:
        await technician.sees("NO TPM")
        # As if the device had appeared under the same name.
        technician.app.board.use_simulator()
        await technician.sees("Self-test   PASSED")
