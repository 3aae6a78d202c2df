"""One status refresh in a running console against the same facts from tpm2-tools."""

from __future__ import annotations

import os

from bench.measure import medians, print_heading, print_row, quiet, timed, verdict
from tpmconsole.board import Board

ROUNDS = 15
# What a technician types to see what the Overview shows; the self-test itself is left out.
COMMANDS = (
    ("tpm2_getcap", "properties-fixed"),
    ("tpm2_getcap", "properties-variable"),
    ("tpm2_getcap", "algorithms"),
    ("tpm2_getcap", "ecc-curves"),
    ("tpm2_pcrread",),
    ("tpm2_readclock",),
    ("tpm2_gettestresult",),
)


def bench(board: Board) -> None:
    """Print how long a refresh takes, against tpm2-tools on the same TPM."""
    board.status()
    connection = board.tpm.connection
    assert connection is not None
    environment = {
        "PATH": os.environ["PATH"],
        "TPM2TOOLS_TCTI": connection.tcti,
        **connection.environment,
    }

    def tools() -> None:
        for command in COMMANDS:
            quiet(command, environment)

    times = medians({"console": lambda: timed(board.status), "tools": lambda: timed(tools)}, ROUNDS)
    ratio = times["console"] / times["tools"]
    print_heading("One status refresh")
    print_row(f"{len(COMMANDS)} tpm2-tools commands", f"{times['tools'] * 1e3:.1f} ms")
    print_row("tpmconsole", f"{times['console'] * 1e3:.1f} ms")
    print_row("ratio", f"{ratio:.2f}", verdict(ratio, 0.4))
