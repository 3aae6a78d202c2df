"""A proxy between a TSS, or a resource manager, and swtpm: it passes commands on, or spoils them.

swtpm's two sockets are both taken over: the commands, one a connection as its TCTI makes them, and
the control channel beside it, which is passed through. A fault is a function of a command and of
what would pass it on; it gives the answer's bytes, or None for a connection that closes.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

# Command codes, TPM 2.0 Library, Part 2, section 6.5.2.
CREATE_PRIMARY, EVICT_CONTROL, SELF_TEST, STARTUP = 0x131, 0x120, 0x143, 0x144
CREATE, LOAD, SIGN, FLUSH_CONTEXT, GET_CAPABILITY = 0x153, 0x157, 0x15D, 0x165, 0x17A
GET_RANDOM, GET_TEST_RESULT, READ_PUBLIC = 0x17B, 0x17C, 0x173

_HEADER = struct.Struct(">HII")  # tag, size, and the command's or response's code
_NO_SESSIONS = 0x8001
_FAR_TOO_MUCH = 0xFFFFFFFF

PassOn = Callable[[bytes], bytes]
Fault = Callable[[bytes, PassOn], bytes | None]


def code_of(command: bytes) -> int:
    """Which command this is."""
    return int(_HEADER.unpack_from(command)[2])


def answer(code: int) -> bytes:
    """A response that has only a code."""
    return _HEADER.pack(_NO_SESSIONS, _HEADER.size, code)


def answering(code: int, *commands: int, times: int | None = None) -> Fault:
    """Answer with a response code.

    Args:
        commands: only these; all where none is named.
        times: then everything is passed on again.
    """
    left = [times]

    def fault(command: bytes, pass_on: PassOn) -> bytes:
        if (commands and code_of(command) not in commands) or left[0] == 0:
            return pass_on(command)
        if left[0] is not None:
            left[0] -= 1
        return answer(code)

    return fault


def delayed(seconds: float) -> Fault:
    """A slow chip: every answer comes late."""

    def fault(command: bytes, pass_on: PassOn) -> bytes:
        time.sleep(seconds)  # what is tested, not a wait of the test
        return pass_on(command)

    return fault


def cut_off(command: bytes, pass_on: PassOn) -> None:
    """The connection closes instead of an answer, though the command was carried out."""
    pass_on(command)


def cut_off_at(*commands: int) -> Fault:
    """The same for these commands only."""

    def fault(command: bytes, pass_on: PassOn) -> bytes | None:
        response = pass_on(command)
        return None if code_of(command) in commands else response

    return fault


def truncated(command: bytes, pass_on: PassOn) -> bytes:
    """Half an answer, and the end of the connection."""
    response = pass_on(command)
    return response[: max(6, len(response) // 2)]


def garbled(command: bytes, pass_on: PassOn) -> bytes:
    """Every byte is another one."""
    return bytes(one ^ 0xA5 for one in pass_on(command))


def garbled_body(command: bytes, pass_on: PassOn) -> bytes:
    """The header is right, what follows is not."""
    response = pass_on(command)
    return response[: _HEADER.size] + bytes(one ^ 0xA5 for one in response[_HEADER.size :])


def zero_filled(command: bytes, pass_on: PassOn) -> bytes:
    """As many zeros as the answer would have bytes."""
    return bytes(len(pass_on(command)))


def empty(command: bytes, pass_on: PassOn) -> bytes:
    """A good header that promises nothing more, where more is due."""
    pass_on(command)
    return answer(0)


def huge(command: bytes, pass_on: PassOn) -> bytes:
    """The answer says that it has 4 GiB."""
    response = pass_on(command)
    tag, _, code = _HEADER.unpack_from(response)
    return _HEADER.pack(tag, _FAR_TOO_MUCH, code) + response[_HEADER.size :]


class Proxy:
    """The proxy of one swtpm.

    Args:
        path: where it listens; its control channel is beside it.
        backend: swtpm's own socket.

    Attributes:
        commands: how many of each command code have come.
    """

    def __init__(self, path: Path, backend: Path) -> None:
        self.path = path
        self.commands: Counter[int] = Counter()
        self._backend = backend
        self._fault: Fault | None = None
        self._released = threading.Event()
        self._turn = threading.Lock()  # swtpm serves one connection at a time
        self._closed = False
        self._sockets = [
            self._listen(path, self._serve),
            self._listen(Path(f"{path}.ctrl"), self._control),
        ]

    @property
    def tcti(self) -> str:
        return f"swtpm:path={self.path}"

    def spoil(self, fault: Fault) -> None:
        """From now on commands meet this fault."""
        self._fault = fault

    def hang(self, *commands: int) -> None:
        """From now on these commands, or all, get no answer until ``mend``."""
        released = self._released = threading.Event()

        def fault(command: bytes, pass_on: PassOn) -> bytes | None:
            if commands and code_of(command) not in commands:
                return pass_on(command)
            released.wait()
            return None if self._closed else pass_on(command)

        self._fault = fault

    def mend(self) -> None:
        """The fault is gone."""
        self._fault = None
        self._released.set()

    def close(self) -> None:
        """End it; connections that are open are cut."""
        self._closed = True
        self.mend()
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _listen(self, path: Path, serve: Callable[[socket.socket], None]) -> socket.socket:
        path.unlink(missing_ok=True)
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(os.fspath(path))
        listening.listen(16)

        def accept() -> None:
            while not self._closed:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                threading.Thread(
                    target=self._guarded, args=(serve, connection), daemon=True
                ).start()

        threading.Thread(target=accept, daemon=True).start()
        return listening

    def _guarded(self, serve: Callable[[socket.socket], None], connection: socket.socket) -> None:
        # Whoever killed a process at either end wanted its connections to break.
        with connection, contextlib.suppress(OSError, EOFError):
            serve(connection)

    def _serve(self, connection: socket.socket) -> None:
        while True:
            command = _message(connection)
            self.commands[code_of(command)] += 1
            fault = self._fault
            response = fault(command, self._pass_on) if fault else self._pass_on(command)
            if response is None:
                return
            connection.sendall(response)
            if len(response) < _HEADER.size or _HEADER.unpack_from(response)[1] != len(response):
                return  # what was promised does not come: so does the end

    def _pass_on(self, command: bytes) -> bytes:
        with self._turn, socket.socket(socket.AF_UNIX) as tpm:
            tpm.connect(os.fspath(self._backend))
            tpm.sendall(command)
            return _message(tpm)

    def _control(self, connection: socket.socket) -> None:
        with socket.socket(socket.AF_UNIX) as tpm:
            tpm.connect(f"{self._backend}.ctrl")
            while data := connection.recv(4096):
                tpm.sendall(data)
                connection.sendall(tpm.recv(4096))


def _message(connection: socket.socket) -> bytes:
    """One command or response.

    Raises:
        EOFError: the other end closed instead.
    """
    data = b""
    size = _HEADER.size
    while len(data) < size:
        chunk = connection.recv(size - len(data))
        if not chunk:
            raise EOFError
        data += chunk
        if len(data) == _HEADER.size:
            size = int(_HEADER.unpack(data)[1])
    return data
