"""From a request to an installed certificate."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tpmconsole.cli.parser import (
    Parser,
    add_command,
    if_missing_option,
    key_password_options,
    other_password_options,
)

ROLES = ("client", "server", "both")


def add_commands(commands: Any) -> None:
    request = add_command(
        commands,
        "request",
        "make a certificate signing request; what is not given comes from [request] in "
        "tpmconsole.toml",
        "tpmconsole request gateway --subject 'CN=gateway,O=Example' --san dns:gateway.local",
    )
    request.add_argument("name", metavar="NAME")
    if_missing_option(request, "a request for the same is there")
    request.add_argument(
        "--subject",
        help="RFC 4514, such as 'CN=gateway,O=Example' "
        "(default: the board's serial number or host name as CN)",
    )
    request.add_argument(
        "--san", action="append", default=[], metavar="KIND:NAME", help="dns:, ip:, uri: or email:"
    )
    request.add_argument("--role", choices=ROLES, help="what it is for (default: client)")
    request.add_argument("--preview", action="store_true", help="only show what would be asked")
    _hand_over(request)

    take = add_command(
        commands,
        "import",
        "check a certificate and install it where nothing speaks against it",
        "tpmconsole import gateway gateway.pem --trust ca.pem",
    )
    take.add_argument("name", metavar="NAME")
    take.add_paths("files", metavar="FILE", help="PEM, DER or PKCS #7 ('-': read it)")
    take.add_argument(
        "--trust", type=Path, metavar="FILE", help="trust the CAs in it from now on, as well"
    )
    take.add_argument("--role", choices=ROLES)
    take.add_argument("--check", action="store_true", help="never install")
    take.add_argument(
        "--undo", action="store_true", help="go back to the certificate before the last import"
    )
    key_password_options(take)
    other_password_options(take)

    renew = add_command(
        commands,
        "renew",
        "ask for the same certificate again, with the same key or with a new one",
        "tpmconsole renew gateway --out /media/usb0/gateway.csr",
    )
    renew.add_argument("name", metavar="NAME")
    renew.add_argument(
        "--new-key", metavar="NAME", help="make a new key, as this new identity; NAME goes on"
    )
    _hand_over(renew)

    trust = add_command(
        commands,
        "trust",
        "show, add or remove an identity's trust anchors",
        "tpmconsole trust gateway",
    )
    trust.add_argument("name", metavar="NAME")
    trust.add_argument(
        "--add", type=Path, metavar="FILE", help="trust the CAs in it from now on, as well"
    )
    trust.add_argument(
        "--remove", metavar="SHA-256", help="trust the CA of this fingerprint no more"
    )
    trust.add_argument(
        "--yes", action="store_true", help="without it, only says what would be changed"
    )

    demo = commands.add_parser("demo-ca", help="the simulator's throw-away CA")
    sign = add_command(
        demo.add_subparsers(dest="action", required=True, parser_class=Parser),
        "sign",
        "sign an identity's request and import the certificate",
        "tpmconsole --simulate demo-ca sign gateway",
    )
    sign.add_argument("name", metavar="NAME")
    key_password_options(sign)
    other_password_options(sign)


def _hand_over(command: argparse.ArgumentParser) -> None:
    command.add_argument("--out", type=Path, metavar="FILE", help="also write it here ('-': print)")
    key_password_options(command)
    other_password_options(command)
