"""A simulated TPM of our own: swtpm behind tpm2-abrmd on a private message bus.

tpm2-abrmd, because swtpm alone has room for three objects and forgets nobody's. The three talk over
unix sockets in a private folder: no ports, and no other user of the board gets at them.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import signal
import socket
import stat
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tpmconsole.errors import ConsoleError, ExitCode
from tpmconsole.files import PRIVATE_FILE, PRIVATE_FOLDER, make_private_folder
from tpmconsole.tpm.bus import TABRMD_NAME, name_has_owner
from tpmconsole.tpm.model import Connection
from tpmconsole.tpm.processes import Process, boot_id, end, launch, wait_for, with_variable
from tpmconsole.tpm.programs import SEARCH_PATH, cannot_start, find_program, require_tcti

TCTI = "tabrmd:bus_type=session"
SWTPM, BUS, ABRMD = "swtpm", "dbus-daemon", "tpm2-abrmd"
# In the order they end: each after those that use it.
PROGRAMS = (ABRMD, SWTPM, BUS)
# Every process of a simulator carries its folder, so that none is ever lost.
MARKER = "TPMCONSOLE_SIMULATOR"

START_S = 10.0
STOP_S = 5.0
ANSWER_S = 3.0
LOCK_S = 30.0

# sizeof(sockaddr_un.sun_path) with its closing zero (unix(7)).
_SOCKET_PATH_BYTES = 108
_LONGEST_SOCKET = "tpm.sock.ctrl"
# Neither a TCTI string, swtpm's options nor a bus address can carry every character.
_PLAIN_PATH = re.compile(r"[A-Za-z0-9/_.+-]+")

# TPM2_Shutdown(TPM_SU_CLEAR), TPM 2.0 Library part 3, section 9.4. swtpm before 0.8 does not send it
# by itself, and a TPM that was not shut down takes the use of a protected key for a wrong password.
_SHUTDOWN = bytes.fromhex("80010000000c000001450000")

_BUS_CONFIGURATION = """\
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
"""


@dataclass(frozen=True, slots=True)
class SimulatorStatus:
    """What runs of the simulator.

    Attributes:
        running: all three processes do.
        pids: process id by program, of those that run.
        bus: address of the private bus, where one is known.
    """

    running: bool
    pids: dict[str, int]
    tcti: str
    bus: str | None

    def to_json(self) -> dict[str, Any]:
        """The answer of ``simulator status --json``."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Runtime:
    """What the runtime file tells: where the sockets are and which processes we started."""

    sockets: Path
    processes: dict[str, Process] = field(default_factory=dict)

    @property
    def bus(self) -> Path:
        return self.sockets / "bus"

    @property
    def tpm(self) -> Path:
        return self.sockets / "tpm.sock"

    @property
    def control(self) -> Path:
        """swtpm's control channel: the TSS expects it beside the TPM's socket, by this ending."""
        return self.sockets / "tpm.sock.ctrl"

    @property
    def address(self) -> str:
        return f"unix:path={self.bus}"

    def alive(self) -> dict[str, Process]:
        return {name: process for name, process in self.processes.items() if process.alive}

    def reachable(self, folder: Path) -> bool:
        """Whether the sockets' folder is still there, and ours."""
        if self.sockets == folder:
            return True
        try:
            status = self.sockets.lstat()
        except OSError:
            return False
        mode = stat.S_IMODE(status.st_mode)
        ours = status.st_uid == os.geteuid() and mode == PRIVATE_FOLDER
        return ours and stat.S_ISDIR(status.st_mode)

    def swtpm_answers(self) -> bool:
        # No trial connection: swtpm serves one at a time, and an RSA key keeps it busy for seconds.
        return SWTPM in self.alive() and self.tpm.is_socket() and self.control.is_socket()

    def bus_answers(self) -> bool:
        return BUS in self.alive() and _owned(self.bus) is not None

    def abrmd_answers(self) -> bool:
        return ABRMD in self.alive() and bool(_owned(self.bus))

    def healthy(self) -> bool:
        suspended = any(process.stopped for process in self.processes.values())
        return not suspended and self.swtpm_answers() and self.abrmd_answers()

    def to_text(self) -> str:
        processes = {name: asdict(process) for name, process in self.processes.items()}
        data = {"boot": boot_id(), "sockets": os.fspath(self.sockets), "processes": processes}
        return json.dumps(data)

    @classmethod
    def from_text(cls, text: str) -> _Runtime:
        """The reverse of ``to_text``; of another boot, no process is left.

        Raises:
            ValueError, KeyError, TypeError: it is not what we write.
        """
        data = json.loads(text)
        written = data["processes"] if data["boot"] == boot_id() else {}
        processes = {name: Process(**facts) for name, facts in written.items()}
        return cls(Path(data["sockets"]), processes)


class Simulator:
    """The simulated TPM of one folder; any number of programs may use it at once.

    Args:
        folder: keeps the TPM's state, the logs and what is running.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()

    @property
    def state(self) -> Path:
        """Where swtpm keeps the TPM."""
        return self.folder / "tpm"

    @property
    def pids(self) -> dict[str, int]:
        """Process ids of what runs, by program."""
        return self.status().pids

    def ensure(self) -> Connection:
        """Have it running and answering: start what is missing, leave alone what is well.

        Returns:
            the connection to it; its environment names the private bus.

        Raises:
            ConsoleError: it cannot be started: a program is missing, or one ended at once.
        """
        runtime = self._read()
        if runtime is None or not runtime.healthy():
            try:
                make_private_folder(self.folder).chmod(PRIVATE_FOLDER)
                with self._locked():
                    runtime = self._repaired()
            except OSError as error:
                raise _folder_trouble(self.folder, error) from error
        return Connection(
            tcti=TCTI,
            why=f"the simulator in {self.folder}",
            simulated=True,
            environment={"DBUS_SESSION_BUS_ADDRESS": runtime.address},
        )

    def status(self) -> SimulatorStatus:
        """What runs now; starts and repairs nothing."""
        runtime = self._read()
        alive = runtime.alive() if runtime else {}
        return SimulatorStatus(
            running=len(alive) == len(PROGRAMS),
            pids={name: process.pid for name, process in alive.items()},
            tcti=TCTI,
            bus=runtime.address if runtime and BUS in alive else None,
        )

    def stop(self) -> bool:
        """Shut it down in order, so that its TPM counts no wrong password; its keys stay.

        Returns:
            whether anything ran.

        Raises:
            ConsoleError: another program keeps starting or stopping it, or the folder is not ours.
        """
        if not self.folder.is_dir():
            return False
        try:
            with self._locked():
                runtime = self._read()
                ran = bool(runtime and runtime.alive()) or bool(self._marked())
                self._end_all(runtime)
                return ran
        except OSError as error:
            raise _folder_trouble(self.folder, error) from error

    def _repaired(self) -> _Runtime:
        """A healthy simulator, made of what still is; the lock is ours."""
        runtime = self._read()
        for process in runtime.alive().values() if runtime else ():
            # Somebody suspended it: going on loses less than starting again.
            process.signal(signal.SIGCONT)
        if runtime is not None and runtime.healthy():
            return runtime
        if runtime is None or not runtime.reachable(self.folder):
            # Without its runtime file or its sockets, what runs cannot be used any more.
            self._end_all(runtime)
            runtime = _Runtime(_socket_folder(self.folder))
        try:
            self._start_missing(runtime)
        except BaseException:
            self._end_all(runtime)
            raise
        return runtime

    def _start_missing(self, runtime: _Runtime) -> None:
        programs = {name: find_program(name) for name in PROGRAMS}
        for tcti in ("swtpm", "tabrmd"):
            require_tcti(tcti)
        # One that a starter left behind before it could write it down is in the way.
        for process in self._marked():
            if process not in runtime.processes.values():
                end(process, STOP_S)
        # Its TPM or its bus is gone, or it is itself what does not answer.
        _end(runtime, ABRMD)
        if not runtime.bus_answers():
            _end(runtime, BUS)
            runtime.bus.unlink(missing_ok=True)
            configuration = self.folder / "bus.conf"
            _write(configuration, _BUS_CONFIGURATION.format(socket=runtime.bus))
            bus = [f"--config-file={configuration}", "--nofork", "--nopidfile"]
            self._launch(runtime, BUS, [programs[BUS], *bus])
        if not runtime.swtpm_answers():
            _end(runtime, SWTPM)
            make_private_folder(self.state)
            self._launch(runtime, SWTPM, [programs[SWTPM], *_swtpm_arguments(runtime)])
            self._wait(runtime, SWTPM, lambda: _listens(runtime.tpm) and _listens(runtime.control))
        self._wait(runtime, BUS, runtime.bus_answers)
        broker = [f"--tcti=swtpm:path={runtime.tpm}", "--session", "--allow-root"]
        # What a broker that was killed had loaded would fill the TPM's three places.
        broker += ["--flush-all", "--max-connections=100"]
        self._launch(runtime, ABRMD, [programs[ABRMD], *broker])
        self._wait(runtime, ABRMD, runtime.abrmd_answers)

    def _launch(self, runtime: _Runtime, name: str, argv: list[str]) -> None:
        log = self._log(name)
        if log.exists():
            log.replace(log.with_suffix(".log.1"))
        runtime.processes[name] = launch(
            argv,
            environment={
                "PATH": SEARCH_PATH,
                "LANG": "C.UTF-8",
                "HOME": os.fspath(self.folder),
                "TPM_PATH": os.fspath(self.state),
                "DBUS_SESSION_BUS_ADDRESS": runtime.address,
                MARKER: self._mark,
            },
            folder=self.folder,
            log=log,
        )
        _write(self._runtime_file, runtime.to_text())

    def _wait(self, runtime: _Runtime, name: str, ready: Callable[[], bool]) -> None:
        """Wait until a program that was launched is ready.

        Raises:
            ConsoleError: it ended or takes too long; the cause is the last line of its log.
        """
        process = runtime.processes[name]
        answered = wait_for(lambda: ready() or not process.alive, START_S)
        if answered and process.alive:
            return
        log = self._log(name)
        what = "ended" if answered else f"is not ready after {START_S:.0f} s"
        raise cannot_start(f"{name} {what}: {_last_line(log)}", f"read {log}")

    def _end_all(self, runtime: _Runtime | None) -> None:
        """End what runs, in order, and remove its sockets and the runtime file."""
        for name in PROGRAMS if runtime else ():
            _end(runtime, name)
        for process in self._marked():
            end(process, STOP_S)
        if runtime is not None:
            for path in (runtime.bus, runtime.tpm, runtime.control):
                path.unlink(missing_ok=True)
            if runtime.sockets != self.folder:
                with contextlib.suppress(OSError):
                    runtime.sockets.rmdir()
        self._runtime_file.unlink(missing_ok=True)

    def _marked(self) -> list[Process]:
        return with_variable(MARKER, self._mark)

    @property
    def _mark(self) -> str:
        return os.path.realpath(self.folder)

    @property
    def _runtime_file(self) -> Path:
        return self.folder / "runtime.json"

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def _read(self) -> _Runtime | None:
        """What the runtime file tells; None where there is none of this boot."""
        try:
            return _Runtime.from_text(self._runtime_file.read_text(encoding="utf-8"))
        except (OSError, ValueError, KeyError, TypeError):
            return None  # missing, or not what we write: start afresh

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """One at a time starts or stops it, of all the threads and processes there are.

        Raises:
            ConsoleError: another one has held the lock for too long.
            OSError: the lock file cannot be opened.
        """
        descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)
        with os.fdopen(descriptor) as file:
            if not wait_for(lambda: _try_lock(file.fileno()), LOCK_S):
                raise ConsoleError(
                    "Simulator is busy",
                    f"another program has been starting or stopping it for {LOCK_S:.0f} s",
                    f"end the program that has {self.folder / 'lock'} open, then try again",
                    ExitCode.NO_TPM,
                )
            yield


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _end(runtime: _Runtime, name: str) -> None:
    process = runtime.processes.pop(name, None)
    if process is None or not process.alive:
        return
    if name == SWTPM:
        process.signal(signal.SIGCONT)
        _shut_down(runtime.tpm)
    end(process, STOP_S)


def _shut_down(address: Path) -> None:
    """Tell the TPM that its power is about to go."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(STOP_S)
        connection.connect(os.fspath(address))
        connection.sendall(_SHUTDOWN)
        connection.recv(64)  # whatever it answers, it has been told


def _listens(address: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(ANSWER_S)
        try:
            connection.connect(os.fspath(address))
        except OSError:
            return False
        return True


def _owned(bus: Path) -> bool | None:
    """Whether tpm2-abrmd is on the bus; None where the bus itself does not answer."""
    try:
        return name_has_owner(bus, TABRMD_NAME, timeout_s=ANSWER_S)
    except OSError:
        return None


def _swtpm_arguments(runtime: _Runtime) -> list[str]:
    # The folder of its state comes by TPM_PATH: as an option, a comma in it would end it.
    # "disconnect": after each command, as its TCTI does; else it logs a line for each.
    return [
        "socket",
        "--tpm2",
        f"--server=type=unixio,path={runtime.tpm},disconnect",
        f"--ctrl=type=unixio,path={runtime.control}",
        "--flags=not-need-init,startup-clear",
    ]


def _socket_folder(folder: Path) -> Path:
    """The folder itself, or a private one with a shorter and plainer path where that is no good."""
    if _good_for_sockets(folder):
        return folder
    wanted = (os.environ.get("XDG_RUNTIME_DIR"), "/run", tempfile.gettempdir(), "/tmp")  # noqa: S108 - mkdtemp makes it private
    for base in wanted:
        if base and os.access(base, os.W_OK | os.X_OK) and _good_for_sockets(Path(base, 20 * "x")):
            return Path(tempfile.mkdtemp(prefix="tpmconsole-", dir=base))
    raise cannot_start(
        f"{folder} is too long for a socket, and no shorter folder may be written",
        "use a state directory with a short path (--state)",
    )


def _good_for_sockets(folder: Path) -> bool:
    longest = os.fsencode(folder / _LONGEST_SOCKET)
    return (
        len(longest) < _SOCKET_PATH_BYTES and _PLAIN_PATH.fullmatch(os.fspath(folder)) is not None
    )


def _write(path: Path, text: str) -> None:
    """Write a private file whole; it need not outlast a power cut, as the processes do not."""
    temporary = path.with_name(f".{path.name}.new")
    descriptor = os.open(
        temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, PRIVATE_FILE
    )
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    temporary.replace(path)


def _last_line(log: Path) -> str:
    try:
        lines = log.read_bytes()[-4096:].decode("utf-8", "replace").split("\n")
    except OSError:
        lines = []
    said = [line.strip() for line in lines if line.strip()]
    return said[-1] if said else "it said nothing"


def _folder_trouble(folder: Path, error: OSError) -> ConsoleError:
    return cannot_start(
        f"{error.filename or folder}: {error.strerror or error}",
        f"check the owner of {folder} and its free space (df)",
    )
