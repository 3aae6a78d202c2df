"""Processes that may outlive the program that started them, and can be identified again later."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tpmconsole.errors import ConsoleError, ExitCode

PROC = Path("/proc")
POLL_S = 0.002


class NoProcError(ConsoleError):
    """The kernel's list of processes is not visible, so nothing is known about any of them."""

    def __init__(self) -> None:
        super().__init__(
            "No /proc",
            f"{PROC} is not mounted, so it is unknown which processes are running",
            f"mount it: mount -t proc proc {PROC}",
            ExitCode.UNEXPECTED,
        )


def check_proc() -> None:
    """Raise NoProcError if /proc is not mounted; an empty folder is not a list of processes."""
    if not (PROC / "self").is_symlink():
        raise NoProcError


@dataclass(frozen=True, slots=True)
class Process:
    """Exactly one process: its id may be reused, but the id and start time together are not.

    Attributes:
        started: the kernel's start time, clock ticks since boot (proc(5), stat field 22).
    """

    pid: int
    started: int

    @property
    def alive(self) -> bool:
        """Whether it is still running; one that has ended and was not reaped yet is not."""
        return self._state() not in ("", "Z", "X")

    @property
    def stopped(self) -> bool:
        """Whether it is suspended (SIGSTOP) and therefore cannot answer."""
        return self._state() == "T"

    def belongs_to(self, user: int) -> bool:
        """Whether it runs as a user, and with no other user's rights."""
        return self.user() == user

    def user(self) -> int | None:
        """The user it runs as; None if it has ended, or has the rights of more than one user."""
        try:
            status = (PROC / str(self.pid) / "status").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None
        # proc(5): real, effective, saved and file system user. The directory's owner does not
        # help: it is root for a process that cannot be examined.
        line = next((line for line in status.splitlines() if line.startswith("Uid:")), "")
        users = set(line.split()[1:])
        return int(users.pop()) if len(users) == 1 and self.alive else None

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, and never to another process that has its id by now."""
        if not self.alive:
            return
        try:
            handle = os.pidfd_open(self.pid)
        except OSError as error:
            if error.errno in (errno.ENOSYS, errno.EPERM):  # before Linux 5.3, or filtered
                _kill(self.pid, number)
            return
        try:
            if self.alive:  # checked again: now the handle is certainly for this process
                signal.pidfd_send_signal(handle, number)
        except ProcessLookupError:
            return
        finally:
            os.close(handle)

    def _state(self) -> str:
        state, started = _read_stat(self.pid)
        return state if started == self.started else ""


def _kill(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def boot_id() -> str:
    """The kernel's id of this boot: start times from another boot mean nothing.

    Raises:
        NoProcError: /proc is not mounted.
        OSError: this file is hidden from us.
    """
    check_proc()
    return (PROC / "sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()


def launch(
    argv: Sequence[str],
    *,
    environment: Mapping[str, str],
    folder: Path,
    log: Path,
) -> Process:
    """Start a program in its own session, without our terminal, with output to its own log.

    Args:
        argv: the program's full path and its arguments.
        environment: all of its environment.
        folder: its working directory.
        log: what it prints is appended here; files that it creates are private to its user.

    Raises:
        OSError: it cannot be started.
    """
    with open_log(log) as output:
        process, _ = start_child(
            argv, environment=environment, output=output, folder=folder, umask=0o077
        )
    return process


@contextmanager
def open_log(log: Path) -> Iterator[int]:
    """The descriptor of a log, opened to append, that only its owner may read.

    Raises:
        OSError: it cannot be opened.
    """
    # A link in place of the log would make us write into any file that it names.
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(log, flags, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def start_child(
    argv: Sequence[str],
    *,
    environment: Mapping[str, str],
    output: int,
    folder: Path | None = None,
    stdin: int = subprocess.DEVNULL,
    umask: int = -1,
) -> tuple[Process, subprocess.Popen[bytes]]:
    """Start a program in its own session, without our terminal.

    Args:
        argv: the program's full path and its arguments.
        environment: all of its environment.
        output: the descriptor that it prints to.
        folder: its working directory; None for ours.
        stdin: as for ``Popen``; a pipe has no buffer, which would keep a password.
        umask: as for ``Popen``: the default is ours.

    Raises:
        OSError: it cannot be started.
    """
    child = subprocess.Popen(
        argv,
        env=dict(environment),
        cwd=folder,
        stdin=stdin,
        stdout=output,
        stderr=output,
        start_new_session=True,
        umask=umask,
        bufsize=0,
    )
    # Read before any thread waits for it: until then even a child that has ended keeps its entry.
    process = Process(child.pid, start_time(child.pid))
    _reap(child)
    return process, child


def ask(
    argv: Sequence[str], environment: Mapping[str, str], patience_s: float
) -> subprocess.CompletedProcess[bytes]:
    """Run a program that may open the TPM, and return what it prints.

    ``subprocess.run`` waits without limit for a process that it has killed, and a process blocked
    in a driver does not die: this function leaves it behind.

    Args:
        argv: the program and its arguments.
        environment: all of its environment.
        patience_s: seconds until it is killed.

    Raises:
        OSError: it cannot be started.
        subprocess.TimeoutExpired: it has not ended in time.
    """
    child = subprocess.Popen(
        argv,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        output, errors = child.communicate(timeout=patience_s)
    except BaseException:
        child.kill()
        _reap(child)
        raise
    return subprocess.CompletedProcess(argv, child.returncode, output, errors)


def _reap(child: subprocess.Popen[bytes]) -> None:
    """Wait for it in a thread: while we are running, an ended child must not remain a zombie."""
    threading.Thread(target=child.wait, name=f"reap-{child.pid}", daemon=True).start()


def end(process: Process, patience_s: float) -> None:
    """End a process and wait until it is gone: first by SIGTERM, then by SIGKILL.

    Args:
        patience_s: seconds that it is given to end after SIGTERM.
    """
    process.signal(signal.SIGTERM)
    process.signal(signal.SIGCONT)
    if not wait_for(lambda: not process.alive, patience_s):
        process.signal(signal.SIGKILL)
        wait_for(lambda: not process.alive, patience_s)


def wait_for(condition: Callable[[], bool], patience_s: float) -> bool:
    """Poll until the condition holds; False if it does not hold in time."""
    deadline = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True


def with_variable(name: str, value: str) -> list[Process]:
    """Our user's processes that were started with this value of an environment variable."""
    return _with("environ", {os.fsencode(f"{name}={value}")})


def with_arguments(*arguments: bytes) -> list[Process]:
    """The processes that have all of these arguments on their command line."""
    return _with("cmdline", set(arguments))


def _with(file: str, wanted: set[bytes]) -> list[Process]:
    check_proc()
    found = []
    for entry in PROC.iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            words = (entry / file).read_bytes().split(b"\0")
        except OSError:
            continue  # it has ended, or is another user's
        if wanted.issubset(words):
            pid = int(entry.name)
            found.append(Process(pid, start_time(pid)))
    return found


def start_time(pid: int) -> int:
    """When a process started, clock ticks since boot (proc(5), stat field 22); 0 if it has gone."""
    return _read_stat(pid)[1]


def parent_of(pid: int) -> int:
    """The process that started or inherited this one; 0 if there is no such process."""
    fields = _stat_fields(pid)
    return int(fields[1]) if fields else 0


def children_of_all() -> dict[int, list[int]]:
    """The processes of this machine, by the process that started or inherited them."""
    found: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if entry.name.isdecimal():
            found.setdefault(parent_of(int(entry.name)), []).append(int(entry.name))
    return found


def family(pids: Iterable[int], children: Mapping[int, Sequence[int]] | None = None) -> list[int]:
    """These processes and all that they have started, directly or indirectly.

    Args:
        children: a fresh result of ``children_of_all``; None to call it.
    """
    if children is None:
        children = children_of_all()
    found = list(pids)
    for pid in found:  # grows while it is walked through
        found += children.get(pid, ())
    return found


def _read_stat(pid: int) -> tuple[str, int]:
    """State letter and start time; an empty state if there is no such process."""
    fields = _stat_fields(pid)
    return (fields[0], int(fields[19])) if fields else ("", 0)


def _stat_fields(pid: int) -> list[str]:
    """The fields of stat (proc(5)) from the third on; empty for a process that has gone.

    Raises:
        NoProcError: /proc is not mounted.
    """
    try:
        stat = (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        check_proc()
        return []
    # The command's name is in brackets and may contain spaces and brackets itself.
    return stat.rpartition(")")[2].split()
