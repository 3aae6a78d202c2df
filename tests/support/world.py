"""The CA, identities and sessions of one test, and software peers that talk to them."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.pki import Ca, PublicKey, SoftwareIdentity
from support.waiting import wait_until
from tpmconsole.session.manager import SessionManager
from tpmconsole.session.spec import Credentials, SessionSpec
from tpmconsole.session.status import SessionStatus
from tpmconsole.tpm.auth import Auth
from tpmconsole.tpm.model import Connection, KeyRef

LOCAL = "127.0.0.1"
DEADLINE_S = 10.0


@dataclass(frozen=True)
class TpmKeys:
    """The keys of one TPM by name: ``ec-p256``, ``rsa-2048``, ``handle``, ``password`` …"""

    connection: Connection
    sources: dict[str, KeyRef]
    public: dict[str, PublicKey]


@dataclass
class World:
    """The objects that a test uses."""

    folder: Path
    keys: TpmKeys
    ca: Ca
    supervisor: SessionManager

    def credentials(
        self, key: str = "ec-p256", *, trust: Ca | None = None, **certificate: Any
    ) -> Credentials:
        """Make an identity with one of the TPM's keys; its name and subject are the key's name."""
        folder = self.folder / "identities" / key
        folder.mkdir(parents=True, exist_ok=True)
        chain, anchors = folder / "certificate.pem", folder / "trust.pem"
        chain.write_bytes(self.ca.issue(self.keys.public[key], key, **certificate))
        anchors.write_bytes((trust or self.ca).pem)
        return Credentials(key, self.keys.sources[key], chain, anchors)

    def software(self, name: str = "peer", *, ca: Ca | None = None) -> SoftwareIdentity:
        """Make an identity whose key is in software; if it is of another CA, it trusts that CA."""
        return SoftwareIdentity.make(self.folder / "software" / name, ca or self.ca, name)

    def server(
        self,
        key: str = "ec-p256",
        *,
        credentials: Credentials | None = None,
        port: int = 0,
        **options: Any,
    ) -> SessionStatus:
        spec = SessionSpec("server", key, options.pop("host", LOCAL), port, **options)
        return self.supervisor.start(
            spec, credentials or self.credentials(key), self.keys.connection
        )

    def client(
        self,
        port: int,
        key: str = "ec-p256",
        *,
        credentials: Credentials | None = None,
        password: bytes | None = None,
        **options: Any,
    ) -> SessionStatus:
        """Start a client that sends one message by default."""
        options = {"count": 1, "interval_s": 0.0} | options
        spec = SessionSpec("client", key, options.pop("host", LOCAL), port, **options)
        return self.supervisor.start(
            spec, credentials or self.credentials(key), self.keys.connection, Auth(password)
        )

    def ended(self, session: str) -> SessionStatus:
        """Wait until a session has ended on its own."""
        wait_until(lambda: self.supervisor.show(session).state.ended, session)
        return self.supervisor.show(session)

    def kinds(self, session: str) -> list[str]:
        """The events of a session, by their names."""
        return [event["event"] for event in self.supervisor.events(session)]

    def wait_for(self, session: str, wanted: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """Wait for the first event that is wanted, and return it."""

        def find() -> dict[str, Any] | None:
            return next(filter(wanted, self.supervisor.events(session)), None)

        wait_until(find, f"an event of {session}")
        found = find()
        assert found
        return found


def port_of(facts: SessionStatus) -> int:
    """The address of a server session."""
    return int(facts.address.rpartition(":")[2])


@contextmanager
def connected(
    identity: SoftwareIdentity, port: int, context: ssl.SSLContext | None = None
) -> Iterator[ssl.SSLSocket]:
    """A software client's connection."""
    context = context or identity.context(server=False)
    with (
        socket.create_connection((LOCAL, port), DEADLINE_S) as plain,
        context.wrap_socket(plain, server_hostname=LOCAL) as tls,
    ):
        yield tls


def say(tls: ssl.SSLSocket, line: str) -> str:
    """Send a line, and return the answer."""
    tls.sendall(line.encode() + b"\n")
    return read_line(tls)


def read_line(tls: ssl.SSLSocket) -> str:
    data = b""
    while not data.endswith(b"\n"):
        more = tls.recv(1)
        if not more:
            raise EOFError(data)
        data += more
    return data.decode().rstrip("\n")


def answer_lines(tls: ssl.SSLSocket) -> None:
    """Behave like a line server; end with the client."""
    with suppress(EOFError):
        while True:
            tls.sendall(read_line(tls).replace("PING", "PONG").encode() + b"\n")


@dataclass
class SoftwareServer:
    """A server in a thread whose behaviour a test chooses; one connection at a time.

    Attributes:
        behave: what to do with each connection after its handshake.
        errors: the errors that ended earlier connections.
    """

    context: ssl.SSLContext
    behave: Callable[[ssl.SSLSocket], None] = answer_lines
    errors: list[Exception] = field(default_factory=list)
    connections: int = 0

    def __enter__(self) -> SoftwareServer:
        self._listener = socket.create_server((LOCAL, 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # Closing it would not wake the thread that waits for a connection.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(DEADLINE_S)

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def _serve(self) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            plain.settimeout(DEADLINE_S)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                with plain, self.context.wrap_socket(plain, server_side=True) as tls:
                    self.behave(tls)
            except Exception as error:  # noqa: BLE001 - for the test to look at
                self.errors.append(error)
