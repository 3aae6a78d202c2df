"""A session in this process, with a software key: quick to bring into any trouble."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from cryptography import x509

from support.pki import Ca, SoftwareIdentity
from support.world import LOCAL
from tpmconsole.session.events import read_events
from tpmconsole.session.process.prepare import Ready
from tpmconsole.session.process.recorder import Recorder
from tpmconsole.session.process.running import Running
from tpmconsole.session.process.server import Server
from tpmconsole.session.process.signing_thread import SigningThread
from tpmconsole.session.spec import SessionSpec
from tpmconsole.session.status import SessionStatus, State
from tpmconsole.session.tls.context import Engine, make_context
from tpmconsole.session.tls.crl import RevocationLists
from tpmconsole.session.tls.engine import EngineChoice

Opened = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class SoftwareEngine:
    """A key in a file, in the place of one in the TPM."""

    def __init__(self, identity: SoftwareIdentity) -> None:
        self._identity = identity

    def install(self, context: ssl.SSLContext) -> None:
        context.load_cert_chain(self._identity.certificate, self._identity.key)

    def take_failure(self) -> BaseException | None:
        return None

    def cause_of(self, _: ssl.SSLError) -> BaseException | None:
        return None


class Setting:
    """A session without a process, and the identities around it."""

    def __init__(self, folder: Path) -> None:
        self.ca = Ca.make("root")
        self.folder = folder
        self.ours = SoftwareIdentity.make(folder / "ours", self.ca, "ours")
        self.peer = SoftwareIdentity.make(folder / "peer", self.ca, "peer")

    def running(
        self,
        role: str,
        port: int = 0,
        *,
        host: str = LOCAL,
        crl: Path | None = None,
        engine: Engine | None = None,
        **options: Any,
    ) -> Running:
        spec = SessionSpec(role, "ours", host, port, **options)
        facts = SessionStatus(f"{role}-1", role, "ours", spec.address)
        engine = engine or SoftwareEngine(self.ours)
        context = make_context(
            server=role == "server",
            engine=engine,
            trust=self.ours.trust,
            crl=None if crl is None else RevocationLists.read(crl),
            min_tls=spec.min_tls,
            max_tls=spec.max_tls,
            signs_late=spec.signs_late,
        )
        live = Recorder(self.folder, "boot", facts)
        chain = x509.load_pem_x509_certificates(self.ours.certificate.read_bytes())
        ready = Ready(context, engine, EngineChoice("bridge", "test"), tuple(chain))
        return Running(spec, ready, SigningThread(), live)

    def errors(self) -> list[dict[str, Any]]:
        return [event for event in read_events(self.folder) if event["event"] == "error"]

    def reasons_for_closing(self) -> list[str]:
        return [one["why"] for one in read_events(self.folder) if one["event"] == "closed"]

    async def connect(self, live: Recorder) -> Opened:
        return await asyncio.open_connection(
            LOCAL, int(live.facts.address.rpartition(":")[2]), ssl=self.peer.context(server=False)
        )


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        # What is waited for is a fact or a file; nobody tells of its changes.
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.002)


@asynccontextmanager
async def serving(running: Running, **limits: Any) -> AsyncIterator[Recorder]:
    task = asyncio.create_task(Server(running, **limits).run())
    await until(lambda: running.live.facts.state == State.RUNNING)
    try:
        yield running.live
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
