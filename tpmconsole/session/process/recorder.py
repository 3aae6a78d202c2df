"""Keep a session's status and events up to date in its folder without wearing out the disk."""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tpmconsole.errors import ConsoleError, ExitCode
from tpmconsole.session.directory import write_facts
from tpmconsole.session.events import EventLog, now, plain
from tpmconsole.session.memory_folder import clear_memory_folder
from tpmconsole.session.status import (
    FILE,
    HandshakeTimes,
    LastError,
    PeerInfo,
    SessionStatus,
    State,
)
from tpmconsole.session.tls.group import negotiated_group

if TYPE_CHECKING:
    from tpmconsole.session.process.tls_stream import TlsStream

LOG = logging.getLogger(__name__)
TIMES_KEPT = 256
# How often the status goes to the disk: if it is also kept in memory, and if it is not.
DISK_EVERY_S = 600.0
DISK_ALONE_EVERY_S = 120.0


class Recorder:
    """Records a session's status and events; used from one thread.

    Args:
        folder: the session's state folder.
        boot: the kernel's id of this boot.
        facts: its first status.
        memory: its folder in memory; None for none.
    """

    def __init__(
        self, folder: Path, boot: str, facts: SessionStatus, memory: Path | None = None
    ) -> None:
        self._folder = folder
        self._memory = memory
        self._boot = boot
        self._events = EventLog(folder, memory)
        self._kept_at = -math.inf
        self._times: deque[float] = deque(maxlen=TIMES_KEPT)
        self._written = facts
        self.facts = facts

    def change(self, **facts: Any) -> None:
        """Change fields of the status; the next ``keep`` writes them."""
        self.facts = replace(self.facts, **facts)

    def add(self, **amounts: int) -> None:
        """Add to counters of the status."""
        self.change(**{name: getattr(self.facts, name) + more for name, more in amounts.items()})

    def enter(self, state: State) -> None:
        """Enter a new state and write it at once; an end state is made to survive a power cut."""
        if self.facts.state != state:
            self.change(state=state, since=now())
        self.keep(durable=state.ended, at_once=True)

    def fail(self, error: ConsoleError) -> None:
        """End with an error."""
        self.trouble(error, final=True)
        self.change(connections=0, waiting_for=None, retry_at=None)
        self.enter(State.FAILED)

    def stop(self, why: str) -> None:
        """End without an error."""
        # The event first: a reader of the events stops when the state says that it has ended.
        self.event("stopped", why=why)
        self.change(connections=0, waiting_for=None, retry_at=None)
        self.enter(State.STOPPED)

    def keep(self, *, durable: bool = False, at_once: bool = False) -> None:
        """Write the status if it has changed; a full disk does not end the session.

        It goes to memory each time, and to the disk only now and then.

        Args:
            durable: it must survive a power cut.
            at_once: another program waits for it.
        """
        if self.facts == self._written and not durable:
            return
        if self.facts.state.ended:
            # The disk first: a reader that finds no file in memory then finds the end there.
            self._write_to_disk(durable=True)
            clear_memory_folder(self._memory, self._folder)
            self._memory = None
            return
        in_memory = self._write_to_memory()
        if in_memory:
            self._written = self.facts
        due = self._kept_at + (DISK_EVERY_S if in_memory else DISK_ALONE_EVERY_S)
        if durable or (at_once and not in_memory) or time.monotonic() >= due:
            self._write_to_disk(durable=durable)

    def _write_to_disk(self, *, durable: bool) -> None:
        try:
            write_facts(self._folder, self._boot, self.facts, durable=durable)
        except ConsoleError as error:
            LOG.warning("status not written: %s", error)
            return
        self._written = self.facts
        self._kept_at = time.monotonic()

    def _write_to_memory(self) -> bool:
        if self._memory is None:
            return False
        try:
            write_facts(self._memory, self._boot, self.facts)
        except ConsoleError:
            # No space, or no folder: an old file there must not be read as the newest.
            with suppress(OSError):
                (self._memory / FILE).unlink()
            return False
        return True

    def event(self, event: str, **facts: Any) -> None:
        """Append an event."""
        self._events.write(event, **facts)

    def trouble(self, error: ConsoleError, **facts: Any) -> None:
        """Record an error, as an event and as the last error of the status."""
        LOG.warning("%s (try: %s)", error, error.remedy)
        self.change(last_error=LastError.of(error, now()))
        if error.exit_code == ExitCode.NO_TPM:
            self.change(waiting_for="tpm")
        if "final" in facts or "retry_in_s" in facts:
            self.keep(at_once=True)  # before the event: its reader reads the status next
        self.event("error", **error.to_json(), **facts)

    def handshake(self, stream: TlsStream, peer: PeerInfo, **facts: Any) -> None:
        """Record a handshake."""
        self._times.append(stream.handshake_ms)
        cipher = stream.tls.cipher()
        self.change(
            protocol_version=stream.tls.version(),
            cipher=cipher[0] if cipher else None,
            group=negotiated_group(stream.tls),
            resumed=stream.tls.session_reused,
            peer=peer,
            handshakes=self.facts.handshakes + 1,
            waiting_for=None,
            retry_at=None,
            handshake_ms=HandshakeTimes.of(tuple(self._times)),
        )
        # Before the event: the console that waits for it reads the status next.
        if self.facts.handshakes == 1:
            self.enter(State.RUNNING)
        self.event(
            "handshake",
            protocol_version=self.facts.protocol_version,
            cipher=self.facts.cipher,
            group=self.facts.group,
            peer={"subject": peer.subject, "issuer": peer.issuer}
            | {"not_after": peer.not_after, "fingerprint": peer.fingerprint},
            ms=self.facts.handshake_ms.last,
            resumed=self.facts.resumed,
            **facts,
        )


def peer_facts(stream: TlsStream) -> PeerInfo:
    """Return what the certificate of a connection's peer says."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    encoded = stream.tls.getpeercert(binary_form=True)
    if not encoded:
        raise ValueError("the peer has no certificate")
    certificate = x509.load_der_x509_certificate(encoded)
    return PeerInfo(
        subject=plain(certificate.subject.rfc4514_string()),
        issuer=plain(certificate.issuer.rfc4514_string()),
        not_after=certificate.not_valid_after_utc.isoformat(),
        fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
    )
