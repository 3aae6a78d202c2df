"""Start a session's process so that it outlives this one, and read its log."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from tpmconsole.errors import ConsoleError, ExitCode
from tpmconsole.session.directory import CONFIGURATION_FILE, LOG_FILE, STATE, SessionConfig
from tpmconsole.session.events import TEXT_LENGTH
from tpmconsole.session.ownership import PROGRAM
from tpmconsole.session.tls.engine import PROVIDER
from tpmconsole.session.tls.provider import child_environment
from tpmconsole.system.files import cannot_write
from tpmconsole.system.processes import Process, open_log, start_child
from tpmconsole.system.untrusted import read_end
from tpmconsole.text import printable
from tpmconsole.tpm.auth import Auth
from tpmconsole.tpm.worker import protocol

_TAIL_BYTES = 4096


def spawn(folder: Path, order: SessionConfig, auth: Auth) -> Process:
    """Start the process of the session in a folder, in a process session of its own.

    The passwords go through a pipe, once, in the TPM worker's format. The provider's settings are
    in this child's environment only: OpenSSL reads them in every program that loads it.

    Raises:
        ConsoleError: it cannot be started.
    """
    environment = child_environment(order.connection)
    environment["PYTHONPATH"] = str(Path(__file__).resolve().parents[2])
    environment["TSS2_LOG"] = "all+error"
    if order.engine.name == PROVIDER:
        environment["OPENSSL_CONF"] = str(folder / CONFIGURATION_FILE)
        environment["TPM2OPENSSL_TCTI"] = order.connection.tcti
    log = folder / STATE / LOG_FILE
    # -P: do not import from the current folder.
    argv = [sys.executable, "-P", "-m", PROGRAM, str(folder)]
    with ExitStack() as opened:
        try:
            output = opened.enter_context(open_log(log))
        except OSError as error:
            raise cannot_write(log, error) from error
        try:
            process, child = start_child(
                argv, environment=environment, output=output, stdin=subprocess.PIPE
            )
        except OSError as error:
            raise ConsoleError(
                "Session not started",
                f"{sys.executable}: {error.strerror or error}",
                "install tpmconsole again",
                ExitCode.UNEXPECTED,
            ) from error
    assert child.stdin is not None  # noqa: S101 - asked for above
    with contextlib.suppress(BrokenPipeError), child.stdin as pipe:
        for part in protocol.pack(auth.to_wire()):
            pipe.write(part)
    return process


def last_words(state: Path) -> str:
    """Return the last line of a session's log; empty if there is none."""
    return printable(log_tail(state).rpartition("\n")[2], TEXT_LENGTH)


def log_tail(state: Path) -> str:
    """Return the end of a session's log, without empty lines; empty if there is no log."""
    try:
        lines = read_end(state / LOG_FILE, _TAIL_BYTES).decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return "\n".join(line.strip() for line in lines if line.strip())
