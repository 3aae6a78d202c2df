"""A session from start to end, inside its own process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from tpmconsole.errors import Action, ConsoleError, ExitCode, NextStep, no_tpm
from tpmconsole.session.directory import LOG_FILE, SessionConfig
from tpmconsole.session.events import now
from tpmconsole.session.process.recorder import Recorder
from tpmconsole.session.process.signing_thread import SigningThread
from tpmconsole.session.revocation import crl_ended
from tpmconsole.session.status import SessionStatus
from tpmconsole.session.tls.errors import explain
from tpmconsole.session.tls.peer import Peer
from tpmconsole.system.rates import bound_log
from tpmconsole.tpm.auth import Auth

if TYPE_CHECKING:
    from tpmconsole.session.process.prepare import Preparation, Ready
    from tpmconsole.session.process.running import Running
    from tpmconsole.tpm.signer import Signer

LOG = logging.getLogger(__name__)

PREFLIGHT_S = 18.0
# A signature takes a slow chip a second or two; after this time the TPM is considered to hang.
HANGS_S = 5.0
KEEP_EVERY_S = 1.0
LOG_BYTES = 1024 * 1024
CLOSE_S = 2.0


class Session:
    """A session from start to end.

    Args:
        told: the folder of its key file.
        state: the folder for its status and events.
        order: its configuration.
        facts: its first status.
        auth: the passwords that the key needs.
    """

    def __init__(
        self, told: Path, state: Path, order: SessionConfig, facts: SessionStatus, auth: Auth
    ) -> None:
        self._told = told
        self._state = state
        self._order = order
        self._auth = auth
        self._thread = SigningThread()
        self._preparation: Preparation | None = None
        self._running: Running | None = None
        self._hangs = False
        self._crl_ended = False
        self._reload: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.live = Recorder(state, order.boot, facts, order.memory)

    async def run(self) -> ExitCode:
        """Run until the work is done, fails, or SIGTERM or SIGINT arrives."""
        self._loop = loop = asyncio.get_running_loop()
        work = loop.create_task(self._work())
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, work.cancel)
        loop.add_signal_handler(signal.SIGHUP, self._begin_reload)
        keeper = loop.create_task(self._keep())
        try:
            await work
            why = "its count is reached"
        except asyncio.CancelledError:
            why = "it was told to"
        except ConsoleError as error:
            self.live.fail(error)
            return _exit_code(error)
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
        ready = await self._preflight()
        # Imported here, so that the signal handlers are set before the imports take time.
        from tpmconsole.session.process.client import Client
        from tpmconsole.session.process.running import Running
        from tpmconsole.session.process.server import Server

        spec = self._order.spec
        self._running = Running(spec, ready, self._thread, self.live)
        self._take(ready)
        choice = ready.choice
        self.live.event("started", engine=choice.name, why=choice.why, pid=os.getpid())
        await (Server if spec.role == "server" else Client)(self._running).run()

    async def _preflight(self) -> Ready:
        # The key's process starts while this one imports what it needs.
        opening = asyncio.ensure_future(self._thread.run(self._open_signer))
        from tpmconsole.session.process.prepare import Preparation

        self._preparation = preparation = Preparation(
            self._told, self._order, self._auth.key, self._open_signer, self._examine
        )
        try:
            async with asyncio.timeout(PREFLIGHT_S):
                preparation.signer = await opening
                return await self._thread.run(preparation.make)
        except TimeoutError as error:
            raise no_tpm(
                f"the TPM did not answer within {PREFLIGHT_S:.0f} seconds "
                f"({self._order.connection.tcti})",
                NextStep(
                    Action.SHOW_STATUS, text="check the TPM ({}), then start the session again"
                ),
            ) from error

    def _open_signer(self) -> Signer:
        from tpmconsole.tpm.signer import Signer
        from tpmconsole.tpm.tcti import still_there

        return Signer(
            lambda: still_there(self._order.connection),
            self._order.credentials.key,
            self._auth,
            log=self._state / LOG_FILE,
        )

    def _take(self, ready: Ready) -> None:
        assert self._running is not None  # noqa: S101 - it is running
        self._running.ready = ready
        choice = ready.choice
        self.live.change(engine=choice.name, why_engine=choice.why, crl=ready.crl)
        self._crl_ended = False
        self._tell_signer()

    def _tell_signer(self) -> None:
        signer = self._preparation.signer if self._preparation is not None else None
        self.live.change(signer_pid=signer.pid if signer is not None else None)

    # A certificate that has changed, and a key that the provider has lost

    def _begin_reload(self) -> None:
        if self._running is not None and (self._reload is None or self._reload.done()):
            self._reload = asyncio.get_running_loop().create_task(self._take_new_files())

    async def _take_new_files(self) -> None:
        """Use the files' present content for new connections; if it is bad, change nothing."""
        assert self._preparation is not None  # noqa: S101 - it is running
        try:
            ready = await self._thread.run(self._preparation.make)
        except ConsoleError as error:
            kept = ConsoleError(
                error.title,
                f"{error.cause}; the session keeps using the previous files",
                error.remedy + ", then reload the session again",
                error.exit_code,
            )
            self.live.trouble(kept, reload=False)
            return
        self._take(ready)
        self.live.keep(at_once=True)  # before the event: its reader reads the status next
        self.live.event(
            "reloaded",
            subject=ready.leaf.subject.rfc4514_string(),
            not_after=ready.leaf.not_valid_after_utc.isoformat(),
        )

    def _examine(self) -> BaseException | None:
        """Find out why the provider no longer signs, and another way to sign; in the thread."""
        assert self._preparation is not None  # noqa: S101 - it is running
        assert self._running is not None  # noqa: S101
        assert self._loop is not None  # noqa: S101
        if self._preparation.still_signs(self._running.ready):
            return None
        from tpmconsole.session.tls.context import EngineFailedError

        try:
            ready = self._preparation.make()
        except EngineFailedError:
            return ConsoleError(
                "Provider lost the TPM",
                "the TPM answers, but OpenSSL's tpm2 provider does not reconnect to it",
                NextStep(Action.RESTART, text="start the session again ({}), best with any engine"),
                ExitCode.NO_TPM,
            )
        except ConsoleError as trouble:
            return trouble
        asyncio.run_coroutine_threadsafe(self._changed(ready), self._loop)
        return ConsoleError(
            "Provider lost the key",
            f"new connections are signed again, by the {ready.choice.name}",
            "nothing to do: the session has recovered",
        )

    async def _changed(self, ready: Ready) -> None:
        self._take(ready)
        self.live.keep(at_once=True)
        self.live.event("engine", engine=ready.choice.name, why=ready.choice.why)

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(KEEP_EVERY_S)
            self._watch_tpm()
            self._watch_crl()
            self._tell_signer()
            self.live.keep()
            bound_log(2, LOG_BYTES)  # the TSS writes to it for as long as the session runs

    def _watch_tpm(self) -> None:
        hangs = self._thread.busy_s > HANGS_S
        if hangs and not self._hangs:
            self.live.trouble(
                no_tpm(
                    f"it has not answered for {HANGS_S:.0f} seconds; open connections keep "
                    "working, new ones wait for it",
                    NextStep(
                        Action.SHOW_STATUS,
                        text="check the TPM ({}); the session continues when it answers",
                    ),
                )
            )
        elif self._hangs and not hangs and self.live.facts.waiting_for == "tpm":
            self.live.change(waiting_for=None)  # it has answered
        self._hangs = hangs

    def _watch_crl(self) -> None:
        crl = self.live.facts.crl
        if crl is None or self._crl_ended or now() < crl.next_update:
            return
        self._crl_ended = True
        self.live.trouble(crl_ended(crl, self.live.facts))

    async def _close_key(self) -> None:
        if self._preparation is not None:
            # Not in the signing thread, which may wait for the TPM.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_S):
                    await asyncio.to_thread(self._preparation.close)


def _exit_code(error: ConsoleError) -> ExitCode:
    """The exit code of the process: REFUSED if a user must first give another password.

    If the last attempt was not sent (``consent``), no attempt was used up, and used ones are
    restored with time: such a session may be restarted automatically, as after any other failure.
    """
    return ExitCode.NO if error.needs in (None, "consent") else ExitCode.REFUSED
