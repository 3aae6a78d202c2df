"""Records a walk through the running program: ``python -m tools.cast``.

It writes an asciinema cast and the same as an animated picture. Like the screenshots, both are
written only where what they show has changed; ``--check`` fails where it has.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pyte
from support.pty import Pty
from tools.screenshots import PICTURES, STATE, masked

SIZE = (80, 24)
CAST, PICTURE = PICTURES / "walk.cast", PICTURES / "walk.svg"
READ_S, KEY_S = 2.5, 0.12
ENTER, ESCAPE = "\r", "\x1b"
PATIENCE_S = 30.0


class Step(NamedTuple):
    """Keys to press one after the other, what is on the screen then, and how long one looks."""

    keys: str
    shows: str
    look_s: float = READ_S


WALK = (
    Step("", "PASSED", 4.0),
    Step("3", "1 Key"),
    Step("n", "New key in the TPM"),
    Step("gateway" + ENTER * 4, "key made in the TPM"),  # Enter before that would mean nothing
    Step(ENTER, "Request for", 3.0),
    Step(ENTER * 8 + "dns:localhost" + ENTER + "  ", "< both >"),
    Step(ENTER, "What will be requested", 4.0),
    Step(ENTER, "Hand the request", 4.0),
    Step("d", "installed", 5.0),
    Step(ESCAPE, "READY", 3.5),
    Step("4", "SESSION"),
    Step("s", "Start a server"),
    Step(ENTER * 3, "RUNNING", 5.0),
    Step("1", "RUNNING", 5.0),
)


def main() -> int:
    """Record, and keep what is new; the exit code says whether it was fresh, with ``--check``."""
    check = "--check" in sys.argv[1:]
    shutil.rmtree(STATE, ignore_errors=True)
    try:
        cast = _record(WALK)
    finally:
        _stop()
        shutil.rmtree(STATE, ignore_errors=True)
    if CAST.exists() and shown(CAST.read_text()) == shown(cast):
        print("fresh: walk")
        return 0
    if not check:
        CAST.write_text(cast)
        _render()
    print("stale: walk" if check else "recorded: walk")
    return int(check)


def shown(cast: str) -> list[list[str]]:
    """The screen at the end of every step, without what differs from run to run."""
    screen = pyte.Screen(*SIZE)
    stream = pyte.Stream(screen)
    screens, last = [], 0.0
    for line in cast.splitlines()[1:]:
        moment, _, text = json.loads(line)
        if moment - last > 1:
            screens.append([masked(row) for row in screen.display])
        stream.feed(text)
        last = moment
    return [*screens, [masked(row) for row in screen.display]]


def _record(walk: Iterable[Step]) -> str:
    header = {"version": 2, "width": SIZE[0], "height": SIZE[1], "title": "tpmconsole"}
    lines, moment = [json.dumps(header)], 0.0
    terminal = Pty(_command(), environment={"TERM": "xterm"})
    try:
        for step in walk:
            for key in step.keys:
                moment += KEY_S
                before = len(terminal.output)
                terminal.step(key.encode())
                lines.append(_event(moment, terminal.output[before:]))
            before = len(terminal.output)
            terminal.until(step.shows, PATIENCE_S)
            terminal.settle(0.5)
            lines.append(_event(moment + KEY_S, terminal.output[before:]))
            moment += step.look_s
        lines.append(_event(moment, b""))
    finally:
        terminal.close()
    return "\n".join(lines) + "\n"


def _event(moment: float, output: bytes) -> str:
    return json.dumps([round(moment, 2), "o", output.decode()])


def _command() -> list[str]:
    console = [
        *(sys.executable, "-m", "tpmconsole", "--simulate", "--state", str(STATE)),
        *("--line", "serial"),
    ]
    # A name for the board, in a namespace of its own.
    return [
        "/usr/bin/unshare",
        *([] if os.geteuid() == 0 else ["-r"]),
        "-u",
        "/bin/sh",
        "-c",
        'hostname board-17; exec "$@"',
        "sh",
        *console,
    ]


def _stop() -> None:
    run = [sys.executable, "-m", "tpmconsole", "--state", str(STATE)]
    listed = subprocess.run([*run, "session", "list", "--json"], capture_output=True, check=True)
    for session in json.loads(listed.stdout)["sessions"]:
        subprocess.run([*run, "session", "stop", session["id"]], capture_output=True, check=True)
    subprocess.run([*run, "simulator", "stop"], capture_output=True, check=True)


def _render() -> None:
    renderer = Path(sys.executable).with_name("termtosvg")
    subprocess.run(
        [renderer, "render", CAST, PICTURE, "-t", "base16_default_dark", "-D", "3000"], check=True
    )


if __name__ == "__main__":
    sys.exit(main())
