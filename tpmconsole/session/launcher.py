"""A session's process: started so that it outlives us, and found again."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from pathlib import Path

from tpmconsole.errors import ConsoleError, ExitCode
from tpmconsole.session.directory import CONFIGURATION_FILE, LOG_FILE, SessionConfig
from tpmconsole.session.tls.engine import PROVIDER
from tpmconsole.session.tls.provider import child_environment
from tpmconsole.system.files import PRIVATE_FILE, cannot_write
from tpmconsole.system.processes import Process
from tpmconsole.tpm.auth import Auth
from tpmconsole.tpm.worker import protocol

_TAIL_BYTES = 4096


def start_time(pid: int) -> int:
    """When a process began, clock ticks since boot (proc(5), stat field 22); 0 where it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    # The command's name is in brackets and may hold spaces and brackets itself.
    return int(stat.rpartition(")")[2].split()[19])


def spawn(folder: Path, order: SessionConfig, auth: Auth) -> Process:
    """Start the process of the session in a folder, in a process session of its own.

    The passwords go through a pipe, once, as the TPM worker gets them. The provider's settings are
    in this child's environment only: OpenSSL reads them when it starts, in whatever program.

    Raises:
        ConsoleError: it cannot be started.
    """
    environment = child_environment(order.connection)
    environment["PYTHONPATH"] = str(Path(__file__).resolve().parents[2])
    environment["TSS2_LOG"] = "all+error"
    if order.engine.name == PROVIDER:
        environment["OPENSSL_CONF"] = str(folder / CONFIGURATION_FILE)
        environment["TPM2OPENSSL_TCTI"] = order.connection.tcti
    log = folder / LOG_FILE
    try:
        descriptor = os.open(
            log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE
        )
    except OSError as error:
        raise cannot_write(log, error) from error
    try:
        child = subprocess.Popen(
            # -P: the current folder is no place to import from.
            [sys.executable, "-P", "-m", "tpmconsole.session.process", str(folder)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=descriptor,
            stderr=descriptor,
            start_new_session=True,
            bufsize=0,  # a buffer would keep the passwords
        )
    except OSError as error:
        raise ConsoleError(
            "Session not started",
            f"{sys.executable}: {error.strerror or error}",
            "install tpmconsole again",
            ExitCode.UNEXPECTED,
        ) from error
    finally:
        os.close(descriptor)
    # Read before anybody waits for it: until then even a child that ended keeps its entry.
    process = Process(child.pid, start_time(child.pid))
    # Where we live on, an ended session must not stay behind as a zombie.
    threading.Thread(target=child.wait, name=f"reap-{child.pid}", daemon=True).start()
    assert child.stdin is not None  # noqa: S101 - asked for above
    with contextlib.suppress(BrokenPipeError), child.stdin as pipe:
        for part in protocol.pack(auth.to_wire()):
            pipe.write(part)
    return process


def last_words(folder: Path) -> str:
    """The last line of a session's log; empty where there is none."""
    return log_tail(folder).rpartition("\n")[2][:200]


def log_tail(folder: Path) -> str:
    """The end of a session's log, without empty lines; empty where there is none."""
    try:
        with (folder / LOG_FILE).open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL_BYTES))
            lines = file.read(_TAIL_BYTES).decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return "\n".join(line.strip() for line in lines if line.strip())
