"""Processes that may outlive their starter, and are found again and not mistaken for another."""

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
    """The kernel's list of processes cannot be seen: nothing can be said of any of them."""

    def __init__(self) -> None:
        super().__init__(
            "No /proc",
            f"{PROC} is not mounted, so that nobody can say which processes run",
            f"mount it: mount -t proc proc {PROC}",
            ExitCode.UNEXPECTED,
        )


def check_proc() -> None:
    """Raise NoProcError where /proc is not mounted; an empty folder is not a list of processes."""
    if not (PROC / "self").is_symlink():
        raise NoProcError


@dataclass(frozen=True, slots=True)
class Process:
    """One process and no other: its id is given away again, the pair is not, until a reboot.

    Attributes:
        started: the kernel's start time, clock ticks since boot (proc(5), stat field 22).
    """

    pid: int
    started: int

    @property
    def alive(self) -> bool:
        """Whether it still runs; one that ended and waits to be reaped does not."""
        return self._state() not in ("", "Z", "X")

    @property
    def stopped(self) -> bool:
        """Whether it was suspended (SIGSTOP) and so cannot answer."""
        return self._state() == "T"

    def belongs_to(self, user: int) -> bool:
        """Whether it runs as a user, and with nobody else's rights."""
        return self.user() == user

    def user(self) -> int | None:
        """Whose it is; None where it has ended, or has the rights of more than one user."""
        try:
            status = (PROC / str(self.pid) / "status").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None
        # proc(5): real, effective, saved and file system user. The directory's own owner would not
        # do: it is root for a process that may not be looked at.
        line = next((line for line in status.splitlines() if line.startswith("Uid:")), "")
        users = set(line.split()[1:])
        return int(users.pop()) if len(users) == 1 and self.alive else None

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, and never another one that has its id by now."""
        if not self.alive:
            return
        try:
            handle = os.pidfd_open(self.pid)
        except OSError as error:
            if error.errno in (errno.ENOSYS, errno.EPERM):  # before Linux 5.3, or filtered
                _kill(self.pid, number)
            return
        try:
            if self.alive:  # looked at again: now the handle is this one's
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
    """The kernel's name for this boot: start times of another boot mean nothing.

    Raises:
        NoProcError: /proc is not mounted.
        OSError: this one file is hidden from us.
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
    """Start a program in a session of its own, without our terminal, writing to a log of its own.

    Args:
        argv: the program's full path and its arguments.
        environment: all of its environment.
        folder: its working directory.
        log: what it prints is appended here; what it creates is private to its user.

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
    """The descriptor of a log that only its owner may read, to append to.

    Raises:
        OSError: it cannot be opened.
    """
    # A link in the log's place would have us write into whatever it names.
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
    """Start a program in a session of its own, without our terminal.

    Args:
        argv: the program's full path and its arguments.
        environment: all of its environment.
        output: the descriptor that it prints to.
        folder: its working directory; None for ours.
        stdin: as for ``Popen``; a pipe has no buffer, which would keep a password.
        umask: as for ``Popen``: the default leaves it as ours is.

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
    # Read before anybody waits for it: until then even a child that ended keeps its entry.
    process = Process(child.pid, start_time(child.pid))
    _reap(child)
    return process, child


def ask(
    argv: Sequence[str], environment: Mapping[str, str], patience_s: float
) -> subprocess.CompletedProcess[bytes]:
    """Run a program that may open the TPM, and take what it prints.

    ``subprocess.run`` waits without end for what it has killed, and a process that is inside a
    driver that hangs does not die: this one leaves it behind.

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
    """Where we live on, a child that ended must not stay behind as a zombie."""
    threading.Thread(target=child.wait, name=f"reap-{child.pid}", daemon=True).start()


def end(process: Process, patience_s: float) -> None:
    """End a process and wait until it is gone: politely first, then not.

    Args:
        patience_s: seconds it is given to end by itself.
    """
    process.signal(signal.SIGTERM)
    process.signal(signal.SIGCONT)
    if not wait_for(lambda: not process.alive, patience_s):
        process.signal(signal.SIGKILL)
        wait_for(lambda: not process.alive, patience_s)


def wait_for(condition: Callable[[], bool], patience_s: float) -> bool:
    """Ask again and again until the condition holds; False where it does not within the time."""
    deadline = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True


def with_variable(name: str, value: str) -> list[Process]:
    """Our user's processes that were started with this environment variable at this value."""
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
            continue  # ended meanwhile, or another user's
        if wanted.issubset(words):
            pid = int(entry.name)
            found.append(Process(pid, start_time(pid)))
    return found


def start_time(pid: int) -> int:
    """When a process began, clock ticks since boot (proc(5), stat field 22); 0 if it has gone."""
    return _read_stat(pid)[1]


def parent_of(pid: int) -> int:
    """Who started a process, or has inherited it; 0 where there is no such process."""
    fields = _stat_fields(pid)
    return int(fields[1]) if fields else 0


def children_of_all() -> dict[int, list[int]]:
    """The processes of this machine by the one that started or has inherited them."""
    found: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if entry.name.isdecimal():
            found.setdefault(parent_of(int(entry.name)), []).append(int(entry.name))
    return found


def family(pids: Iterable[int], children: Mapping[int, Sequence[int]] | None = None) -> list[int]:
    """Those processes and all that they have started, and these in turn.

    Args:
        children: what ``children_of_all`` has found just now; None to look.
    """
    if children is None:
        children = children_of_all()
    found = list(pids)
    for pid in found:  # grows while it is walked through
        found += children.get(pid, ())
    return found


def _read_stat(pid: int) -> tuple[str, int]:
    """State letter and start time; an empty state where there is no such process."""
    fields = _stat_fields(pid)
    return (fields[0], int(fields[19])) if fields else ("", 0)


def _stat_fields(pid: int) -> list[str]:
    """What proc(5) tells from the third field of stat on; nothing of a process that has gone.

    Raises:
        NoProcError: /proc is not mounted.
    """
    try:
        stat = (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        check_proc()
        return []
    # The command's name is in brackets and may hold spaces and brackets itself.
    return stat.rpartition(")")[2].split()
