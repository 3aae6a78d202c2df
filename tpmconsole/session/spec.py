"""What a session is asked to do, and with which credentials: plain immutable data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from tpmconsole.errors import ConsoleError, usage_error
from tpmconsole.inputs import address_text
from tpmconsole.tpm.model import KeyRef

ROLES = ("client", "server")
PROTOCOLS = ("tls", "line", "https")
ENGINES = ("auto", "provider", "bridge")
TLS_VERSIONS = ("1.2", "1.3")
LONGEST_HOST = 253  # RFC 1035, 2.3.4, without the final dot
LONGEST_PATH = 1024
LONGEST_INTERVAL_S = 86_400.0


@dataclass(frozen=True, slots=True)
class SessionSpec:
    """What to do.

    Attributes:
        role: ``client`` or ``server``.
        identity: the name of the identity whose key and certificate are used.
        host: the host to connect to, or the address to listen on.
        port: 1 to 65535; a server may also use 0 to get a free one.
        protocol: what a client sends inside TLS: nothing (``tls``), ``line`` or ``https``.
        interval_s: seconds between a client's messages.
        count: how many messages a client sends before it ends; None for no end.
        engine: ``auto``, ``provider`` or ``bridge``.
        path: what an ``https`` client fetches.
        min_tls: ``1.2`` or ``1.3``; None for 1.2.
        max_tls: ``1.2`` or ``1.3``; None for 1.3.
        retries: how often in a row a client tries again before it gives up; None for the default:
            without end, or a few times with a count.
        last_try: send the key's password even if a wrong one would lock the TPM.
        crl: full path of a file with lists of revoked certificates; None for no lists.
    """

    role: str
    identity: str
    host: str
    port: int
    protocol: str = "line"
    interval_s: float = 1.0
    count: int | None = None
    engine: str = "auto"
    path: str = "/"
    min_tls: str | None = None
    max_tls: str | None = None
    retries: int | None = None
    last_try: bool = False
    crl: str | None = None

    @property
    def address(self) -> str:
        """``HOST:PORT``, an IPv6 address in brackets."""
        return address_text(self.host, self.port)

    @property
    def signs_late(self) -> bool:
        """Whether a server may ask for the certificate after the handshake, for a single path."""
        return self.role == "client" and self.protocol == "https"

    def check(self) -> None:
        """Refuse values that cannot be right on any board and any network.

        Raises:
            ConsoleError: names the wrong value, and what it may be.
        """
        _one_of("role", self.role, ROLES)
        _one_of("protocol", self.protocol, PROTOCOLS)
        _one_of("engine", self.engine, ENGINES)
        for version in (self.min_tls, self.max_tls):
            if version is not None:
                _one_of("TLS version", version, TLS_VERSIONS)
        if (self.min_tls or "1.2") > (self.max_tls or "1.3"):
            raise _wrong("the lowest TLS version is above the highest", "swap them")
        self._check_address()
        if not (0 <= self.interval_s <= LONGEST_INTERVAL_S and math.isfinite(self.interval_s)):
            raise _wrong(f"an interval of {self.interval_s} seconds", "give 0 to 86400 seconds")
        if self.count is not None and self.count < 1:
            raise _wrong(f"a count of {self.count}", "give 1 or more, or leave it out")
        if self.retries is not None and self.retries < 0:
            raise _wrong(f"{self.retries} retries", "give 0 or more, or leave it out")
        if not self.path.startswith("/") or len(self.path) > LONGEST_PATH or _odd(self.path):
            raise _wrong(
                "the path cannot be part of a request",
                f"give one that starts with /, without spaces, of at most {LONGEST_PATH} letters",
            )

    def _check_address(self) -> None:
        lowest = 0 if self.role == "server" else 1
        if not lowest <= self.port <= 65535:
            raise _wrong(f"{self.port} is not a port", f"give a port from {lowest} to 65535")
        if not self.host or len(self.host) > LONGEST_HOST or _odd(self.host):
            raise _wrong(
                f"'{self.host[:40]}' is not a host name or address",
                "give a name such as broker.local or an address such as 192.0.2.7",
            )


def _odd(text: str) -> bool:
    return not text.isprintable() or not text.isascii() or " " in text


def _one_of(what: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise _wrong(f"unknown {what} '{value}'", f"use one of {', '.join(known)}")


def _wrong(cause: str, remedy: str) -> ConsoleError:
    return usage_error("Session not started", cause, remedy)


@dataclass(frozen=True, slots=True)
class Credentials:
    """The credentials of a session, and the CAs that it trusts.

    Attributes:
        identity: the identity's name.
        key: its TSS2 key file's content, or its persistent handle.
        certificate: PEM file: the certificate, then its intermediates.
        trust: PEM file: the trust anchors that the peer's certificate is checked against.
    """

    identity: str
    key: KeyRef
    certificate: Path
    trust: Path


@dataclass(frozen=True, slots=True)
class PasswordFiles:
    """Files of root whose first line is a password; a unit's session gets them from systemd.

    Attributes:
        key: the key's password.
        owner: the owner hierarchy's.
        parent: the password of the key's persistent parent.
    """

    key: Path | None = None
    owner: Path | None = None
    parent: Path | None = None
