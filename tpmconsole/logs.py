"""The log file: rotated, private, and free of secrets."""

from __future__ import annotations

import errno
import logging
import os
import re
import stat
from contextlib import suppress
from logging.handlers import RotatingFileHandler
from pathlib import Path

from tpmconsole.errors import ConsoleError
from tpmconsole.system.files import PRIVATE_FILE, make_private_folder
from tpmconsole.system.rates import QuietLog

LOG_BYTES = 512 * 1024
LOGS_KEPT = 2

# PEM bodies and anything named like a secret; a safety net, not permission to log them.
_PEM = re.compile(r"(-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----).*?(-----END|\Z)", re.DOTALL)
_SECRET = re.compile(
    r"(?i)((?:password|passphrase|auth)['\"]?\s*[=:]\s*)(?:b?'[^'\n]*'|b?\"[^\"\n]*\"|[^\s,}]+)"
)


def redact(text: str) -> str:
    """The text without private-key blocks and password values."""
    return _SECRET.sub(r"\1[redacted]", _PEM.sub(r"\1 [redacted] \2", text))


class _RedactingFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


def _open_private(path: str, flags: int) -> int:
    """Open or create our private log: never through a link, and never another user's file."""
    flags |= os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(path, flags, PRIVATE_FILE)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
        os.close(descriptor)
        raise PermissionError(errno.EPERM, "it is not a file that we own", path)
    with suppress(PermissionError):  # a file system without modes
        os.fchmod(descriptor, PRIVATE_FILE)
    return descriptor


class _PrivateFile(RotatingFileHandler):
    def _open(self):  # type: ignore[no-untyped-def]
        return open(self.baseFilename, self.mode, encoding="utf-8", opener=_open_private)

    def handleError(self, record: logging.LogRecord) -> None:
        """Continue without this record: the disk is full or read-only; the screen is not a log."""


def start_logging(path: Path) -> None:
    """Send this process's log records to the file at ``path``, and nowhere else.

    If it cannot be written, nothing is logged: reading a TPM does not need a disk. Code that does
    need the disk reports the error itself.
    """
    with suppress(ConsoleError):
        make_private_folder(path.parent)
    handler = _PrivateFile(path, maxBytes=LOG_BYTES, backupCount=LOGS_KEPT, delay=True)
    with suppress(OSError):
        # Now: when something goes wrong, there may be no descriptor left.
        handler.stream = handler._open()  # type: ignore[no-untyped-call]
    handler.setFormatter(
        _RedactingFormatter("%(asctime)s %(process)d %(name)s %(levelname)s %(message)s")
    )
    handler.addFilter(QuietLog())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    logging.captureWarnings(True)
