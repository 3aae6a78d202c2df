"""Starts, stops, lists and attaches to sessions, which outlive whoever started them."""

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
    """The sessions of one state directory; any number of these may look after the same ones.

    Args:
        folder: ``sessions`` of the state directory.
        log: the console's log, named to the user where it tells more.
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
        client without a count waits to try again (``last_error`` says why). Of one that fails
        until then nothing is left.

        Raises:
            ConsoleError: why it did not start.
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
        """All sessions, the oldest first, the ended ones that are still kept among them.

        Args:
            usage: say what those that run use of processor and memory, which looks at every
                process of the machine; else that is None.
        """
        found = [facts_now(self._folder / name, self._log) for name in names(self._folder)]
        found.sort(key=lambda facts: (facts.started, facts.id))
        return with_usage(found) if usage else found

    def show(self, session: str, *, usage: bool = False) -> SessionStatus:
        """One session as it is now.

        Args:
            usage: as for ``list``.

        Raises:
            ConsoleError: there is none of that name.
        """
        found = facts_now(self._known(session), self._log)
        return with_usage([found])[0] if usage else found

    def stop(self, session: str) -> SessionStatus:
        """End a session; one that has ended stays as it is.

        Raises:
            ConsoleError: there is none of that name, it does not end, or what it says it is, is
                another one's process.
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
                "try again later; restarting the board ends it for good",
                ExitCode.UNEXPECTED,
            )
        try:
            return self._after_stop(folder)
        except ConsoleError:
            if facts.state != State.STARTING:
                raise
            # Whoever was starting it has seen it end, and cleans up after it.
            return facts.ended(State.STOPPED, now())

    def reload(self, session: str) -> SessionStatus:
        """Have a session read its certificate, trust anchors and revocation lists again.

        Connections that are open go on with what they began with.

        Raises:
            ConsoleError: there is none of that name, it does not run, or systemd runs it; or what
                the files hold now cannot be used: then it goes on as it was.
        """
        folder = self._known(session)
        facts = _seen(facts_now(folder, self._log))
        check_no_service(facts, "reload")
        process = process_of(facts)
        if facts.state != State.RUNNING or process is None:
            raise ConsoleError(
                "Not reloaded",
                f"{session} is not running ({facts.state})",
                "start it: it reads its files then",
            )
        places = find_places(folder)
        check_is_its_own(process, places.state, session)
        wait_until_reloaded(places, session, process)
        return self.show(session, usage=True)

    def unit(self, session: str, passwords: PasswordFiles) -> UnitFiles:
        """The systemd unit that runs a session at every boot.

        Raises:
            ConsoleError: there is none of that name, it cannot be a service, or another user could
                have written its order, which may name any file for root to hand over.
        """
        folder = self._known(session)
        check_for_root(folder / ORDER_FILE, "what the session was told")
        return unit_of(folder, read_order(folder), passwords)

    def check_ended(self, session: str) -> None:
        """Refuse a session that runs, which systemd could not start beside itself.

        Raises:
            ConsoleError: it runs.
        """
        if not _seen(self.show(session)).state.ended:
            raise ConsoleError(
                "Session runs",
                f"{session} is running; systemd could not start it beside itself",
                NextStep(Action.STOP, session, "end it ({}), then install it again"),
            )

    def hand_over(self, session: str) -> None:
        """From now on systemd runs a session, which has ended."""
        hand_over(self._known(session))

    def of_identity(self, name: str) -> str:
        """A session by its id, or the last one of an identity by the identity's name."""
        if ID.fullmatch(name):
            return name
        last = [facts.id for facts in self.list() if facts.identity == name]
        return last[-1] if last else name

    def events(self, session: str, *, follow: bool = False) -> Iterator[dict[str, Any]]:
        """What happened in a session, the oldest first.

        Args:
            follow: wait for more until the session ends.

        Raises:
            ConsoleError: there is none of that name.
        """
        folder = self._known(session)
        state, memory = find_places(folder)
        if not follow:
            return read_events(state, memory)
        return follow_events(state, lambda: facts_now(folder, self._log).state.ended, memory)

    def reader(self, session: str) -> EventReader:
        """Reads a session's events as they come; whoever asks for it closes it.

        Raises:
            ConsoleError: there is none of that name.
        """
        return EventReader(*find_places(self._known(session)))

    def spec(self, session: str) -> SessionSpec:
        """What a session was told to do.

        Raises:
            ConsoleError: there is none of that name, or its file is damaged.
        """
        return read_order(self._known(session), with_key=False).spec

    def running(self, spec: SessionSpec) -> SessionStatus | None:
        """A session at work that does what ``spec`` asks for, if there is one."""
        for facts in self.list():
            if facts.state.ended or facts.role != spec.role or facts.identity != spec.identity:
                continue
            if not facts.unseen and self.spec(facts.id) == spec:
                return facts
        return None

    def pids(self) -> Iterator[int]:
        """The process numbers of the sessions that have not ended."""
        for facts in self.list():
            if facts.pid is not None and not facts.state.ended:
                yield facts.pid

    def any_running(self) -> bool:
        """Whether any session is at work."""
        return any(not facts.state.ended for facts in self.list())

    def _wait_until_started(self, folder: Path, process: Process) -> None:
        # Asked before reading: what is written before a process ends is read after.
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
                        f"it has said nothing for {START_S:.0f} seconds; the TPM may hang",
                        NextStep(
                            Action.SHOW_STATUS,
                            text=f"check the TPM ({{}}), and the log {self._log}",
                        ),
                        ExitCode.NO_TPM,
                    )
                time.sleep(POLL_S)

    def _begun(self, folder: Path) -> SessionStatus:
        """A session that has told its process number or has ended; it may be starting just now."""
        deadline = time.monotonic() + SILENT_S
        while True:
            facts = facts_now(folder, self._log)
            known = facts.state.ended or process_of(facts) is not None
            known = known or facts.unseen
            if known or holder_of(find_places(folder).state) or time.monotonic() > deadline:
                return facts
            time.sleep(POLL_S)

    def _after_stop(self, folder: Path) -> SessionStatus:
        try:
            order = read_order(folder, with_key=False)
        except ConsoleError:  # then nobody can start it again either
            return facts_now(folder, self._log)
        try:
            facts, boot = read_facts(folder, order)
        except ConsoleError:
            facts, boot = first_facts(folder.name, order), order.boot
        if not facts.state.ended:  # it had to be killed, or had not begun to listen to us
            facts = facts.ended(State.STOPPED, now())
            state = state_of(folder, order.unit)
            if owner_of(state) == os.geteuid():  # nothing is written where another one is at home
                EventLog(state).write("stopped", why="it was told to, and then killed")
                memory = memory_of(folder, order)
                try:
                    write_facts(state, boot, facts, durable=True)
                except ConsoleError as error:  # it has ended all the same
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
    """A session of which we know how it is.

    Raises:
        ConsoleError: we may not look.
    """
    why = facts.last_error
    if facts.unseen and why is not None:
        raise ConsoleError(why.title, why.cause, why.remedy, ExitCode.UNEXPECTED)
    return facts


def _has_started(folder: Path, event: dict[str, Any]) -> bool:
    """Whether an event says that a session is at work.

    Raises:
        ConsoleError: it says that the session will not be.
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
