"""Diagnosis, report and simulator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tpmconsole.cli.parser import Parser, add_command

SHELLS = ("bash", "zsh")


def add_commands(commands: Any) -> None:
    doctor = add_command(
        commands,
        "doctor",
        "look for what is wrong, and say what to do",
        "tpmconsole doctor --server gateway.local:8443",
    )
    doctor.add_argument(
        "--server",
        action="append",
        default=[],
        metavar="HOST:PORT",
        help="also try to reach this server; may be given several times",
    )
    doctor.add_argument(
        "--repair", action="store_true", help="give our files the modes that they should have"
    )
    doctor.add_argument("--yes", action="store_true", help="without it, only says what it would do")
    report = add_command(
        commands,
        "report",
        "everything for support, in one text",
        "tpmconsole report --out report.txt",
    )
    report.add_argument(
        "--out", type=Path, metavar="FILE", help="write it to this file ('-': print it)"
    )
    add_command(
        commands,
        "tour",
        "why a key belongs into a TPM: the guided tour, printed as it is done",
        "tpmconsole --simulate tour",
    )
    simulator = commands.add_parser("simulator", help="the simulated TPM")
    actions = simulator.add_subparsers(dest="action", required=True, parser_class=Parser)
    for name in ("start", "stop", "status"):
        text = f"{name} the simulated TPM" if name != "status" else "is it running"
        one = add_command(actions, name, text, f"tpmconsole simulator {name}")
        if name == "stop":
            one.add_argument(
                "--yes", action="store_true", help="also while sessions sign with its keys"
            )
    completion = add_command(
        commands,
        "completion",
        "print what makes a shell complete our words",
        "source <(tpmconsole completion bash)",
    )
    completion.add_argument("shell", choices=SHELLS)
