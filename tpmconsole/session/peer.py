"""The process of a session: ``python -m tpmconsole.session.peer FOLDER``.

It reads the key's password from its standard input once, does what the folder's session.json says,
and writes facts and events there until it is told to end (SIGTERM) or has done what it was to do.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import ssl
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tpmconsole.errors import ConsoleError, ExitCode, no_tpm
from tpmconsole.memory import leave_no_core
from tpmconsole.session.causes import Peer, explain
from tpmconsole.session.children import start_time
from tpmconsole.session.engine import BRIDGE, PROVIDER
from tpmconsole.session.folder import KEY_FILE, Order, read_order
from tpmconsole.session.live import Live
from tpmconsole.session.model import SessionFacts
from tpmconsole.session.signing import SigningThread

if TYPE_CHECKING:
    from tpmconsole.session.tls import Engine
    from tpmconsole.tpm.signer import Signer

LOG = logging.getLogger(__name__)

PASSWORD_BYTES = 4096
PREFLIGHT_S = 18.0
# A signature takes a slow chip a second or two; after this long the TPM hangs.
HANGS_S = 15.0
KEEP_EVERY_S = 1.0
LOG_BYTES = 1024 * 1024
# At the end: a thread that has waited for the TPM for so long will not flush a key in time.
BUSY_S = 0.5
CLOSE_S = 1.0


class Session:
    """A session from its order to its end.

    Args:
        folder: the session's.
        order: what to do.
        facts: what it begins with.
        password: the key's.
    """

    def __init__(
        self, folder: Path, order: Order, facts: SessionFacts, password: bytes | None
    ) -> None:
        self._folder = folder
        self._order = order
        self._password = password
        self._thread = SigningThread()
        self._signer: Signer | None = None
        self._hangs = False
        self.live = Live(folder, order, facts)

    async def run(self) -> ExitCode:
        """Do the work until it is done, fails, or SIGTERM or SIGINT come."""
        loop = asyncio.get_running_loop()
        work = loop.create_task(self._work())
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, work.cancel)
        keeper = loop.create_task(self._keep())
        try:
            await work
            why = "its count is reached"
        except asyncio.CancelledError:
            why = "it was told to"
        except ConsoleError as error:
            self.live.fail(error)
            return ExitCode.NO
        except Exception as error:
            LOG.exception("the session ends")
            self.live.fail(explain(error, Peer("the", "peer")))
            return ExitCode.UNEXPECTED
        finally:
            keeper.cancel()
            await self._close_key()
        self.live.stop(why)
        return ExitCode.YES

    async def _work(self) -> None:
        # Imported here, so that a signal that comes meanwhile finds its handler.
        from tpmconsole.session.client import Client
        from tpmconsole.session.running import Running
        from tpmconsole.session.server import Server
        from tpmconsole.session.tls import make_context

        spec, chosen = self._order.spec, self._order.engine
        server = spec.role == "server"
        engine = await self._preflight()
        context = await self._thread.run(
            lambda: make_context(
                server=server,
                engine=engine,
                trust=self._order.credentials.trust,
                min_tls=spec.min_tls,
                max_tls=spec.max_tls,
            )
        )
        running = Running(
            spec=spec,
            context=context,
            engine=engine,
            engine_name=chosen.name,
            module_version=chosen.module_version,
            thread=self._thread,
            live=self.live,
        )
        self.live.event("started", engine=chosen.name, why=chosen.why, pid=os.getpid())
        await (Server(running) if server else Client(running)).run()

    async def _preflight(self) -> Engine:
        try:
            async with asyncio.timeout(PREFLIGHT_S):
                return await self._thread.run(self._prove)
        except TimeoutError as error:
            raise no_tpm(
                f"the TPM did not answer within {PREFLIGHT_S:.0f} seconds ({self._tcti})",
                "check the TPM (tpmconsole status), then start the session again",
            ) from error

    def _prove(self) -> Engine:
        from tpmconsole.session.bridge import Bridge
        from tpmconsole.session.preflight import prove_handshake, prove_key, read_chain
        from tpmconsole.session.tls import BridgeEngine, ProviderEngine
        from tpmconsole.tpm.signer import Signer

        order, bridged = self._order, self._order.engine.name == BRIDGE
        chain_file = order.credentials.certificate
        chain = read_chain(chain_file)
        self._signer = Signer(self._tcti, order.credentials.key, self._password)
        public_key = prove_key(self._signer, chain[0], raw=bridged)
        engine: Engine
        if bridged:
            bridge = Bridge(public_key, self._signer.sign, self._signer.raw_rsa)
            engine = BridgeEngine(bridge, chain_file)
        else:
            # The provider loads the key itself, and some TPMs have room for few.
            self._signer.close()
            self._signer = None
            engine = ProviderEngine(self._folder / KEY_FILE, chain_file, self._password)
        prove_handshake(order.spec, engine, chain)
        return engine

    @property
    def _tcti(self) -> str:
        return self._order.connection.tcti

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(KEEP_EVERY_S)
            self._watch_tpm()
            self.live.keep()
            _bound_log()

    def _watch_tpm(self) -> None:
        hangs = self._thread.busy_s > HANGS_S
        if hangs and not self._hangs:
            self.live.trouble(
                no_tpm(
                    f"it has not answered for {HANGS_S:.0f} seconds; connections that are open "
                    "go on, new ones wait for it",
                    "check the TPM (tpmconsole status); the session goes on when it answers",
                )
            )
        self._hangs = hangs

    async def _close_key(self) -> None:
        signer, self._signer = self._signer, None
        if signer is not None and self._thread.busy_s < BUSY_S:
            with contextlib.suppress(TimeoutError, ConsoleError):
                async with asyncio.timeout(CLOSE_S):
                    await self._thread.run(signer.close)


def _bound_log() -> None:
    # The TSS writes to standard error, which is the log, as long as a session lasts.
    if os.fstat(2).st_size > LOG_BYTES:
        os.ftruncate(2, 0)


def _read_password() -> bytes | None:
    with os.fdopen(0, "rb", closefd=False) as pipe:
        password = pipe.read(PASSWORD_BYTES)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return password or None


def _settle_openssl(engine: str) -> None:
    """Have OpenSSL read its configuration now, and nobody else after it.

    Raises:
        ConsoleError: the provider does not start.
    """
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    except ssl.SSLError as error:
        if engine != PROVIDER:
            raise
        raise ConsoleError(
            "Provider does not start",
            "OpenSSL's tpm2 provider could not be loaded with the session's configuration",
            "look into the session's log, or use --engine bridge",
        ) from error
    finally:
        # cryptography carries an OpenSSL of its own, which must not load the provider too.
        os.environ.pop("OPENSSL_CONF", None)


async def _run(session: Session) -> None:
    code = await session.run()
    logging.shutdown()
    # Not by way of the interpreter's end: a thread may wait for the TPM or a name server for ever,
    # and OpenSSL and the TSS may have their own opinion on the order of things.
    os._exit(code)


def main(arguments: list[str]) -> int:
    """Run the session that a folder describes.

    Args:
        arguments: the folder.

    Returns:
        The process's exit code, where the session could not begin; else it ends by itself.
    """
    leave_no_core()
    password = _read_password()
    folder = Path(arguments[0])
    os.chdir("/")
    os.umask(0o077)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    order, facts = read_order(folder)
    facts = replace(facts, pid=os.getpid(), start_time=start_time(os.getpid()))
    session = Session(folder, order, facts, password)
    session.live.keep(durable=True)
    try:
        _settle_openssl(order.engine.name)
    except ConsoleError as error:
        session.live.fail(error)
        return ExitCode.NO
    asyncio.run(_run(session))
    return ExitCode.YES


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
