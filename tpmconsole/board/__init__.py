"""Use cases: one function for each action of a user, shared by commands and screens.

**Why front ends only call functions here.** Each action then exists once, with one audit record and
one list of what would be lost, and a screen cannot do what a command cannot. ``Board`` holds what
every use case works on: the settings, the TPM, the identities, the sessions, the simulator and the
audit record. The functions are in this package's modules, with the board as their first argument.

**Why the libraries meet here.** They do not know about each other: ``identity`` gets a private-key
object, ``session`` a folder and a key, and ``tpm`` neither.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from tpmconsole import clock
from tpmconsole.board import audit, storage_names
from tpmconsole.errors import ConsoleError
from tpmconsole.inputs import parse_json
from tpmconsole.settings import Settings
from tpmconsole.system.files import make_private_folder, read_bounded, write_atomic
from tpmconsole.tpm.client import Tpm
from tpmconsole.tpm.model import Connection, KeyRef, SelfTest, SelfTestResult, TpmHealth

# A user who quits does not wait for a simulator that hangs: each part gets this long.
LEAVE_S = 0.4

if TYPE_CHECKING:  # cryptography and psutil load when first used: the first paint is waiting
    from tpmconsole.board.pins import Watch
    from tpmconsole.identity.attestation import Attestation
    from tpmconsole.identity.store import Identity, IdentityStore
    from tpmconsole.identity.summary import Summary
    from tpmconsole.session.manager import SessionManager
    from tpmconsole.system.locks import FileLock
    from tpmconsole.tpm.simulator import Simulator

log = logging.getLogger(__name__)

NOTE_BYTES = 4096


class Board:
    """What the commands and the screens work on.

    Args:
        settings: this run's settings; the state directory is made when something is first stored.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.tpm = Tpm(self.connect, settings.log, learned=self._learned)
        self._lease: FileLock | None = None
        # When the TPM was last asked which handles are in use, and which are.
        self._handles: tuple[float, frozenset[str]] | None = None
        # What this TPM has opened, by what the sealed file was; and by the fingerprint of the
        # certificate in it, what that proved.
        self.opened: dict[bytes, tuple[bytes, Attestation]] = {}
        self.attested: dict[str, Attestation] = {}

    @cached_property
    def identities(self) -> IdentityStore:
        from tpmconsole.identity.store import IdentityStore

        return IdentityStore(self.settings.identities)

    @cached_property
    def _watch(self) -> Watch:
        from tpmconsole.board.pins import Watch

        return Watch()

    @cached_property
    def sessions(self) -> SessionManager:
        from tpmconsole.session.manager import SessionManager

        return SessionManager(self.settings.sessions, self.settings.log)

    @cached_property
    def simulator(self) -> Simulator:
        from tpmconsole.tpm.simulator import Simulator

        return Simulator(self.settings.simulator)

    # The TPM

    def connect(self) -> Connection:
        from tpmconsole.tpm.tcti import choose

        connection = choose(self.settings)
        if self.settings.simulate and self._lease is None:
            self._lease = self.simulator.lease()
            # The process that had the lease before may have ended and stopped the simulator.
            connection = choose(self.settings)
        if self.settings.simulate:  # its state may be thrown away at any time
            return connection
        return storage_names.with_name(self.settings.state, connection)

    def _learned(self, connection: Connection) -> None:
        """Store the TPM's storage key, which was seen for the first time."""
        if not self.settings.simulate:
            storage_names.remember(self.settings.state, connection)

    def use_simulator(self) -> None:
        """Use the simulated TPM from now on, whatever the settings said."""
        self.settings = replace(self.settings, simulate=True)

    def close(self, *, leave: bool = False) -> None:
        """End the TPM worker.

        Args:
            leave: also stop the simulator if no session and no other process needs it.
        """
        self.tpm.close()
        if self._lease is None:
            return
        lease, self._lease = self._lease, None
        with lease:
            if not leave or self.sessions.any_running():
                return
            if lease.try_take():  # otherwise another console or command is using it
                self.simulator.stop(LEAVE_S)

    def status(self, *, brief: bool = False) -> TpmHealth:
        """Ask the TPM for its state.

        Args:
            brief: leave out the PCRs, for frequent calls.

        Raises:
            ConsoleError: no TPM could be reached.
        """
        asked = time.time()
        return self._noted(asked, self.tpm.health(brief=brief))

    def _noted(self, asked: float, health: TpmHealth) -> TpmHealth:
        """Remember which handles are in use; add the kind and time of the last self-test.

        Args:
            asked: when the TPM was asked.
        """
        if health.persistent_handles is not None:
            self._handles = (asked, frozenset(health.persistent_handles))
        return replace(health, self_test=self._remembered(health))

    def self_test(self, *, full: bool) -> tuple[SelfTest, TpmHealth]:
        """Let the TPM test itself, and store the kind and time for the next ``status``.

        Returns:
            the result, and what ``status(brief=True)`` would say after the test.

        Raises:
            ConsoleError: no TPM could be reached.
        """
        asked = time.time()
        result, health = self.tpm.self_test(full=full)
        if health.clock is not None:
            note = asdict(result) | {"reset_count": health.clock.reset_count}
            try:
                make_private_folder(self.settings.state)
                write_atomic(self._self_test_file, json.dumps(note).encode())
            except ConsoleError as error:  # the result matters more than storing it
                log.warning("self-test not remembered: %s", error)
        return result, self._noted(asked, health)

    @property
    def _self_test_file(self) -> Path:
        return self.settings.state / "selftest.json"

    def _remembered(self, health: TpmHealth) -> SelfTest:
        """The TPM's own answer, with the kind and time of our last test if they still apply.

        The TPM forgets its tests at a reset; a reset count that differs says that there was one.
        """
        now = health.self_test
        try:
            note = parse_json(read_bounded(self._self_test_file, NOTE_BYTES))
            kind, time = str(note["kind"]), str(note["time"])
            told = (note["result"], note["reset_count"])
        except (ConsoleError, ValueError, TypeError, LookupError):
            return now  # no file, or not one that we wrote
        clock = health.clock
        still_holds = clock is not None and told == (now.result, clock.reset_count)
        if not still_holds or now.result in (SelfTestResult.NOT_RUN, SelfTestResult.UNKNOWN):
            return now
        return replace(now, kind=kind, time=time)

    def summaries(self) -> list[Summary]:
        """A line for every identity, which also says if its key is gone or was replaced.

        The TPM is not asked about handles: its last answer is used.
        """
        from tpmconsole.identity.summary import summarise

        now = clock.now()
        found = []
        for identity in self.identities.all():
            summary = summarise(identity, now, self.settings.warn_days)
            if self._key_is_gone(identity):
                gone = f"its key is gone: nothing is at {summary.where}"
                summary = replace(summary, state="ERROR", detail=gone, key_lost=True)
            elif change := self._watch.change(self.tpm, identity):
                changed = f"Key changed: {change}"
                summary = replace(summary, state="ERROR", detail=changed, key_lost=True)
            found.append(summary)
        return found

    def watch_keys(self) -> bool:
        """Ask the TPM whether the keys at handles are those that the identities were given.

        Returns:
            Whether ``summaries`` would now say something different.
        """
        return self._watch.ask(self.tpm, self.identities.all())

    def _key_is_gone(self, identity: Identity) -> bool:
        """Whether the TPM has reported the handle as empty; False until it was asked."""
        if identity.handle is None or self._handles is None:
            return False
        asked, handles = self._handles
        if f"0x{identity.handle:08x}" in handles:
            return False
        try:
            written = (identity.folder / "key.handle").stat().st_mtime
        except OSError:
            return False
        return written < asked  # otherwise the key was put there after the TPM was asked

    def root_note(self) -> str | None:
        """What to tell a user who runs this as root without need; once for each board."""
        from tpmconsole.board.root_hint import say_once

        return say_once(self.settings.state, self.tpm.connection)

    # What every change needs

    def source(self, identity: Identity) -> KeyRef:
        """The reference to an identity's key."""
        if identity.handle is not None:
            return KeyRef(handle=identity.handle)
        return KeyRef(pem=identity.key_pem)

    @contextmanager
    def recording(self, action: str, **facts: str | None) -> Iterator[dict[str, str | None]]:
        """Record the change made in this context, even if it fails.

        Yields:
            the facts, to add what becomes known later.
        """
        known = dict(facts)
        try:
            yield known
        except ConsoleError as error:
            self.record(action, **known | {"result": f"failed: {error.title}"})
            raise
        self.record(action, **known)

    def record(self, action: str, **facts: str | None) -> None:
        """Record a change; ``result`` is "done" unless given."""
        try:
            audit.record(self.settings.audit, action, **({"result": "done"} | facts))
        except ConsoleError as error:
            # The change is done; to report a failure now would be wrong.
            log.warning("not in the audit record: %s %s: %s", action, facts, error)
