"""How long the example playbook takes for a fleet: first from nothing, then with nothing to do."""

from __future__ import annotations

import tempfile
from pathlib import Path

from support.fleet import Fleet

from bench.measure import print_heading, print_row, timed

SIZES = (1, 8, 32)
FORKS = 8


def bench() -> None:
    """Print seconds for fleets whose boards are all on this machine, with a simulated TPM each."""
    print_heading(f"Ansible provisions a fleet ({FORKS} forks; every board is this machine)")
    for size in SIZES:
        with tempfile.TemporaryDirectory(prefix="fl", dir="/tmp") as name:
            fleet = Fleet(Path(name), size)
            try:
                first, again = [timed(lambda: fleet.play(FORKS)) for _ in range(2)]  # noqa: B023
            finally:
                fleet.stop()
        print_row(f"{size} boards, from nothing", f"{first:.1f} s")
        print_row(f"{size} boards, nothing to do", f"{again:.1f} s")
