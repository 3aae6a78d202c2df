"""The runtime file of a simulator: its sockets and its processes, and whether they answer."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import stat
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tpmconsole.errors import Action, NextStep
from tpmconsole.inputs import parse_json
from tpmconsole.system.dbus import TABRMD_NAME, Presence, ask
from tpmconsole.system.files import PRIVATE_FILE, PRIVATE_FOLDER
from tpmconsole.system.processes import Process, boot_id
from tpmconsole.tpm.simulator.programs import cannot_start

SWTPM, BUS, ABRMD = "swtpm", "dbus-daemon", "tpm2-abrmd"
# In the order in which they are ended: each before the programs that it uses.
PROGRAMS = (ABRMD, SWTPM, BUS)

ANSWER_S = 3.0

# sizeof(sockaddr_un.sun_path), including the final zero (unix(7)).
_SOCKET_PATH_BYTES = 108
# Not every character is possible in a TCTI string, in swtpm's options and in a bus address.
_PLAIN_PATH = re.compile(r"[A-Za-z0-9/_.+-]+")

# TPM2_Shutdown(TPM_SU_CLEAR), TPM 2.0 Library part 3, section 9.4. swtpm before 0.8 does not send
# it on its own, and a TPM that lost power counts the use of a protected key as a wrong password.
_SHUTDOWN = bytes.fromhex("80010000000c000001450000")
# TPM2_GetTestResult, section 10.4: answered in failure mode too.
_GET_TEST_RESULT = bytes.fromhex("80010000000a0000017c")
# TPM2_EvictControl, section 28.5, by the owner, who has no password yet; then the handle, twice.
_EVICT_BEGIN = bytes.fromhex("8002000000230000012040000001")
_EVICT_MIDDLE = bytes.fromhex("00000009400000090000000000")


@dataclass(slots=True)
class Runtime:
    """The runtime file's content: where the sockets are, and which processes were started."""

    sockets: Path
    processes: dict[str, Process] = field(default_factory=dict)

    @property
    def bus(self) -> Path:
        """Socket of the private message bus."""
        return self.sockets / "bus"

    @property
    def tpm(self) -> Path:
        """Socket on which swtpm takes TPM commands."""
        return self.sockets / "tpm.sock"

    @property
    def control(self) -> Path:
        """swtpm's control channel: the TSS expects it beside the TPM's socket, with this suffix."""
        return self.sockets / "tpm.sock.ctrl"

    @property
    def address(self) -> str:
        """The bus address for DBUS_SESSION_BUS_ADDRESS."""
        return f"unix:path={self.bus}"

    def alive(self) -> dict[str, Process]:
        """Its processes that are running."""
        return {name: process for name, process in self.processes.items() if process.alive}

    def reachable(self, folder: Path) -> bool:
        """Whether the sockets' folder still exists and, outside ``folder``, is still ours."""
        if self.sockets == folder:
            return True
        try:
            status = self.sockets.lstat()
        except OSError:
            return False
        private = stat.S_IMODE(status.st_mode) == PRIVATE_FOLDER
        return private and stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()

    def swtpm_answers(self) -> bool:
        """Whether swtpm is running and can be reached.

        Makes no connection: swtpm serves one at a time, and an RSA key keeps it busy for seconds.
        """
        return SWTPM in self.alive() and self.tpm.is_socket() and self.control.is_socket()

    def swtpm_is_ready(self) -> bool:
        """Whether swtpm has read its TPM's state and answers a command; call it before any use.

        swtpm listens before it reads the state, and ends if the state is damaged.
        """
        return bool(self._command(_GET_TEST_RESULT, ANSWER_S)) and _listens(self.control)

    def bus_answers(self) -> bool:
        """Whether the bus is running and answers a question."""
        return BUS in self.alive() and self._abrmd_on_bus() is not None

    def abrmd_answers(self) -> bool:
        """Whether tpm2-abrmd is running and on the bus, as it is once it has reached the TPM."""
        return ABRMD in self.alive() and self._abrmd_on_bus() is Presence.ANSWERS

    def healthy(self) -> bool:
        """Whether all three are running, not suspended, and answer. Takes about a millisecond."""
        suspended = any(process.stopped for process in self.processes.values())
        # The bus that abrmd_answers asks must be our own.
        return (
            not suspended and BUS in self.alive() and self.swtpm_answers() and self.abrmd_answers()
        )

    def shut_down_tpm(self, patience_s: float) -> None:
        """Tell the TPM that it is about to lose power."""
        self._command(_SHUTDOWN, patience_s)  # its answer does not matter

    def evict(self, handles: Iterable[int]) -> None:
        """Take keys out of a new TPM's persistent handles; one that is not there is no fault."""
        for handle in handles:
            number = handle.to_bytes(4, "big")
            self._command(_EVICT_BEGIN + number + _EVICT_MIDDLE + number, ANSWER_S)

    def remove_sockets(self, folder: Path) -> None:
        """Remove the sockets, and their folder unless it is ``folder`` itself."""
        for path in (self.bus, self.tpm, self.control):
            path.unlink(missing_ok=True)
        if self.sockets != folder:
            with contextlib.suppress(OSError):
                self.sockets.rmdir()

    def to_text(self) -> str:
        """JSON for the runtime file."""
        processes = {name: asdict(process) for name, process in self.processes.items()}
        data = {"boot": boot_id(), "sockets": os.fspath(self.sockets), "processes": processes}
        return json.dumps(data)

    @classmethod
    def from_text(cls, text: str) -> Runtime:
        """The reverse of ``to_text``; processes of another boot are left out.

        Raises:
            ValueError: it is not a runtime file.
        """
        try:
            data = parse_json(text)
            written = data["processes"] if data["boot"] == boot_id() else {}
            processes = {
                str(name): Process(int(facts["pid"]), int(facts["started"]))
                for name, facts in written.items()
            }
            return cls(Path(data["sockets"]), processes)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError("not a simulator's runtime file") from error

    def _command(self, command: bytes, patience_s: float) -> bytes:
        """Send swtpm a TPM command without the broker; the answer is empty if there is none."""
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(patience_s)
                connection.connect(os.fspath(self.tpm))
                connection.sendall(command)
                return connection.recv(4096)
        except OSError:
            return b""

    def _abrmd_on_bus(self) -> Presence | None:
        """Whether tpm2-abrmd is on the bus and answers; None if the bus itself does not."""
        try:
            return ask(self.bus, TABRMD_NAME, timeout_s=ANSWER_S)
        except OSError:
            return None


def new_runtime(folder: Path) -> Runtime:
    """A runtime with nothing running, its sockets in ``folder``.

    If the path is too long for a socket, or has characters that a TCTI string cannot have, the
    sockets get a private folder elsewhere.

    Raises:
        ConsoleError: no folder is suitable for the sockets.
    """
    if _good_for_sockets(folder):
        return Runtime(folder)
    bases = (os.environ.get("XDG_RUNTIME_DIR"), "/run", tempfile.gettempdir(), "/var/tmp")  # noqa: S108 - the folder below it is private
    for base in bases:
        if base and os.access(base, os.W_OK | os.X_OK) and _good_for_sockets(Path(base, "x" * 24)):
            return Runtime(Path(tempfile.mkdtemp(prefix="tpmconsole-", dir=base)))
    raise cannot_start(
        f"no socket can be made in {folder}: its path is too long or has special characters",
        NextStep(Action.GIVE_STATE, text="use a state directory with a short, plain path ({})"),
    )


def write_private(path: Path, text: str) -> None:
    """Write a private file completely. It may be lost in a power cut, as the processes are.

    Raises:
        OSError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    with os.fdopen(os.open(temporary, flags, PRIVATE_FILE), "w", encoding="utf-8") as file:
        file.write(text)
    temporary.replace(path)


def _good_for_sockets(folder: Path) -> bool:
    longest = os.fspath(Runtime(folder).control)
    plain = _PLAIN_PATH.fullmatch(longest) is not None
    return plain and len(longest) < _SOCKET_PATH_BYTES


def _listens(address: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(ANSWER_S)
        try:
            connection.connect(os.fspath(address))
        except OSError:
            return False
        return True
