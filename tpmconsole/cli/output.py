"""Write to standard output and error, which may be closed, full, or not in UTF-8."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from io import TextIOWrapper
from typing import TextIO

INPUT, OUTPUT, ERRORS = 0, 1, 2


class NotWrittenError(Exception):
    """Standard output did not accept an answer; the argument is the system's reason."""


def prepare_streams() -> None:
    r"""Make all three streams usable, in whatever state we were started.

    The number of a closed stream would be given to the next file or socket that is opened, and our
    output would go there. So we occupy it; for output with a file that refuses writes, as a closed
    stream does. Characters that the locale lacks are written as ``\xe4``, never refused.
    """
    for number in (INPUT, OUTPUT, ERRORS):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDONLY)  # gets the lowest free number: this one
    sys.stdin = sys.stdin or open(INPUT, closefd=False)  # noqa: SIM115  (stays open, as below)
    sys.stdout = sys.stdout or open(OUTPUT, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(ERRORS, "w", closefd=False)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def tell(text: str) -> None:
    """Print a part of the answer immediately.

    Raises:
        BrokenPipeError: the reader has gone.
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
    """Print a line on standard error; if that fails, nothing more can be done."""
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        _abandon(sys.stderr, ERRORS)


def _abandon(stream: TextIO, number: int) -> None:
    """Throw away what a stream still holds: the final flush would fail again."""
    with suppress(OSError):
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, number)
        os.close(nothing)
        stream.flush()
