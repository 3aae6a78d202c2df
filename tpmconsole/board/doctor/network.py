"""Probes of servers that were named, or that one of our sessions cannot reach: how far do we get?

For each server, look its name up, then connect, then check its certificate; all servers at once,
so that the time-out of dead ones is spent only once.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from tpmconsole.board.doctor.examination import Examination
from tpmconsole.errors import Action, ConsoleError, NextStep
from tpmconsole.finding import Finding, fail, ok, skipped, warn
from tpmconsole.inputs import address_text, parse_address, without_zone
from tpmconsole.system.files import read_bounded
from tpmconsole.system.zones import check_zone

if TYPE_CHECKING:
    from tpmconsole.identity.store import Identity
    from tpmconsole.session.status import SessionStatus

PATIENCE_S = 1.5
MOST = 8
_Result = TypeVar("_Result")


class Server(NamedTuple):
    """A server, and the identity whose trust anchors apply to it; None for those of all."""

    host: str
    port: int
    identity: str | None = None

    def __str__(self) -> str:
        return address_text(self.host, self.port)


def _servers(examination: Examination) -> list[Server]:
    found = [Server(host, port) for host, port in examination.servers]
    for one in examination.board.sessions.list():
        # A connected session proves more than we could, and its server would log us as a fault.
        if one.role == "client" and not one.state.ended and not _talks(one):
            try:
                host, port = parse_address(one.address)
            except ConsoleError:
                continue  # a damaged session; page 4 shows it
            found.append(Server(host, port, one.identity))
    return list(dict.fromkeys(found))[:MOST]


def _talks(session: SessionStatus) -> bool:
    """Whether a session's last handshake succeeded and it is still connected."""
    return session.state == "running" and session.handshakes > 0 and session.connections > 0


def _each(
    examination: Examination, ask: Callable[[Server], Finding], what: str
) -> Iterator[Finding]:
    servers = _servers(examination)
    if not servers:
        yield skipped("no server was named", NextStep(Action.GIVE_SERVER, text="name one: {}"))
        return
    left = [one for one in servers if str(one) not in examination.unreached]
    for server in servers:
        if server not in left:
            yield skipped(f"{server}: could not be reached, see above")
    answers = together([partial(ask, one) for one in left], PATIENCE_S + 0.2)
    for server, answer in zip(left, answers, strict=True):
        if not isinstance(answer, Finding):
            examination.unreached.add(str(server))
        if isinstance(answer, Finding):
            yield answer
        elif answer is None:
            yield fail(f"{server}: no answer within {PATIENCE_S:g} s", what)
        elif isinstance(answer, (OSError, ConsoleError)):
            yield _explained(answer, server)
        else:
            raise answer


def _explained(error: OSError | ConsoleError, server: Server) -> Finding:
    from tpmconsole.session.tls.errors import explain
    from tpmconsole.session.tls.peer import Peer

    told = explain(error, Peer("the server", str(server)))
    return fail(told.cause, told.remedy, f"{type(error).__name__}: {error}")


def names(examination: Examination) -> Iterator[Finding]:
    """Do the name servers know the host?"""
    what = "check the board's name servers (/etc/resolv.conf), or use an address"
    return _each(examination, _name, what)


def _name(server: Server) -> Finding:
    try:
        ipaddress.ip_address(server.host)
    except ValueError:
        pass
    else:
        return ok(f"{server}: an address, no name to look up")
    return ok(f"{server}: {', '.join(_addresses(server))}")


def _addresses(server: Server) -> list[str]:
    check_zone(server.host)
    found = socket.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(one[4][0]) for one in found))


def connections(examination: Examination) -> Iterator[Finding]:
    """Does anything listen there?"""
    return _each(examination, _connection, "check cable, routes and firewalls")


def _connected(server: Server) -> socket.socket:
    # Each address gets a share of the time, so that a silent one does not hide the next.
    patience_s = PATIENCE_S / len(_addresses(server))
    return socket.create_connection((server.host, server.port), patience_s)


def _connection(server: Server) -> Finding:
    with _connected(server) as connection:
        ours, theirs = connection.getsockname()[0], connection.getpeername()[0]
    return ok(f"{server}: connected to {theirs}", f"from {ours}")


def handshakes(examination: Examination) -> Iterator[Finding]:
    """Does it speak TLS, with a certificate that our trust anchors accept?"""
    talking = [
        one for one in examination.board.sessions.list() if one.role == "client" and _talks(one)
    ]
    for one in talking:
        text = f"{one.address}: {one.id} is connected to it ({one.protocol_version})"
        yield ok(text, f"{one.handshakes} handshakes, cipher {one.cipher}")
    if talking and not _servers(examination):
        return
    yield from _each(
        examination,
        partial(_handshake, examination),
        "something listens there, but does not speak TLS",
    )


def _handshake(examination: Examination, server: Server) -> Finding:
    from tpmconsole.session.tls.context import bare_context
    from tpmconsole.session.tls.refused import with_certificate

    anchors = _anchors(examination, server)
    if not anchors:
        return warn(
            f"{server}: not checked, since no identity has trust anchors",
            NextStep(Action.ADD_TRUST, text="add the CA of its peers: {}"),
        )
    context = bare_context(server=False, min_tls=None, max_tls=None)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata=anchors)
    with (
        _connected(server) as connection,
        context.wrap_socket(
            connection, server_hostname=without_zone(server.host), do_handshake_on_connect=False
        ) as tls,
    ):
        try:
            tls.do_handshake()
        except ssl.SSLCertVerificationError as error:
            raise with_certificate(error, context) from None
        except ssl.SSLError as error:
            # The alert comes after its certificate was accepted: up to TLS 1.2 the same flight
            # asks for our certificate, and we do not send one here.
            if "_ALERT_" not in (error.reason or ""):
                raise
            return ok(f"{server}: trusted; it wants our certificate, as it should", str(error))
        return ok(f"{server}: {tls.version()}, trusted", *_peer_facts(tls))


def _peer_facts(tls: ssl.SSLSocket) -> list[str]:
    from tpmconsole.x509.judge import describe, read_bundle

    cipher = tls.cipher()
    facts = [f"cipher {cipher[0]}"] if cipher else []
    der = tls.getpeercert(binary_form=True)
    if der:
        try:
            one = describe(read_bundle(der)[0])
        except ConsoleError as error:  # OpenSSL reads more than we do
            return [*facts, str(error)]
        facts += [f"{one.subject}, by {one.issuer}", f"until {one.not_after:%Y-%m-%d}"]
    return facts


def _anchors(examination: Examination, server: Server) -> str:
    from tpmconsole.inputs import CERTIFICATE_BYTES

    identities: list[Identity] = [
        one
        for one in examination.board.identities.all()
        if one.has_trust and server.identity in (None, one.name)
    ]
    texts = [read_bounded(one.trust, CERTIFICATE_BYTES) for one in identities]
    return b"\n".join(texts).decode("ascii", "replace")


def together(
    jobs: Sequence[Callable[[], _Result]], deadline_s: float
) -> list[_Result | Exception | None]:
    """Run several jobs at once.

    Returns:
        What each returned or raised, in the order of ``jobs``; None if it did not end in time.
    """
    done: SimpleQueue[tuple[int, _Result | Exception]] = SimpleQueue()

    def run(number: int) -> None:
        try:
            done.put((number, jobs[number]()))
        except Exception as error:  # noqa: BLE001 - handed over to the caller
            done.put((number, error))

    for number in range(len(jobs)):
        threading.Thread(target=run, args=(number,), daemon=True).start()
    results: list[_Result | Exception | None] = [None] * len(jobs)
    until = time.monotonic() + deadline_s
    for _ in jobs:
        try:
            number, result = done.get(timeout=max(0.0, until - time.monotonic()))
        except Empty:
            break
        results[number] = result
    return results
