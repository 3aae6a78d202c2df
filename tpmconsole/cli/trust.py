"""Commands for trust anchors, and for the simulator's own CA."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tpmconsole.cli.common import Answer, certificate_file, confirm, read_auth, with_outdated
from tpmconsole.cli.parser import (
    add_command,
    endorsement_password_option,
    key_password_options,
    other_password_options,
    subcommands,
)
from tpmconsole.errors import usage_error

if TYPE_CHECKING:
    from tpmconsole.board import Board
    from tpmconsole.x509.judge import CertificateInfo


def _trust(board: Board, args: Namespace) -> Answer:
    from tpmconsole.board.trust import describe_anchor, plan_remove_anchor, trust_anchors

    if args.add is not None and args.remove is not None:
        raise usage_error("Wrong usage", "--add and --remove at once", "use one after the other")
    if args.add is not None:
        return _add_trust(board, args)
    if args.remove is None:
        anchors = trust_anchors(board, args.name)
        return Answer({"anchors": [one.to_json() for one in anchors]}, anchor_lines(anchors))
    anchor = confirm(plan_remove_anchor(board, args.name, args.remove), args)
    data = {"identity": args.name, "removed": anchor.to_json()}
    line = f"{args.name}: no longer trusts {describe_anchor(anchor)}"
    return with_outdated(board, args.name, Answer(data, [line], changed=True))


def _add_trust(board: Board, args: Namespace) -> Answer:
    from tpmconsole.board.trust import describe_anchor, plan_add_anchors

    plan = plan_add_anchors(board, args.name, certificate_file(args.add))
    new = [] if plan is None else confirm(plan, args)
    what = " and ".join(map(describe_anchor, new))
    answer = {"identity": args.name, "added": [one.to_json() for one in new]}
    line = (
        f"{args.name}: from now on trusts {what}"
        if new
        else f"{args.name}: already trusts all of it"
    )
    return with_outdated(board, args.name, Answer(answer, [line], changed=bool(new)))


def _demo_sign(board: Board, args: Namespace) -> Answer:
    from tpmconsole.board.certificates import demo_sign
    from tpmconsole.cli.identities import verdict_json, verdict_lines

    verdicts = demo_sign(board, args.name, read_auth(args)).verdicts
    data = {"verdicts": [verdict_json(one) for one in verdicts], "installed": True}
    lines = verdict_lines(args.name, verdicts, installed=True)
    return with_outdated(board, args.name, Answer(data, lines, changed=True))


ROLES = ("client", "server", "both")


def anchor_lines(anchors: Sequence[CertificateInfo]) -> Iterator[str]:
    """``tpmconsole trust``."""
    for one in anchors:
        yield f"{one.subject}, until {one.not_after:%Y-%m-%d}{one.trusted_for}"
        yield f"  SHA-256 {one.fingerprint}"
    if not anchors:
        yield "no trust anchors: add the CA of its peers with --add FILE"


def add_commands(commands: Any) -> None:
    trust = add_command(
        commands,
        "trust",
        _trust,
        "show, add or remove an identity's trust anchors",
        "tpmconsole trust gateway",
    )
    trust.add_argument("name", metavar="NAME")
    trust.add_argument(
        "--add", type=Path, metavar="FILE", help="also trust the CAs in this file from now on"
    )
    trust.add_argument(
        "--remove", metavar="SHA-256", help="no longer trust the CA with this fingerprint"
    )
    trust.add_argument(
        "--yes", action="store_true", help="without it, only says what would be changed"
    )
    demo = commands.add_parser("demo-ca", help="the simulator's throw-away CA")
    sign = add_command(
        subcommands(demo),
        "sign",
        _demo_sign,
        "sign an identity's request and import the certificate",
        "tpmconsole --simulate demo-ca sign gateway",
    )
    sign.add_argument("name", metavar="NAME")
    key_password_options(sign)
    other_password_options(sign)
    endorsement_password_option(sign)
