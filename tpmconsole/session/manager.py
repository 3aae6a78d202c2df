"""Start, stop, list and follow sessions, which outlive the program that started them."""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tpmconsole.errors import Action, ConsoleError, ExitCode, NextStep
from tpmconsole.session.condition import SILENT_S, ended_without_a_word, facts_now
from tpmconsole.session.directory import (
    ID,
    ORDER_FILE,
    STATE,
    SessionConfig,
    find_places,
    first_facts,
    hand_over,
    memory_of,
    names,
    new_folder,
    read_facts,
    read_order,
    state_of,
    write_facts,
)
from tpmconsole.session.events import EventLog, EventReader, follow_events, now, read_events
from tpmconsole.session.launcher import log_tail, spawn
from tpmconsole.session.memory_folder import clear_memory_folder
from tpmconsole.session.ownership import (
    check_is_its_own,
    find_process,
    holder_of,
    process_of,
)
from tpmconsole.session.reload import wait_until_reloaded
from tpmconsole.session.service import check_no_service, unit_of
from tpmconsole.session.spec import Credentials, PasswordFiles, SessionSpec
from tpmconsole.session.status import SessionStatus, State
from tpmconsole.session.tls.engine import choose
from tpmconsole.session.usage import with_usage
from tpmconsole.system.owners import check_for_root
from tpmconsole.system.processes import Process, boot_id, end
from tpmconsole.system.systemd import UnitFiles
from tpmconsole.system.untrusted import owner_of
from tpmconsole.tpm.auth import NO_AUTH, Auth
from tpmconsole.tpm.model import Connection

LOG = logging.getLogger(__name__)

START_S = 25.0
STOP_S = 3.0
POLL_S = 0.01
ENDED_KEPT = 50


class SessionManager:
    """Manages the sessions of one state directory; several managers may share one.

    Args:
        folder: ``sessions`` of the state directory.
        log: the console's log, which an error names if it says more.
    """

    def __init__(self, folder: Path, log: Path) -> None:
        self._folder = folder
        self._log = log

    def start(
        self,
        spec: SessionSpec,
        credentials: Credentials,
        connection: Connection,
        auth: Auth = NO_AUTH,
    ) -> SessionStatus:
        """Start a session.

        Returns when a server listens, when a client's first handshake has succeeded, or when a
        client without a count waits to try again (``last_error`` says why). If it fails before
        that, its folder is removed.

        Raises:
            ConsoleError: it did not start; says why.
        """
        spec.check()
        engine = choose(spec.engine, credentials.key, connection, auth)
        order = SessionConfig(spec, credentials, connection, engine, boot_id())
        self._tidy()
        folder = new_folder(self._folder, order)
        try:
            process = spawn(folder, order, auth)
            try:
                self._wait_until_started(folder, process)
            except BaseException:
                end(process, STOP_S)
                raise
        except BaseException:
            end_of_log = log_tail(folder / STATE)
            LOG.warning("%s did not start; its log ends:\n%s", folder.name, end_of_log)
            _remove(folder)
            raise
        return self.show(folder.name, usage=True)

    def list(self, *, usage: bool = False) -> list[SessionStatus]:
        """Return all sessions, the oldest first, with the ended ones that are still kept.

        Args:
            usage: include the processor time and memory of those that run, which reads every
                process of the machine; otherwise those fields stay None.
        """
        found = [facts_now(self._folder / name, self._log) for name in names(self._folder)]
        found.sort(key=lambda facts: (facts.started, facts.id))
        return with_usage(found) if usage else found

    def show(self, session: str, *, usage: bool = False) -> SessionStatus:
        """Return the status of one session.

        Args:
            usage: as for ``list``.

        Raises:
            ConsoleError: no session has that name.
        """
        found = facts_now(self._known(session), self._log)
        return with_usage([found])[0] if usage else found

    def stop(self, session: str) -> SessionStatus:
        """End a session; one that has already ended is left alone.

        Raises:
            ConsoleError: no session has that name, it does not end, or the process that it names
                is not its own.
        """
        folder = self._known(session)
        facts = _seen(self._begun(folder))
        state = find_places(folder).state
        process = find_process(folder, state)
        if process is None:
            process = process_of(facts)
            if facts.state.ended or process is None:
                return facts
            check_is_its_own(process, state, session)
        end(process, STOP_S)
        if process.alive:
            raise ConsoleError(
                "Session does not end",
                f"process {process.pid} hangs in the kernel, probably in the TPM's driver",
                "try again later; restarting the board ends it",
                ExitCode.UNEXPECTED,
            )
        try:
            return self._after_stop(folder, facts)
        except ConsoleError:
            if facts.state != State.STARTING:
                raise
            return facts.ended(State.STOPPED, now())

    def reload(self, session: str) -> SessionStatus:
        """Make a session read its certificate, trust anchors and revocation lists again.

        Open connections keep what they began with.

        Raises:
            ConsoleError: no session has that name, it does not run, or systemd runs it; or the
                files cannot be used now: then the session continues with the previous ones.
        """
        folder = self._known(session)
        facts = _seen(facts_now(folder, self._log))
        check_no_service(facts, "reload")
        process = process_of(facts)
        if facts.state != State.RUNNING or process is None:
            raise ConsoleError(
                "Not reloaded",
                f"{session} is not running ({facts.state})",
                "start it: it then reads its files",
            )
        places = find_places(folder)
        check_is_its_own(process, places.state, session)
        wait_until_reloaded(places, session, process)
        return self.show(session, usage=True)

    def unit(self, session: str, passwords: PasswordFiles) -> UnitFiles:
        """Return the systemd unit that runs a session at every boot.

        Raises:
            ConsoleError: no session has that name, it cannot be a service, or another user could
                have written its order, which may name any file for root to pass to the session.
        """
        folder = self._known(session)
        check_for_root(folder / ORDER_FILE, "the session's order")
        return unit_of(folder, read_order(folder), passwords)

    def check_ended(self, session: str) -> None:
        """Refuse a running session: systemd could not start it a second time.

        Raises:
            ConsoleError: it runs.
        """
        if not _seen(self.show(session)).state.ended:
            raise ConsoleError(
                "Session runs",
                f"{session} is running; systemd could not start it a second time",
                NextStep(Action.STOP, session, "end it ({}), then install it again"),
            )

    def hand_over(self, session: str) -> None:
        """Make an ended session one that systemd runs."""
        hand_over(self._known(session))

    def of_identity(self, name: str) -> str:
        """Return a session's id, given that id or the name of an identity (its last session)."""
        if ID.fullmatch(name):
            return name
        last = [facts.id for facts in self.list() if facts.identity == name]
        return last[-1] if last else name

    def events(self, session: str, *, follow: bool = False) -> Iterator[dict[str, Any]]:
        """Yield the events of a session, the oldest first.

        Args:
            follow: wait for more until the session ends.

        Raises:
            ConsoleError: no session has that name.
        """
        folder = self._known(session)
        state, memory = find_places(folder)
        if not follow:
            return read_events(state, memory)
        return follow_events(state, lambda: facts_now(folder, self._log).state.ended, memory)

    def reader(self, session: str) -> EventReader:
        """Return a reader of a session's events as they come; the caller closes it.

        Raises:
            ConsoleError: no session has that name.
        """
        return EventReader(*find_places(self._known(session)))

    def spec(self, session: str) -> SessionSpec:
        """Return what a session was asked to do.

        Raises:
            ConsoleError: no session has that name, or its file is damaged.
        """
        return read_order(self._known(session), with_key=False).spec

    def running(self, spec: SessionSpec) -> SessionStatus | None:
        """Return a running session that does what ``spec`` asks for; None if there is none."""
        for facts in self.list():
            if facts.state.ended or facts.role != spec.role or facts.identity != spec.identity:
                continue
            if not facts.unseen and self.spec(facts.id) == spec:
                return facts
        return None

    def pids(self) -> Iterator[int]:
        """Yield the process numbers of the sessions that have not ended."""
        for facts in self.list():
            if facts.pid is not None and not facts.state.ended:
                yield facts.pid

    def any_running(self) -> bool:
        """Whether any session is running."""
        return any(not facts.state.ended for facts in self.list())

    def _wait_until_started(self, folder: Path, process: Process) -> None:
        # Checked before reading, so that all a process wrote before it ended is read.
        deadline = time.monotonic() + START_S
        with EventReader(*find_places(folder)) as reader:
            while True:
                alive = process.alive
                if any(_has_started(folder, event) for event in reader.read()):
                    return
                if not alive:
                    raise ended_without_a_word(folder, self._log)
                if time.monotonic() > deadline:
                    raise ConsoleError(
                        "Session does not start",
                        f"it has written nothing for {START_S:.0f} seconds; the TPM may hang",
                        NextStep(
                            Action.SHOW_STATUS,
                            text=f"check the TPM ({{}}), and the log {self._log}",
                        ),
                        ExitCode.NO_TPM,
                    )
                time.sleep(POLL_S)

    def _begun(self, folder: Path) -> SessionStatus:
        """A session that has written its process number or ended; waits while it starts."""
        deadline = time.monotonic() + SILENT_S
        while True:
            facts = facts_now(folder, self._log)
            known = facts.state.ended or process_of(facts) is not None
            known = known or facts.unseen
            if known or holder_of(find_places(folder).state) or time.monotonic() > deadline:
                return facts
            time.sleep(POLL_S)

    def _after_stop(self, folder: Path, before: SessionStatus) -> SessionStatus:
        try:
            order = read_order(folder, with_key=False)
        except ConsoleError:
            if before.state == State.STARTING:
                # The console that was starting it has seen it end, and removes its folder.
                raise
            return facts_now(folder, self._log)  # it cannot be started again either
        try:
            facts, boot = read_facts(folder, order)
        except ConsoleError:
            facts, boot = first_facts(folder.name, order), order.boot
        if not facts.state.ended:  # it had to be killed, or could not yet handle signals
            facts = facts.ended(State.STOPPED, now())
            state = state_of(folder, order.unit)
            if owner_of(state) == os.geteuid():  # write nothing into another user's folder
                EventLog(state).write("stopped", why="it was told to, and then killed")
                memory = memory_of(folder, order)
                try:
                    write_facts(state, boot, facts, durable=True)
                except ConsoleError as error:  # it has ended anyway
                    LOG.warning("%s has ended; %s", folder.name, error)
                clear_memory_folder(memory, state)
        return facts

    def _known(self, session: str) -> Path:
        folder = self._folder / session
        there = sorted(names(self._folder))
        if session not in there:
            known = ", ".join(there)
            raise ConsoleError(
                "Unknown session",
                f"there is no session '{session[:40]}'" + ("" if known else ", nor any other"),
                f"use one of: {known}" if known else NextStep(Action.START, text="start one: {}"),
            )
        return folder

    def _tidy(self) -> None:
        """Keep the newest of the sessions that have ended."""
        ended = [facts.id for facts in self.list() if facts.state.ended and not facts.unit]
        for session in ended[:-ENDED_KEPT]:
            _remove(self._folder / session)


def _remove(folder: Path) -> None:
    clear_memory_folder(find_places(folder).memory)
    shutil.rmtree(folder, ignore_errors=True)


def _seen(facts: SessionStatus) -> SessionStatus:
    """Return a session whose status we could read.

    Raises:
        ConsoleError: we are not allowed to read it.
    """
    why = facts.last_error
    if facts.unseen and why is not None:
        raise ConsoleError(why.title, why.cause, why.remedy, ExitCode.UNEXPECTED)
    return facts


def _has_started(folder: Path, event: dict[str, Any]) -> bool:
    """Whether an event says that a session is running.

    Raises:
        ConsoleError: it says that the session has failed or was stopped.
    """
    if event["event"] == "error" and event.get("final"):
        raise ConsoleError.from_json(event)
    if event["event"] == "stopped":
        raise ConsoleError(
            "Session not started",
            f"{folder.name} was stopped while it was starting",
            "start it again",
        )
    return event["event"] in ("listening", "handshake") or "retry_in_s" in event
