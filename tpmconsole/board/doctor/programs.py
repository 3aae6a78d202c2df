"""Probes of the terminal, and of the versions of tpmconsole and its libraries."""

from __future__ import annotations

import os
import platform
import sys

from tpmconsole import __version__
from tpmconsole.board.doctor.examination import Examination, Surroundings
from tpmconsole.finding import Finding, fail, ok, warn
from tpmconsole.system.terminal import (
    LEAST,
    is_too_small,
    output_descriptor,
    shows_no_screen,
    speed,
)
from tpmconsole.versions import PACKAGES, package_version

_TERMINFO = ("/etc/terminfo", "/lib/terminfo", "/usr/lib/terminfo", "/usr/share/terminfo")
LEAST_PYTHON = (3, 11)


def terminal(examination: Examination) -> Finding:
    """Which terminal and line is this?"""
    around = examination.around
    term = around.environment.get("TERM", "")
    evidence = [f"line {examination.board.settings.line}", *_line_facts()]
    if shows_no_screen(term):
        return warn(
            f"TERM is {repr(term) if term else 'not set'}: no screen can be shown here, only "
            "commands work",
            "run: export TERM=vt220 (or what it is)",
            *evidence,
        )
    if not _known(around, term):
        evidence.append("it has no terminfo entry, so other programs will not know this terminal")
    size = _size()
    if size is not None and is_too_small(*size) and 0 not in size:
        return warn(
            f"TERM={term}, and the terminal has {size[0]}x{size[1]}; the console needs "
            f"{LEAST[0]}x{LEAST[1]}",
            f"make it larger, or run: stty cols {LEAST[0]} rows {LEAST[1]}",
            *evidence,
        )
    return ok(f"TERM={term}{f', {size[0]}x{size[1]}' if size else ', no terminal'}", *evidence)


def _known(around: Surroundings, term: str) -> bool:
    first = (term[0], f"{ord(term[0]):x}")
    folders = [around.at(one) for one in _TERMINFO]
    return any((folder / letter / term).exists() for folder in folders for letter in first)


def _size() -> tuple[int, int] | None:
    descriptor = output_descriptor()
    if descriptor is None:
        return None
    try:
        return tuple(os.get_terminal_size(descriptor))  # type: ignore[return-value]
    except OSError:
        return None


def _line_facts() -> list[str]:
    descriptor = output_descriptor()
    if descriptor is None:
        return ["neither input nor output is a terminal"]
    return [f"terminal {os.ttyname(descriptor)}", f"speed {speed(descriptor) or 'unknown'}"]


def versions(_: Examination) -> Finding:
    """Report the versions of Python and tpmconsole."""
    evidence = (sys.executable, platform.platform())
    told = f"Python {platform.python_version()}, tpmconsole {__version__}"
    if sys.version_info < LEAST_PYTHON:
        return fail(f"{told}: Python is too old", "use Python 3.11 or newer", *evidence)
    return ok(told, *evidence)


def packages(_: Examination) -> Finding:
    """Report the versions of the libraries that we use."""
    told = {name: package_version(name) for name in PACKAGES}
    text = ", ".join(f"{name} {number or 'missing'}" for name, number in told.items())
    missing = [name for name, number in told.items() if number is None]
    if missing:
        return fail(text, f"run: pip install {' '.join(missing)}")
    return ok(text)
