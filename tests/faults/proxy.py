"""A proxy between a TSS, or a resource manager, and swtpm: it forwards or spoils commands.

It replaces both sockets of swtpm: that of the commands, one per connection as its TCTI sends them,
and the control channel, which is forwarded unchanged. A fault is a function of a command and of the
function that forwards it; it returns the answer's bytes, or None to close the connection.
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
    """Return the code of a command."""
    return int(_HEADER.unpack_from(command)[2])


def answer(code: int) -> bytes:
    """Make a response that has only a code."""
    return _HEADER.pack(_NO_SESSIONS, _HEADER.size, code)


def answering(code: int, *commands: int, times: int | None = None) -> Fault:
    """Answer with a response code.

    Args:
        commands: only these; all if none is named.
        times: after so many answers, forward everything again.
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
        time.sleep(seconds)  # this is what is tested, not a wait of the test
        return pass_on(command)

    return fault


def cut_off(command: bytes, pass_on: PassOn) -> None:
    """The connection closes instead of an answer, although the command was executed."""
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
    """Every byte is changed."""
    return bytes(one ^ 0xA5 for one in pass_on(command))


def garbled_body(command: bytes, pass_on: PassOn) -> bytes:
    """The header is right, the rest is not."""
    response = pass_on(command)
    return response[: _HEADER.size] + bytes(one ^ 0xA5 for one in response[_HEADER.size :])


def zero_filled(command: bytes, pass_on: PassOn) -> bytes:
    """The answer is replaced by as many zeros."""
    return bytes(len(pass_on(command)))


def empty(command: bytes, pass_on: PassOn) -> bytes:
    """A valid header without a body, although a body is required."""
    pass_on(command)
    return answer(0)


def huge(command: bytes, pass_on: PassOn) -> bytes:
    """The answer claims to have 4 GiB."""
    response = pass_on(command)
    tag, _, code = _HEADER.unpack_from(response)
    return _HEADER.pack(tag, _FAR_TOO_MUCH, code) + response[_HEADER.size :]


class Proxy:
    """The proxy of one swtpm.

    Args:
        path: its socket; the control channel's is in the same folder.
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
        """Apply this fault to commands from now on."""
        self._fault = fault

    def hang(self, *commands: int) -> None:
        """Leave these commands, or all, without an answer until ``mend``."""
        released = self._released = threading.Event()

        def fault(command: bytes, pass_on: PassOn) -> bytes | None:
            if commands and code_of(command) not in commands:
                return pass_on(command)
            released.wait()
            return None if self._closed else pass_on(command)

        self._fault = fault

    def mend(self) -> None:
        """End the fault."""
        self._fault = None
        self._released.set()

    def close(self) -> None:
        """End the proxy and its open connections."""
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
        # A process at either end was killed, which is meant to break its connections.
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
                return  # the rest does not come, nor does the end

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
    """Read one command or response.

    Raises:
        EOFError: the other end closed the connection.
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
