"""Our own simulated TPM: swtpm behind tpm2-abrmd on a private message bus.

tpm2-abrmd is needed because swtpm alone has room for three objects and never frees any. The three
communicate over unix sockets in a private folder: no ports, and no access for other users.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tpmconsole.errors import ConsoleError, ExitCode
from tpmconsole.system.environment import NO_OPENSSL_CONF, SEARCH_PATH
from tpmconsole.system.files import PRIVATE_FOLDER, make_private_folder, remedy
from tpmconsole.system.locks import FileLock
from tpmconsole.system.processes import Process, end, launch, wait_for, with_variable
from tpmconsole.tpm.model import Connection
from tpmconsole.tpm.simulator.maker import ENDORSEMENT_HANDLES, Maker
from tpmconsole.tpm.simulator.programs import (
    abrmd_arguments,
    advice,
    bus_arguments,
    bus_configuration,
    cannot_start,
    find_program,
    require_tcti,
    swtpm_arguments,
)
from tpmconsole.tpm.simulator.runtime import (
    ABRMD,
    BUS,
    PROGRAMS,
    SWTPM,
    Runtime,
    new_runtime,
    write_private,
)

TCTI = "tabrmd:bus_type=session"
# Every process of a simulator has its folder in this variable, so that we can always find it.
MARKER = "TPMCONSOLE_SIMULATOR"

START_S = 10.0
STOP_S = 5.0
ABRMD_STOP_S = 1.0
LOCK_S = 30.0


@dataclass(frozen=True, slots=True)
class SimulatorStatus:
    """What is running of the simulator.

    Attributes:
        running: whether all three processes are running.
        pids: the process id of each program that is running.
        bus: the address of the private bus while it is running.
    """

    running: bool
    pids: dict[str, int]
    tcti: str
    bus: str | None

    def to_json(self) -> dict[str, Any]:
        """The answer of ``simulator status --json``."""
        return asdict(self)


class Simulator:
    """The simulated TPM of one folder; any number of programs may use it at once.

    Args:
        folder: keeps the TPM's state, the logs and the list of processes.
        search_path: where to look for the programs, in the format of PATH.
    """

    def __init__(self, folder: Path, *, search_path: str = SEARCH_PATH) -> None:
        self.folder = folder.absolute()
        self._search_path = search_path

    @property
    def state(self) -> Path:
        """Where swtpm keeps the TPM."""
        return self.folder / "tpm"

    @property
    def maker(self) -> Maker:
        """Who makes its TPM: stays where a TPM is thrown away."""
        return Maker(self.folder / "maker", self._search_path)

    def lease(self) -> FileLock:
        """A shared lock for a process that uses it; the holder of an exclusive lock may stop it.

        Raises:
            ConsoleError: another program has been stopping it for too long.
            OSError: the lock file cannot be opened.
        """
        path = self.folder / "users.lock"
        lock = FileLock.on_file(path)
        try:
            lock.take(_busy(path), LOCK_S, shared=True)
        except BaseException:
            lock.close()
            raise
        return lock

    @property
    def pids(self) -> dict[str, int]:
        """The process id of each program that is running."""
        return self.status().pids

    def ensure(self) -> Connection:
        """Make sure that it runs and answers: start what is missing, keep what works.

        Returns:
            the connection to it; its environment names the private bus.

        Raises:
            ConsoleError: it cannot be started: a program is missing, or ended immediately.
        """
        runtime = self._read()
        if runtime is None or not runtime.healthy():
            with self._trouble_in_words():
                self._make_folder()
                with self._locked():
                    runtime = self._repaired()
        return Connection(
            tcti=TCTI,
            why="the simulator",
            simulated=True,
            environment={"DBUS_SESSION_BUS_ADDRESS": runtime.address},
        )

    def status(self) -> SimulatorStatus:
        """What is running now; starts and repairs nothing."""
        runtime = self._read()
        alive = runtime.alive() if runtime else {}
        return SimulatorStatus(
            running=len(alive) == len(PROGRAMS),
            pids={name: process.pid for name, process in alive.items()},
            tcti=TCTI,
            bus=runtime.address if runtime and BUS in alive else None,
        )

    def stop(self, patience_s: float = STOP_S) -> bool:
        """Shut it down in order, so that its TPM does not count a wrong password; keys are kept.

        Args:
            patience_s: seconds until each part is killed.

        Returns:
            whether anything was running.

        Raises:
            ConsoleError: another program keeps starting or stopping it, or the folder is not ours.
        """
        if not self.folder.is_dir():
            return False
        with self._trouble_in_words(), self._locked():
            runtime = self._read()
            ran = bool(runtime and runtime.alive()) or bool(self._marked())
            self._end_all(runtime, patience_s)
            return ran

    def forget(self, patience_s: float = STOP_S) -> None:
        """Shut it down and delete its TPM with all keys; the next start makes a new one.

        Args:
            patience_s: as in ``stop``, whose errors it raises.
        """
        if not self.folder.is_dir():
            return
        with self._trouble_in_words(), self._locked():
            self._end_all(self._read(), patience_s)
            if self.state.exists():
                shutil.rmtree(self.state)

    def _make_folder(self) -> None:
        try:
            make_private_folder(self.folder)
        except ConsoleError as error:
            raise cannot_start(error.cause, error.remedy) from error
        # The sockets in it are open to everyone who can enter it.
        self.folder.chmod(PRIVATE_FOLDER)

    def _repaired(self) -> Runtime:
        """Make the simulator healthy, keeping what still works; we must hold the lock."""
        runtime = self._read()
        for process in runtime.alive().values() if runtime else ():
            # It was suspended: continuing it loses less than starting again.
            process.signal(signal.SIGCONT)
        if runtime is not None and runtime.healthy():
            return runtime
        if runtime is None or not runtime.reachable(self.folder):
            # Without its runtime file or its sockets, what is running can no longer be used.
            self._end_all(runtime)
            runtime = new_runtime(self.folder)
        try:
            self._start_missing(runtime)
        except BaseException:
            self._end_all(runtime)
            raise
        return runtime

    def _start_missing(self, runtime: Runtime) -> None:
        programs = {name: find_program(name, self._search_path) for name in PROGRAMS}
        for tcti in ("swtpm", "tabrmd"):
            require_tcti(tcti)
        # A process that was not recorded, because its starter was killed, is in the way.
        for process in self._marked():
            if process not in runtime.processes.values():
                end(process, STOP_S)
        # Its TPM or its bus is gone, or it does not answer itself.
        _end(runtime, ABRMD)
        bus, swtpm = runtime.bus_answers(), runtime.swtpm_answers()
        if not bus:
            _end(runtime, BUS)
            runtime.bus.unlink(missing_ok=True)
            configuration = self.folder / "bus.conf"
            write_private(configuration, bus_configuration(runtime.bus))
            self._launch(runtime, BUS, [programs[BUS], *bus_arguments(configuration)])
        if not swtpm:
            _end(runtime, SWTPM)
            # One that is there already is what it is, with a maker or without.
            made = not self.state.exists() and self.maker.make_chip(self.state)
            make_private_folder(self.state)
            arguments = swtpm_arguments(runtime.tpm, runtime.control)
            self._launch(runtime, SWTPM, [programs[SWTPM], *arguments])
            self._wait(runtime, SWTPM, runtime.swtpm_is_ready)
            if made:
                runtime.evict(ENDORSEMENT_HANDLES)
        if not bus:
            self._wait(runtime, BUS, runtime.bus_answers)
        self._launch(runtime, ABRMD, [programs[ABRMD], *abrmd_arguments(runtime.tpm)])
        self._wait(runtime, ABRMD, runtime.abrmd_answers)

    def _launch(self, runtime: Runtime, name: str, argv: list[str]) -> None:
        log = self._log(name)
        if log.exists():
            log.replace(log.with_suffix(".log.1"))
        runtime.processes[name] = launch(
            argv,
            environment=NO_OPENSSL_CONF
            | {
                "PATH": SEARCH_PATH,
                "LANG": "C.UTF-8",
                "HOME": os.fspath(self.folder),
                # The folder of swtpm's state; in its option "dir=" a comma would end the path.
                "TPM_PATH": os.fspath(self.state),
                "DBUS_SESSION_BUS_ADDRESS": runtime.address,
                MARKER: self._mark,
            },
            folder=self.folder,
            log=log,
        )
        write_private(self._runtime_file, runtime.to_text())

    def _wait(self, runtime: Runtime, name: str, ready: Callable[[], bool]) -> None:
        """Wait until a program that was launched is ready.

        Raises:
            ConsoleError: it ended or takes too long; the cause has the last line of its log.
        """
        process = runtime.processes[name]
        answered = wait_for(lambda: not process.alive or ready(), START_S)
        if answered and process.alive:
            return
        log = self._log(name)
        what = "ended" if answered else f"is not ready after {START_S:g} s"
        raise cannot_start(f"{name} {what}: {_last_line(log)}", advice(name, self.folder, log))

    def _end_all(self, runtime: Runtime | None, patience_s: float = STOP_S) -> None:
        """End what is running, in order, and remove its sockets and the runtime file."""
        if runtime is not None:
            for name in PROGRAMS:
                _end(runtime, name, patience_s)
        for process in self._marked():
            end(process, patience_s)
        if runtime is not None:
            runtime.remove_sockets(self.folder)
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

    def _read(self) -> Runtime | None:
        """Read the runtime file; None if there is no valid one."""
        try:
            return Runtime.from_text(self._runtime_file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None  # missing, or not written by us: start from scratch

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock, so that only one thread of one process starts or stops it at a time.

        Raises:
            ConsoleError: another process has held the lock for too long.
            OSError: the lock file cannot be opened.
        """
        path = self.folder / "lock"
        with FileLock.on_file(path) as lock:
            lock.take(_busy(path), LOCK_S)
            yield

    @contextlib.contextmanager
    def _trouble_in_words(self) -> Iterator[None]:
        """Report a folder that cannot be used as a simulator that cannot start.

        Raises:
            ConsoleError: in place of an OSError.
        """
        try:
            yield
        except OSError as error:
            raise cannot_start(
                f"{error.filename or self.folder}: {error.strerror or error}",
                remedy(error) or f"check the owner of {self.folder} and the free space there (df)",
            ) from error


def _end(runtime: Runtime, name: str, patience_s: float = STOP_S) -> None:
    process = runtime.processes.pop(name, None)
    if process is None or not process.alive:
        return
    if name == SWTPM:
        runtime.shut_down_tpm(patience_s)
    # tpm2-abrmd 3.0 waits forever for its own thread if it is told to end right after its start;
    # it has nothing that a kill could lose.
    end(process, min(patience_s, ABRMD_STOP_S) if name == ABRMD else patience_s)


def _busy(path: Path) -> ConsoleError:
    return ConsoleError(
        "Simulator is busy",
        f"another program has been starting or stopping it for {LOCK_S:g} s",
        f"end the program that has {path} open, then try again",
        ExitCode.NO_TPM,
    )


def _last_line(log: Path) -> str:
    try:
        text = log.read_bytes()[-4096:].decode("utf-8", "replace")
    except OSError:
        text = ""
    said = [line.strip() for line in text.splitlines() if line.strip()]
    return said[-1] if said else "its log is empty"
