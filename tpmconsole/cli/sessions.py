"""Commands for mutual-TLS sessions."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tpmconsole.cli.common import Answer, read_auth
from tpmconsole.cli.next_steps import say, worded
from tpmconsole.cli.parser import (
    add_command,
    if_missing_option,
    key_password_options,
    other_password_options,
    subcommands,
)
from tpmconsole.errors import ExitCode, usage_error
from tpmconsole.inputs import Target, parse_address, parse_target
from tpmconsole.text import printable

if TYPE_CHECKING:
    from tpmconsole.board import Board
    from tpmconsole.board.tpm_users import TpmUser
    from tpmconsole.session.status import SessionStatus

_FACT_CHARACTERS = 1000


def _session_start(board: Board, args: Namespace) -> Answer:
    from tpmconsole.board.lines import session_lines
    from tpmconsole.board.sessions import start_session
    from tpmconsole.session.spec import SessionSpec

    is_client = args.role == "client"
    target = _target(args) if is_client else Target(*parse_address(args.listen))
    spec = SessionSpec(
        role=args.role,
        identity=args.name,
        host=target.host,
        port=target.port,
        protocol=target.protocol or ("tls" if is_client else "line"),
        interval_s=args.interval if is_client else 1.0,
        count=args.count if is_client else None,
        path=target.path or "/",
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


def _target(args: Namespace) -> Target:
    """A client's server, and the protocol and path from its URL or the options.

    Raises:
        ConsoleError: it is not an address, or URL and options differ.
    """
    target = parse_target(args.connect)
    for option in ("protocol", "path"):
        said, given = getattr(target, option), getattr(args, option)
        if said and given and said != given:
            raise usage_error(
                "Contradictory options",
                f"--connect says {option} {said}, --{option} says {given}",
                f"leave --{option} out",
            )
    return target._replace(protocol=target.protocol or args.protocol, path=target.path or args.path)


def _started_lines(facts: SessionStatus) -> list[str]:
    from tpmconsole.board.lines import session_lines
    from tpmconsole.board.root_hint import session_note

    note = session_note(facts)
    return [*session_lines([facts]), *([f"note: {say(note)}"] if note else [])]


def _session_list(board: Board, _: Namespace) -> Answer:
    from tpmconsole.board.lines import session_lines

    sessions = board.sessions.list(usage=True)
    return Answer({"sessions": [one.to_json() for one in sessions]}, session_lines(sessions))


def _session_show(board: Board, args: Namespace) -> Answer:

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

    users = tpm_users(board)
    return Answer({"users": [one.to_json() for one in users]}, user_lines(users))


def _session_events(board: Board, args: Namespace) -> Answer:
    from tpmconsole.board.lines import event_line

    events = board.sessions.events(args.id, follow=args.follow)
    if args.json and not args.follow:
        return Answer({"events": list(events)}, [])
    return Answer(events, (event_line(one, say) for one in events), stream=True)


def session_facts_lines(facts: SessionStatus) -> Iterator[str]:
    """``tpmconsole session show``; the state is named as in the list."""
    for label, value in worded(facts.to_json() | {"state": facts.word}).items():
        if isinstance(value, Mapping):
            known = ((name, _fact_words(one)) for name, one in value.items())
            text = ", ".join(f"{name} {one}" for name, one in known if one != "-") or "-"
        else:
            text = _fact_words(value)
        yield f"{label:<17} {printable(text, _FACT_CHARACTERS)}"


def _fact_words(value: Any) -> str:
    """A value of the JSON for people."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return " ".join(map(str, value)) or "-"
    return "-" if value is None else str(value)


def user_lines(users: Sequence[TpmUser]) -> Iterator[str]:
    """``tpmconsole session users``."""
    from tpmconsole.board.lines import table
    from tpmconsole.text import seconds_words

    if not users:
        yield "no other program uses the TPM"
        return
    rows = [("PID", "PROGRAM", "USER", "AGE", "TLS", "TPM")]
    for one in users:
        age = seconds_words(one.age_s)
        name, user, how = printable(one.name), printable(one.user), printable(one.how)
        rows.append((str(one.pid), name, user, age, one.tls or "-", how))
        for link in one.connections:
            where = f"{link.local} <-> {link.remote}" if link.remote else f"listens on {link.local}"
            rows.append(("", "", "", "", "", where))
    yield from table(rows)


def add_commands(commands: Any) -> None:
    session = commands.add_parser("session", help="mutual-TLS sessions")
    actions = subcommands(session)
    start = actions.add_parser(
        "start", help="start a session that keeps running after this command"
    )
    roles = subcommands(start, "role")
    client = add_command(
        roles,
        "client",
        _session_start,
        "connect to a server",
        "tpmconsole session start client gateway --connect broker.local:8443 --count 5",
    )
    client.add_argument("name", metavar="NAME")
    client.add_argument(
        "--connect",
        required=True,
        metavar="HOST:PORT",
        help="the server; https://HOST:PORT/PATH also gives protocol and path",
    )
    client.add_argument(
        "--protocol",
        choices=("tls", "line", "https"),
        help="tls: the handshake authenticates both sides, nothing is sent; line: PING n, for our "
        "own server; https: GET (default: tls)",
    )
    client.add_argument("--path", help="what https fetches (default: /)")
    client.add_argument(
        "--interval",
        type=float,
        default=1.0,
        metavar="S",
        help="seconds between messages (default: 1)",
    )
    client.add_argument(
        "--count", type=int, metavar="N", help="end after N messages; with tls, after N handshakes"
    )
    client.add_argument(
        "--retries",
        type=int,
        metavar="N",
        help="give up after N attempts in a row (default: never, or after 5 with --count)",
    )
    server = add_command(
        roles,
        "server",
        _session_start,
        "wait for clients",
        "tpmconsole session start server gateway --listen 0.0.0.0:8443",
    )
    server.add_argument("name", metavar="NAME")
    server.add_argument(
        "--listen", required=True, metavar="HOST:PORT", help="the address; port 0: any free port"
    )
    for one in (client, server):
        if_missing_option(one, "a session that does the same is already running")
        one.add_argument(
            "--engine",
            choices=("auto", "provider", "bridge"),
            default="auto",
            help="how OpenSSL uses the TPM (default: auto)",
        )
        one.add_argument("--min-tls", choices=("1.2", "1.3"), default="1.2", help="default: 1.2")
        one.add_argument("--max-tls", choices=("1.2", "1.3"), default="1.3", help="default: 1.3")
        one.add_argument(
            "--crl",
            type=Path,
            metavar="FILE",
            help="refuse peers whose certificate this list (CRL) revokes; intermediate CAs, "
            "too, if each root has its list in FILE",
        )
        key_password_options(one)
        other_password_options(one)
    add_command(actions, "list", _session_list, "list the sessions", "tpmconsole session list")
    add_command(
        actions, "users", _session_users, "list other users of the TPM", "tpmconsole session users"
    )
    again = add_command(
        actions,
        "restart",
        _session_restart,
        "start a session again",
        "tpmconsole session restart server-1",
    )
    again.add_argument("id", metavar="ID")
    key_password_options(again)
    other_password_options(again)
    for name, run, text in (
        ("show", _session_show, "show one session"),
        ("stop", _session_stop, "end a session"),
        (
            "reload",
            _session_reload,
            "read certificate, trust anchors and CRL again; connections stay open",
        ),
        ("events", _session_events, "show what happened in a session"),
    ):
        one = add_command(actions, name, run, text, f"tpmconsole session {name} server-1")
        one.add_argument("id", metavar="ID")
    one.add_argument(
        "--follow", action="store_true", help="wait for more events until the session ends"
    )
    unit = add_command(
        actions,
        "install",
        _session_install,
        "write a systemd unit for a session that has ended",
        "tpmconsole session install server-1 --dry-run",
    )
    unit.add_argument("id", metavar="NAME", help="a session's ID, or its identity's name")
    unit.add_argument("--dry-run", action="store_true", help="only show it, write nothing")
    unit.add_argument(
        "--password-file",
        type=Path,
        metavar="F",
        help="the key's password: the first line of this file; systemd passes it to the session",
    )
    other_password_options(unit)
