"""The command line's grammar (contract: names, options and exit codes do not change)."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, NoReturn

from tpmconsole import __version__
from tpmconsole.errors import usage_error
from tpmconsole.settings import LINES
from tpmconsole.tpm.model import Algorithm

ROLES = ("client", "server", "both")


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in our words, and leaves printing and exiting to the caller.

    No abbreviations: whatever a script once got away with would be for ever.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        raise usage_error("Wrong usage", message, f"see: {self.prog} --help")


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line; ``command`` is None where the console is wanted."""
    parser = _Parser(
        prog="tpmconsole",
        description="Console of a board with a TPM 2.0. Without a command it opens the screen.",
    )
    parser.add_argument("--version", action="version", version=f"tpmconsole {__version__}")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--tcti", metavar="T", help="which TPM to use, such as device:/dev/tpmrm0")
    which.add_argument("--simulate", action="store_true", help="use the simulated TPM")
    parser.add_argument("--state", metavar="DIR", help="where everything is kept")
    parser.add_argument("--line", choices=LINES, help="the terminal line (default: auto)")
    parser.add_argument("--mouse", action="store_true", help="use the mouse, on a fast line")
    parser.add_argument("--kiosk", action="store_true", help="a visitor's console")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Parser)
    _tpm_commands(commands)
    _identity_commands(commands)
    _session_commands(commands)
    _service_commands(commands)
    return parser


def _command(group: Any, name: str, text: str, example: str = "") -> argparse.ArgumentParser:
    """A command; each can answer in JSON."""
    epilog = f"example: {example}" if example else None
    command: argparse.ArgumentParser = group.add_parser(
        name, help=text, description=text, epilog=epilog
    )
    command.add_argument("--json", action="store_true", help="answer in JSON")
    return command


def _tpm_commands(commands: Any) -> None:
    _command(commands, "status", "show what the TPM says about itself")
    selftest = _command(commands, "selftest", "let the TPM test itself; exit 1 where it failed")
    kind = selftest.add_mutually_exclusive_group()
    kind.add_argument("--full", action="store_true", help="test everything again (the default)")
    kind.add_argument("--incremental", action="store_true", help="test what was not tested yet")
    keys = _command(commands, "keys", "list TSS2 key files and persistent handles")
    keys.add_argument("paths", nargs="*", type=Path, metavar="PATH", help="file or folder")
    keys.add_argument("--prove", action="store_true", help="let this TPM sign with each key")
    _password(keys)
    _other_passwords(keys)
    keys.add_argument(
        "--last-try",
        action="store_true",
        help="send the password also where a wrong one would lock the TPM",
    )
    lockout = commands.add_parser("lockout", help="the TPM's protection against guessing")
    reset = _command(
        lockout.add_subparsers(dest="action", required=True, parser_class=_Parser),
        "reset",
        "forget all wrong passwords; --password-file has the lockout authorisation",
    )
    reset.add_argument("--yes", action="store_true", help="without it, only says what is at stake")
    _password(reset, "the lockout authorisation, where it is set")


def _identity_commands(commands: Any) -> None:
    create = _command(
        commands,
        "create",
        "make a key in the TPM, as a new identity",
        "tpmconsole create gateway --algorithm ec-p384",
    )
    create.add_argument("name", metavar="NAME")
    create.add_argument(
        "--algorithm",
        choices=[one.value for one in Algorithm],
        help=f"default: {Algorithm.EC_P256.value}",
    )
    _password(create)
    _owner_password(create)
    create.add_argument(
        "--no-lockout",
        action="store_true",
        help="wrong passwords of this key do not count towards the TPM's lock-out",
    )
    create.add_argument("--handle", metavar="0x81...", help="keep it inside the TPM")
    create.add_argument(
        "--from",
        dest="source",
        type=Path,
        metavar="FILE",
        help="import a private key that was made elsewhere (PEM or DER), instead of making one",
    )
    create.add_argument(
        "--from-password-file", type=Path, metavar="F", help="what FILE is encrypted with"
    )

    persist = _command(commands, "persist", "move an identity's key to a persistent handle")
    persist.add_argument("name", metavar="NAME")
    persist.add_argument("handle", metavar="0x81...")
    _other_passwords(persist)
    evict = _command(commands, "evict", "remove a persistent key from the TPM, for good")
    evict.add_argument("handle", metavar="0x81...")
    evict.add_argument(
        "--yes", action="store_true", help="without it, only says what would be lost"
    )
    _owner_password(evict)

    request = _command(
        commands,
        "request",
        "make a certificate signing request; what is not given comes from [request] in "
        "tpmconsole.toml",
        "tpmconsole request gateway --subject 'CN=gateway,O=Example' --san dns:gateway.local",
    )
    request.add_argument("name", metavar="NAME")
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

    take = _command(
        commands,
        "import",
        "check a certificate and install it where nothing speaks against it",
        "tpmconsole import gateway gateway.pem --trust ca.pem",
    )
    take.add_argument("name", metavar="NAME")
    take.add_argument(
        "files", nargs="*", type=Path, metavar="FILE", help="PEM, DER or PKCS #7 ('-': read it)"
    )
    take.add_argument(
        "--trust", type=Path, metavar="FILE", help="trust the CAs in it from now on, as well"
    )
    take.add_argument("--role", choices=ROLES)
    take.add_argument("--check", action="store_true", help="never install")
    take.add_argument(
        "--undo", action="store_true", help="go back to the certificate before the last import"
    )
    _password(take)
    _owner_password(take)

    renew = _command(
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

    trust = _command(commands, "trust", "show or remove an identity's trust anchors")
    trust.add_argument("name", metavar="NAME")
    trust.add_argument(
        "--remove", metavar="SHA-256", help="trust the CA of this fingerprint no more"
    )
    trust.add_argument(
        "--yes", action="store_true", help="without it, only says what would be removed"
    )

    demo = commands.add_parser("demo-ca", help="the simulator's throw-away CA")
    sign = _command(
        demo.add_subparsers(dest="action", required=True, parser_class=_Parser),
        "sign",
        "sign an identity's request and import the certificate",
    )
    sign.add_argument("name", metavar="NAME")


def _session_commands(commands: Any) -> None:
    session = commands.add_parser("session", help="mutual-TLS sessions")
    actions = session.add_subparsers(dest="action", required=True, parser_class=_Parser)
    start = actions.add_parser("start", help="start a session that outlives this command")
    roles = start.add_subparsers(dest="role", required=True, parser_class=_Parser)
    client = _command(
        roles,
        "client",
        "connect to a server",
        "tpmconsole session start client gateway --connect broker.local:8443 --count 5",
    )
    client.add_argument("name", metavar="NAME")
    client.add_argument("--connect", required=True, metavar="HOST:PORT")
    client.add_argument("--protocol", choices=("line", "https"), default="line")
    client.add_argument("--path", default="/", help="what https fetches")
    client.add_argument("--interval", type=float, default=1.0, metavar="S")
    client.add_argument("--count", type=int, metavar="N", help="end after N messages")
    server = _command(
        roles,
        "server",
        "wait for clients",
        "tpmconsole session start server gateway --listen 0.0.0.0:8443",
    )
    server.add_argument("name", metavar="NAME")
    server.add_argument("--listen", required=True, metavar="HOST:PORT")
    for one in (client, server):
        one.add_argument("--engine", choices=("auto", "provider", "bridge"), default="auto")
        one.add_argument("--min-tls", choices=("1.2", "1.3"), default="1.2")
        one.add_argument("--max-tls", choices=("1.2", "1.3"), default="1.3")
        _password(one)
    _command(actions, "list", "list the sessions")
    for name, text in (
        ("show", "show one session"),
        ("stop", "end a session"),
        ("events", "what happened in a session"),
    ):
        one = _command(actions, name, text)
        one.add_argument("id", metavar="ID")
    one.add_argument("--follow", action="store_true", help="wait for more until the session ends")


def _service_commands(commands: Any) -> None:
    _command(commands, "doctor", "look for what is wrong, and say what to do")
    report = _command(commands, "report", "everything for support, in one text")
    report.add_argument("--out", type=Path, metavar="FILE")
    simulator = commands.add_parser("simulator", help="the simulated TPM")
    actions = simulator.add_subparsers(dest="action", required=True, parser_class=_Parser)
    for name in ("start", "stop", "status"):
        _command(
            actions, name, f"{name} the simulated TPM" if name != "status" else "is it running"
        )


def _hand_over(command: argparse.ArgumentParser) -> None:
    command.add_argument("--out", type=Path, metavar="FILE", help="also write it here ('-': print)")
    _password(command)
    _owner_password(command)


def _password(command: argparse.ArgumentParser, whose: str = "the key's password") -> None:
    command.add_argument(
        "--password-file",
        type=Path,
        metavar="F",
        help=f"{whose}: the file's first line ('-': from standard input)",
    )


def _owner_password(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--owner-password-file",
        type=Path,
        metavar="F",
        help="the owner hierarchy's password, where it has one",
    )


def _other_passwords(command: argparse.ArgumentParser) -> None:
    _owner_password(command)
    command.add_argument(
        "--parent-password-file",
        type=Path,
        metavar="F",
        help="the password of the key's persistent parent, where it has one",
    )
