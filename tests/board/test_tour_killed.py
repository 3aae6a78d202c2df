"""A tour that is killed: the next tour, or the next console, removes what it left behind."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.waiting import processes_of, wait_until

from tpmconsole.board.tour import clear_leftovers
from tpmconsole.settings import Settings

Make = Callable[..., Settings]


@pytest.mark.long
@pytest.mark.parametrize("step", [6, 8])
def test_what_a_killed_tour_leaves_is_taken_away(settings: Make, state: Path, step: int) -> None:
    """Killed while its server runs (6), and while the second TPM runs (8)."""
    tour = subprocess.Popen(
        [
            *(sys.executable, "-m", "tpmconsole", "--simulate", "--state", str(state)),
            "tour",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert tour.stdout is not None
    for line in tour.stdout:  # a step is printed when it is done
        if line.startswith(f"{step if step == 6 else step - 1} of "):
            break
    if step == 8:
        thief = state / "tour" / "stage" / "thief" / "simulator"
        wait_until((thief / "runtime.json").exists, "the second TPM is started")
    tour.send_signal(signal.SIGKILL)
    tour.wait()
    tour.stdout.close()
    assert processes_of(state)

    clear_leftovers(settings(simulate=True))

    assert not (state / "tour").exists()
    # A TPM worker exits when the tour has ended.
    wait_until(lambda: not processes_of(state), "nothing is left running")
