"""Mutual-TLS sessions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tpmconsole.cli.parser import (
    Parser,
    add_command,
    if_missing_option,
    key_password_options,
    other_password_options,
)


def add_commands(commands: Any) -> None:
    session = commands.add_parser("session", help="mutual-TLS sessions")
    actions = session.add_subparsers(dest="action", required=True, parser_class=Parser)
    start = actions.add_parser("start", help="start a session that outlives this command")
    roles = start.add_subparsers(dest="role", required=True, parser_class=Parser)
    client = add_command(
        roles,
        "client",
        "connect to a server",
        "tpmconsole session start client gateway --connect broker.local:8443 --count 5",
    )
    client.add_argument("name", metavar="NAME")
    client.add_argument("--connect", required=True, metavar="HOST:PORT", help="the server")
    client.add_argument(
        "--protocol", choices=("line", "https"), default="line", help="default: line"
    )
    client.add_argument("--path", default="/", help="what https fetches")
    client.add_argument(
        "--interval",
        type=float,
        default=1.0,
        metavar="S",
        help="seconds between messages (default: 1)",
    )
    client.add_argument("--count", type=int, metavar="N", help="end after N messages")
    client.add_argument(
        "--retries",
        type=int,
        metavar="N",
        help="give up after N tries in a row (default: never, and after 5 with --count)",
    )
    server = add_command(
        roles,
        "server",
        "wait for clients",
        "tpmconsole session start server gateway --listen 0.0.0.0:8443",
    )
    server.add_argument("name", metavar="NAME")
    server.add_argument(
        "--listen", required=True, metavar="HOST:PORT", help="the address; port 0: any that is free"
    )
    for one in (client, server):
        if_missing_option(one, "a session that does the same runs")
        one.add_argument(
            "--engine",
            choices=("auto", "provider", "bridge"),
            default="auto",
            help="how OpenSSL gets to the TPM (default: auto)",
        )
        one.add_argument("--min-tls", choices=("1.2", "1.3"), default="1.2", help="default: 1.2")
        one.add_argument("--max-tls", choices=("1.2", "1.3"), default="1.3", help="default: 1.3")
        one.add_argument(
            "--crl",
            type=Path,
            metavar="FILE",
            help="refuse peers whose certificate this list (CRL) revokes; CAs below the roots, "
            "too, where each root has its list in FILE",
        )
        key_password_options(one)
        other_password_options(one)
    add_command(actions, "list", "list the sessions", "tpmconsole session list")
    add_command(actions, "users", "list other users of the TPM", "tpmconsole session users")
    again = add_command(
        actions, "restart", "start a session again", "tpmconsole session restart server-1"
    )
    again.add_argument("id", metavar="ID")
    key_password_options(again)
    other_password_options(again)
    for name, text in (
        ("show", "show one session"),
        ("stop", "end a session"),
        ("reload", "read certificate, trust anchors and CRL again; connections go on"),
        ("events", "what happened in a session"),
    ):
        one = add_command(actions, name, text, f"tpmconsole session {name} server-1")
        one.add_argument("id", metavar="ID")
    one.add_argument("--follow", action="store_true", help="wait for more until the session ends")
    unit = add_command(
        actions,
        "install",
        "write a systemd unit for a session that has ended",
        "tpmconsole session install server-1 --dry-run",
    )
    unit.add_argument("id", metavar="NAME", help="a session's ID, or its identity's name")
    unit.add_argument("--dry-run", action="store_true", help="show everything, write nothing")
    unit.add_argument(
        "--password-file",
        type=Path,
        metavar="F",
        help="the key's password: the first line of this file, which systemd gives the session",
    )
    other_password_options(unit)
