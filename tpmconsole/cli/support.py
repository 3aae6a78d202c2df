"""Commands for diagnosis, report, tour and simulator."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tpmconsole.cli.common import Answer, confirm, out_file
from tpmconsole.cli.next_steps import say
from tpmconsole.cli.parser import add_command, subcommands
from tpmconsole.errors import ExitCode
from tpmconsole.inputs import parse_target
from tpmconsole.system.files import write_out

if TYPE_CHECKING:
    from tpmconsole.board import Board
    from tpmconsole.board.tour.story import Outcome

# The paths at which a distribution installs them, in its /usr/share.
COMPLETIONS = {
    "bash": "bash-completion/completions/tpmconsole",
    "zsh": "zsh/site-functions/_tpmconsole",
}


_LINE = 78  # columns of the tour's text


def _doctor(board: Board, args: Namespace) -> Answer:
    from tpmconsole.board.doctor import examine, worst
    from tpmconsole.board.lines import doctor_lines, finding_json

    if args.repair:
        return _repair(board, args)
    servers = [parse_target(one)[:2] for one in args.server]
    findings = list(examine(board, servers=servers))
    code = ExitCode.NO if worst(findings) == "fail" else ExitCode.YES
    data = {"findings": [finding_json(one) for one in findings]}
    return Answer(data, doctor_lines(findings, say), code)


def _repair(board: Board, args: Namespace) -> Answer:
    """Correct the modes of our files after a confirmation."""
    from tpmconsole.board.doctor.modes import plan_repair, wrong_modes

    wrong = wrong_modes(board.settings.state)
    plan = plan_repair(board)
    changed = 0 if plan is None else confirm(plan, args)
    lines = [f"{one}: done" if one.ours else f"{one}: belongs to another user" for one in wrong]
    left = len(wrong) - changed
    code = ExitCode.NO if left else ExitCode.YES
    data = {"repaired": [str(one.path) for one in wrong if one.ours], "left": left}
    return Answer(data, lines or ["nothing to repair"], code, changed=changed > 0)


def _report(board: Board, args: Namespace) -> Answer:
    from tpmconsole.board.report import make_report

    report = make_report(board, say=say)
    if out := out_file(args):
        write_out(out, report.text.encode())
        return Answer(report.data, [f"{out}: {len(report.text)} characters"])
    return Answer(report.data, report.text.splitlines())


def _tour(board: Board, args: Namespace) -> Answer:
    from tpmconsole.board.tour.story import STEPS

    done = _walk(board)
    if not args.json:
        return Answer({}, tour_lines(done))
    return Answer({"steps": [STEPS[index].to_json(index + 1, what) for index, what in done]}, [])


def _walk(board: Board) -> Iterator[tuple[int, Outcome]]:
    """Run the tour's steps one by one, and remove everything at the end, even after an error."""
    from tpmconsole.board.tour import Tour
    from tpmconsole.board.tour.story import STEPS

    tour = Tour.beside(board.settings)
    try:
        for index in range(len(STEPS)):
            yield index, tour.do(index)
    finally:
        tour.close()


def _simulator_start(board: Board, _: Namespace) -> Answer:
    was_running = board.simulator.status().running
    board.simulator.ensure()
    return replace(_simulator_status(board, _), changed=not was_running)


def _simulator_stop(board: Board, args: Namespace) -> Answer:
    from tpmconsole.board.status import plan_stop_simulator

    plan = plan_stop_simulator(board)
    was_running = board.simulator.stop() if plan is None else confirm(plan, args)
    data = board.simulator.status().to_json() | {"stopped": was_running}
    return Answer(data, ["stopped" if was_running else "was not running"], changed=was_running)


def _simulator_status(board: Board, _: Namespace) -> Answer:
    status = board.simulator.status()
    parts = ", ".join(f"{name} {pid}" for name, pid in status.pids.items())
    lines = [f"running: {parts}" if status.running else "not running"]
    code = ExitCode.YES if status.running else ExitCode.NO
    return Answer(status.to_json(), lines, code)


def _completion(_: Board, args: Namespace) -> Answer:
    from importlib.resources import files

    where = files("tpmconsole") / "share" / COMPLETIONS[args.shell]
    script = where.read_text(encoding="utf-8")
    return Answer({"script": script}, script.splitlines())


SHELLS = ("bash", "zsh")


def tour_lines(done: Iterable[tuple[int, Outcome]]) -> Iterator[str]:
    """``tpmconsole tour``: each step as soon as it is done."""
    import textwrap

    from tpmconsole.board.tour.story import STEPS, TITLE, WELCOME

    yield TITLE
    for text in WELCOME:
        yield ""
        yield from textwrap.wrap(text, _LINE)
    for index, outcome in done:
        step = STEPS[index]
        yield ""
        yield f"{index + 1} of {len(STEPS)}  {step.title}"
        yield from textwrap.wrap(step.text, _LINE)
        yield from outcome.diagram
        for one in outcome.shown:
            first, *more = textwrap.wrap(one.text, _LINE - 26) or [""]
            yield f"  {one.name:<13} {one.state:<9} {first}".rstrip()
            yield from (f"{'':<26}{text}" for text in more)


def _settings(board: Board, _: Namespace) -> Answer:
    """Each setting, its value and its source."""
    from tpmconsole.options import TABLES
    from tpmconsole.settings import KioskRules

    settings = board.settings
    values: dict[str, Any] = {
        name: getattr(settings, name)
        for name in ("state", "tcti", "simulate", "line", "mouse", "kiosk", "warn_days")
    }
    values["state"] = str(settings.state)
    values |= {f"request.{one}": settings.option("request", one) for one in TABLES["request"]}
    kiosk = asdict(KioskRules.of(settings.options))
    values |= {f"kiosk.{one}": kiosk[one] for one in TABLES["kiosk"]}
    rows = [
        {"name": name, "value": value, "source": settings.sources.get(name, "default")}
        for name, value in values.items()
    ]
    lines = (f"{one['name']:<20} {_value(one['value'])}  ({one['source']})" for one in rows)
    return Answer({"settings": rows}, lines)


def _value(value: Any) -> str:
    return "-" if value is None else json.dumps(value, ensure_ascii=False)


def _json_schema(_: Board, args: Namespace) -> Answer:
    from tpmconsole.cli.json_schema import schema_of

    schema = schema_of(" ".join(args.of))
    return Answer(schema, json.dumps(schema, indent=2).splitlines(), plain=True)


def add_commands(commands: Any) -> None:
    doctor = add_command(
        commands,
        "doctor",
        _doctor,
        "look for problems, and say what to do",
        "tpmconsole doctor --server gateway.local:8443",
    )
    doctor.add_argument(
        "--server",
        action="append",
        default=[],
        metavar="HOST:PORT",
        help="also try to reach this server; can be repeated",
    )
    doctor.add_argument("--repair", action="store_true", help="correct the modes of our files")
    doctor.add_argument("--yes", action="store_true", help="without it, only says what it would do")
    report = add_command(
        commands,
        "report",
        _report,
        "show everything for support in one text",
        "tpmconsole report --out report.txt",
    )
    report.add_argument(
        "--out", type=Path, metavar="FILE", help="write it to this file ('-': print it)"
    )
    add_command(
        commands,
        "tour",
        _tour,
        "why a key belongs in a TPM: the guided tour, printed step by step",
        "tpmconsole --simulate tour",
    )
    add_command(
        commands,
        "settings",
        _settings,
        "show each setting, its value and its source",
        "tpmconsole settings",
    )
    schema = add_command(
        commands,
        "json-schema",
        _json_schema,
        "print the JSON Schema of a command's answer with --json",
        "tpmconsole json-schema session show",
    )
    schema.add_argument("of", metavar="COMMAND", nargs="+", help="such as: session show")
    simulator = commands.add_parser("simulator", help="the simulated TPM")
    actions = subcommands(simulator)
    for name, run, text in (
        ("start", _simulator_start, "start the simulated TPM"),
        ("stop", _simulator_stop, "stop the simulated TPM"),
        ("status", _simulator_status, "show whether the simulated TPM is running"),
    ):
        one = add_command(actions, name, run, text, f"tpmconsole simulator {name}")
        if name == "stop":
            one.add_argument(
                "--yes", action="store_true", help="stop it even while sessions sign with its keys"
            )
    completion = add_command(
        commands,
        "completion",
        _completion,
        "print a completion script for bash or zsh",
        "source <(tpmconsole completion bash)",
    )
    completion.add_argument("shell", choices=SHELLS)
