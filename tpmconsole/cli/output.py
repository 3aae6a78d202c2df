"""Standard output and standard error as they may be: closed, full, or not in UTF-8."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from io import TextIOWrapper
from typing import TextIO

INPUT, OUTPUT, ERRORS = 0, 1, 2


class NotWrittenError(Exception):
    """Standard output did not take an answer; the argument is the system's reason."""


def prepare_streams() -> None:
    r"""Make all three streams usable, whatever we were started with.

    A number that is closed would be given to the next file or socket that is opened, and text for
    people would go there. So it is taken: the output by a file that refuses to be written to, as a
    closed one does. What the locale cannot show is written as ``\xe4``, never refused.
    """
    for number in (INPUT, OUTPUT, ERRORS):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDONLY)  # the lowest number that is free: this one
    sys.stdin = sys.stdin or open(INPUT, closefd=False)  # noqa: SIM115  (for good, as below)
    sys.stdout = sys.stdout or open(OUTPUT, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(ERRORS, "w", closefd=False)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def tell(text: str) -> None:
    """Print a part of the answer, at once.

    Raises:
        BrokenPipeError: whoever read it has gone.
        NotWrittenError: it could not be written.
    """
    try:
        print(text, flush=True)
    except OSError as error:
        _abandon(sys.stdout, OUTPUT)
        if isinstance(error, BrokenPipeError):
            raise
        raise NotWrittenError(error.strerror) from error


def complain(text: str) -> None:
    """Print a line on standard error; where it cannot be written nobody can be told."""
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        _abandon(sys.stderr, ERRORS)


def _abandon(stream: TextIO, number: int) -> None:
    """Throw away what a stream still holds: written at our end, it would fail again."""
    with suppress(OSError):
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, number)
        os.close(nothing)
        stream.flush()
