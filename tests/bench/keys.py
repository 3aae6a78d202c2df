"""How fast a folder of key files is listed, and in how much memory."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from bench.measure import print_heading, print_row, verdict
from tpmconsole.board import Board

COUNTS = (100, 1_000, 10_000)
FIRST_S = 0.3  # aim: seconds from a console's question to its first rows
ROUNDS = 3
# In a process of its own: the memory of one list must not hide behind another's.
CHILD = """
import resource, sys, time
from pathlib import Path
from tpmconsole.tpm.keyfile.scan import scan
start, first, kept = time.perf_counter(), 0.0, []
for key in scan([Path(sys.argv[1])]):
    kept.append(key)
    if len(kept) == 20:
        first = time.perf_counter() - start
whole = time.perf_counter() - start
print(len(kept), first, whole, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def bench(board: Board) -> None:
    """Print keys a second at each size of folder, the first screenful's time and the memory."""
    from tpmconsole.tpm.model import Algorithm

    pem = board.tpm.create(Algorithm.EC_P256)
    print_heading("Listing key files (no TPM involved)")
    for count in COUNTS:
        with tempfile.TemporaryDirectory(prefix="keys") as name:
            for number in range(count):
                (Path(name) / f"device-{number}.pem").write_bytes(pem)
            first, whole, memory = min(_listed(name, count) for _ in range(ROUNDS))
        print_row(f"{count} files: keys a second", f"{count / whole:.0f}")
        print_row(f"{count} files: first 20 keys", f"{first * 1e3:.0f} ms", verdict(first, FIRST_S))
        print_row(f"{count} files: memory of the process", f"{memory:.0f} MB")


def _listed(folder: str, count: int) -> tuple[float, float, float]:
    done = subprocess.run(
        [sys.executable, "-c", CHILD, folder], capture_output=True, text=True, check=True
    )
    found, first, whole, memory = map(float, done.stdout.split())
    assert found == count
    return first, whole, memory
