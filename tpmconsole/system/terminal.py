"""The terminal of this process: its descriptor and speed, and whether it can show a screen."""

from __future__ import annotations

import os
import re
import termios

LEAST = (76, 20)
"""Columns and lines that the console needs."""

USUAL = (80, 24)
"""The size assumed for a terminal that does not report its own; every page fits into it."""

_NO_SCREEN = frozenset({"", "dumb", "unknown", "network", "dialup"})


def shows_no_screen(term: str) -> bool:
    """Whether TERM names a terminal that has no cursor to move."""
    return term in _NO_SCREEN


def is_too_small(columns: int, lines: int) -> bool:
    """Whether the console does not fit."""
    return columns < LEAST[0] or lines < LEAST[1]


def output_descriptor() -> int | None:
    """The descriptor of the terminal to paint on: the first of stdout, stderr and stdin."""
    return next((descriptor for descriptor in (1, 2, 0) if os.isatty(descriptor)), None)


def speed(descriptor: int) -> int | None:
    """The output speed in bits per second, or None if the line does not report one."""
    try:
        code = termios.tcgetattr(descriptor)[5]
    except termios.error:
        return None
    speeds = {
        getattr(termios, name): int(name[1:])
        for name in dir(termios)
        if re.fullmatch(r"B\d+", name)
    }
    return speeds.get(code) or None
