"""Detect the kind of line, and derive the settings for it.

Textual reads its settings from the environment when it is imported, so the order is::

    profile = current(settings.line, mouse=settings.mouse)
    prepare_environment(profile)
    from tpmconsole.ui.app import …       # only now

Neither this module nor ``size.py`` imports Textual.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tpmconsole.errors import ConsoleError, usage_error
from tpmconsole.system import terminal

TRUECOLOUR = 1 << 24
"""`LineProfile.colours` of a terminal with 24-bit colours."""

_PSEUDO = re.compile(r"(/dev/)?(pts/\d+|pty\w+)")
_VIRTUAL_CONSOLE = re.compile(r"(/dev/)?tty\d*")
# Hardware terminals and their emulations, which cannot show UTF-8 or drawn boxes.
_HARDWARE_TERM = re.compile(r"(vt[1-5]\d\d|ansi|wyse?\d+|adm\d+)\b")
_SLOW_BAUD = 9600


@dataclass(frozen=True, slots=True)
class LineProfile:
    """How to treat the line.

    Attributes:
        name: ``serial`` or ``fast``.
        ascii: send only ASCII.
        colours: 0 (NO_COLOR), 16, 256 or `TRUECOLOUR`.
        mouse: ask the terminal to report the mouse.
        fps: the most frames a second.
        baud: the speed of a real serial line in bits a second; otherwise None.
        merge_s: how long to wait after a change for more changes to join it, in seconds.
        key_hold_s: how long a typed character is held in case it is part of a paste, in seconds.
    """

    name: Literal["serial", "fast"]
    ascii: bool
    colours: int
    mouse: bool = False
    fps: int = 30
    baud: int | None = None
    merge_s: float = 0.008
    key_hold_s: float = 0.0

    @property
    def serial(self) -> bool:
        """Whether the line is slow, so that every byte counts."""
        return self.name == "serial"


def detect(
    line: str,
    environment: Mapping[str, str],
    tty_name: str,
    speed: int | None,
    encoding: str,
    *,
    mouse: bool = False,
) -> LineProfile:
    """Choose the profile from what is known about the line.

    Args:
        line: ``serial``, ``fast`` or ``auto``.
        environment: TERM, COLORTERM and NO_COLOR are read.
        tty_name: the terminal's device, such as ``/dev/ttymxc0``.
        speed: its speed in bits a second; None if it does not have one.
        encoding: the character encoding of the locale.
        mouse: the user asked for the mouse; a serial line never gets it.

    Raises:
        ConsoleError: TERM names a terminal that cannot show a screen.
    """
    term = environment.get("TERM", "")
    if terminal.shows_no_screen(term):
        raise _no_screen(term)
    serial = line == "serial" or (line != "fast" and _looks_serial(tty_name, term))
    no_colour = "NO_COLOR" in environment
    if serial:
        slow = speed is not None and speed <= _SLOW_BAUD
        return LineProfile(
            name="serial",
            ascii=True,
            colours=0 if no_colour else 16,
            fps=5 if slow else 15,
            baud=speed,
            merge_s=0.015,
            key_hold_s=0.02,
        )
    return LineProfile(
        name="fast",
        ascii=encoding.lower().replace("-", "") != "utf8",
        colours=0 if no_colour else _colours(environment.get("COLORTERM", ""), term),
        mouse=mouse,
    )


def current(line: str, *, mouse: bool = False) -> LineProfile:
    """Choose the profile for the line of this process.

    Args:
        line: ``serial``, ``fast`` or ``auto`` (`tpmconsole.settings.Settings.line`).
        mouse: the user asked for the mouse.

    Raises:
        ConsoleError: there is no terminal, or TERM names one that cannot show a screen.
    """
    descriptor = terminal.output_descriptor()
    if descriptor is None or not os.isatty(0):
        raise usage_error(
            "No terminal",
            "the console needs a terminal for its screen and keys",
            "run it from a terminal, or use a command such as 'tpmconsole status'",
        )
    name = os.ttyname(descriptor)
    speed = None if _PSEUDO.fullmatch(name) else terminal.speed(descriptor)
    return detect(
        line, os.environ, name, speed, _locale_encoding(_first_environment()), mouse=mouse
    )


def prepare_environment(
    profile: LineProfile, environment: MutableMapping[str, str] = os.environ
) -> None:
    """Set what Textual reads when it is imported; call this before the import.

    COLUMNS and LINES are removed: exported by a shell, they would always override the true size.
    """
    for name in ("COLUMNS", "LINES"):
        environment.pop(name, None)
    environment["TEXTUAL_ANIMATIONS"] = "none"
    environment["TEXTUAL_FPS"] = str(profile.fps)
    environment["TEXTUAL_SMOOTH_SCROLL"] = "0"
    environment["TEXTUAL_DISABLE_KITTY_KEY"] = "1"
    environment["TEXTUAL_COLOR_SYSTEM"] = {256: "256", TRUECOLOUR: "truecolor"}.get(
        profile.colours, "standard"
    )
    # With 16 colours, other themes are rounded to the nearest colours; this one uses their names.
    if profile.colours <= 16:
        environment["TEXTUAL_THEME"] = "ansi-dark"


def _no_screen(term: str) -> ConsoleError:
    shown = f"TERM is '{term}'" if term else "TERM is not set"
    return usage_error(
        "Terminal cannot show a screen",
        f"{shown}: it cannot move the cursor",
        "export TERM=vt220 (or what it is), or use a command such as 'tpmconsole status'",
    )


def _looks_serial(tty_name: str, term: str) -> bool:
    if _HARDWARE_TERM.match(term):
        return True
    # Every other device counts as serial (ttyS, ttymxc, ttyAMA, ttyLP, ttyUSB, hvc, console …).
    known_fast = _PSEUDO.fullmatch(tty_name) or _VIRTUAL_CONSOLE.fullmatch(tty_name)
    return bool(tty_name) and not known_fast


def _colours(colorterm: str, term: str) -> int:
    if colorterm in ("truecolor", "24bit") or term.endswith("-direct"):
        return TRUECOLOUR
    if term.endswith(("-256color", "-kitty")):
        return 256
    return 16


def _first_environment() -> Mapping[str, str]:
    """The environment that this process was started with.

    If no locale is set, Python sets LC_CTYPE to a UTF-8 locale, which says nothing about the
    terminal. The kernel keeps the original environment.
    """
    try:
        block = Path("/proc/self/environ").read_bytes()
    except OSError:
        return os.environ
    pairs = (entry.partition("=") for entry in os.fsdecode(block).split("\0"))
    return {name: value for name, _, value in pairs}


def _locale_encoding(environment: Mapping[str, str]) -> str:
    for name in ("LC_ALL", "LC_CTYPE", "LANG"):
        if value := environment.get(name):
            return value.partition(".")[2].partition("@")[0] or "ascii"
    return "ascii"
