"""From exec to the first paint, and to the TPM's facts."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from bench.measure import Terminal, medians, print_heading, print_row, verdict
from tpmconsole.settings import Settings

ROUNDS = 9
ENVIRONMENT = {"TERM": "vt220", "PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": "/"}
ONE_LABEL = Path(__file__).with_name("one_label.py")


def bench(settings: Settings) -> None:
    """Print how long the console needs to open, against a program with one label."""
    command = [sys.executable, "-m", "tpmconsole", "--simulate", "--state", str(settings.state)]
    facts: list[float] = []

    def console() -> float:
        terminal = Terminal(command, ENVIRONMENT)
        painted = terminal.when(b"Overview")
        facts.append(terminal.when(b"PASSED") - painted)
        terminal.close()
        return painted

    def label() -> float:
        terminal = Terminal([sys.executable, str(ONE_LABEL)], ENVIRONMENT)
        painted = terminal.when(b"one-label")
        terminal.close()
        return painted

    times = medians({"label": label, "console": console}, ROUNDS)
    ratio = times["console"] / times["label"]
    print_heading("Opening the console (80x24, simulated TPM running)")
    print_row("one label: exec to first paint", f"{times['label'] * 1e3:.0f} ms")
    print_row("tpmconsole: exec to first paint", f"{times['console'] * 1e3:.0f} ms")
    print_row("ratio", f"{ratio:.2f}", verdict(ratio, 1.5))
    waited = sorted(facts)[len(facts) // 2]
    print_row("first paint to TPM facts", f"{waited * 1e3:.0f} ms", verdict(waited, 0.6))
