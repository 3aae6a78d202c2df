"""Mutual-TLS sessions."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from tpmconsole.board import Board
from tpmconsole.cli.common import Answer, Commands, read_auth
from tpmconsole.cli.next_steps import say
from tpmconsole.errors import ExitCode
from tpmconsole.inputs import parse_address

if TYPE_CHECKING:
    from tpmconsole.session.status import SessionStatus


def _session_start(board: Board, args: Namespace) -> Answer:
    from tpmconsole.board.lines import session_lines
    from tpmconsole.board.sessions import start_session
    from tpmconsole.session.spec import SessionSpec

    is_client = args.role == "client"
    host, port = parse_address(args.connect if is_client else args.listen)
    spec = SessionSpec(
        role=args.role,
        identity=args.name,
        host=host,
        port=port,
        protocol=args.protocol if is_client else "line",
        interval_s=args.interval if is_client else 1.0,
        count=args.count if is_client else None,
        path=args.path if is_client else "/",
        engine=args.engine,
        min_tls=args.min_tls,
        max_tls=args.max_tls,
        retries=args.retries if is_client else None,
        last_try=args.last_try,
        crl=None if args.crl is None else str(args.crl.absolute()),
    )
    if args.if_missing and (running := board.sessions.running(spec)):
        running = board.sessions.show(running.id, usage=True)
        return Answer(running.to_json(), session_lines([running]), changed=False)
    facts = start_session(board, spec, read_auth(args))
    return Answer(facts.to_json(), _started_lines(facts), changed=True)


def _started_lines(facts: SessionStatus) -> list[str]:
    from tpmconsole.board.lines import session_lines
    from tpmconsole.board.root_hint import session_note

    note = session_note(facts)
    return [*session_lines([facts]), *([f"note: {say(note)}"] if note else [])]


def _session_list(board: Board, _: Namespace) -> Answer:
    from tpmconsole.board.lines import session_lines

    sessions = board.sessions.list(usage=True)
    return Answer([one.to_json() for one in sessions], session_lines(sessions))


def _session_show(board: Board, args: Namespace) -> Answer:
    from tpmconsole.cli.answers import session_facts_lines

    facts = board.sessions.show(args.id, usage=True)
    code = ExitCode.NO if facts.state == "failed" else ExitCode.YES
    return Answer(facts.to_json(), session_facts_lines(facts), code)


def _session_stop(board: Board, args: Namespace) -> Answer:
    from tpmconsole.board.sessions import stop_session

    ended = board.sessions.show(args.id).state.ended
    facts = stop_session(board, args.id)
    return Answer(facts.to_json(), [f"{facts.id}: {facts.state}"], changed=not ended)


def _session_reload(board: Board, args: Namespace) -> Answer:
    from tpmconsole.board.sessions import reload

    facts = reload(board, args.id)
    return Answer(facts.to_json(), [f"{facts.id}: reloaded"], changed=True)


def _session_install(board: Board, args: Namespace) -> Answer:
    from tpmconsole.board.sessions import install, unit
    from tpmconsole.cli.install import told
    from tpmconsole.session.spec import PasswordFiles
    from tpmconsole.system.password_files import check_for_service

    session = board.sessions.of_identity(args.id)
    named = (args.password_file, args.owner_password_file, args.parent_password_file)
    given = [file and file.absolute() for file in named]
    files = PasswordFiles(*given)
    if args.dry_run:
        return told(unit(board, session, files), None)
    for file in filter(None, given):
        check_for_service(file)
    return told(*install(board, session, files))


def _session_restart(board: Board, args: Namespace) -> Answer:
    from tpmconsole.board.sessions import restart

    facts = restart(board, args.id, read_auth(args))
    return Answer(facts.to_json(), _started_lines(facts), changed=True)


def _session_users(board: Board, _: Namespace) -> Answer:
    from tpmconsole.board.tpm_users import tpm_users
    from tpmconsole.cli.answers import user_lines

    users = tpm_users(board)
    return Answer([one.to_json() for one in users], user_lines(users))


def _session_events(board: Board, args: Namespace) -> Answer:
    from tpmconsole.board.lines import event_line

    events = board.sessions.events(args.id, follow=args.follow)
    return Answer(events, (event_line(one, say) for one in events), stream=True)


COMMANDS: Commands = {
    "session start": _session_start,
    "session list": _session_list,
    "session show": _session_show,
    "session stop": _session_stop,
    "session reload": _session_reload,
    "session install": _session_install,
    "session restart": _session_restart,
    "session users": _session_users,
    "session events": _session_events,
}
