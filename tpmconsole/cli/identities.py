"""Make and renew requests, and import certificates."""

from __future__ import annotations

import argparse
from argparse import Namespace
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tpmconsole.cli.common import Answer, certificate_file, out_file, read_auth, with_outdated
from tpmconsole.cli.next_steps import say
from tpmconsole.cli.parser import (
    add_command,
    endorsement_password_option,
    if_missing_option,
    key_password_options,
    other_password_options,
)
from tpmconsole.errors import Action, ExitCode, NextStep, remedy_to_json, usage_error

if TYPE_CHECKING:
    from tpmconsole.board import Board
    from tpmconsole.finding import Finding
    from tpmconsole.x509.judge import CertificateInfo
    from tpmconsole.x509.request_spec import RequestSpec


_ROLES = ("client", "server", "both")


def _request(board: Board, args: Namespace) -> Answer:
    from tpmconsole.board.requests import (
        default_spec,
        hand_over,
        make_request,
        preview_request,
        same_request,
    )
    from tpmconsole.x509.request_spec import RequestSpec

    usual = default_spec(board)
    spec = RequestSpec(
        subject=usual.subject if args.subject is None else args.subject,
        san=tuple(args.san) or usual.san,
        role=args.role or usual.role,
        string_type=args.string_type or usual.string_type,
    )
    if args.preview:
        lines = preview_request(board, args.name, spec)
        rows = (f"{label:<16} {text}" for label, text in lines)
        return Answer({"identity": args.name, "asks": lines}, rows)
    if args.attest:
        return _attest(board, args, spec)
    if args.if_missing and (kept := same_request(board, args.name, spec)):
        if out := out_file(args):
            hand_over(board, args.name, out)
        return _requested(board, args, kept, changed=False)
    pem = make_request(
        board,
        args.name,
        spec,
        read_auth(args),
        out_file(args),
    )
    return _requested(board, args, pem)


def _attest(board: Board, args: Namespace, spec: RequestSpec) -> Answer:
    """The request, and what proves where its key is; what that tells is told before."""
    from tpmconsole.board.enrolment import DISCLOSURE, attest_request, request_is_attested
    from tpmconsole.board.requests import hand_over, make_request, same_request

    def attested() -> Answer:
        auth = read_auth(args)
        kept = same_request(board, args.name, spec) if args.if_missing else None
        if kept and request_is_attested(board, args.name):
            if out := out_file(args):
                hand_over(board, args.name, out)
            return _requested(board, args, kept, changed=False)
        if not kept:
            make_request(board, args.name, spec, auth)
        made = attest_request(board, args.name, auth, out_file(args))
        answer = _requested(board, args, made.pem)
        chip = {"chip": made.chip, "endorsement": list(made.endorsement), "tells": DISCLOSURE}
        if str(args.out) == "-":
            return replace(answer, data=answer.data | chip)
        keys = [f"{args.name}: endorsement key {one}" for one in made.endorsement]
        lines = [f"{args.name}: attested by {made.chip}", *keys, *answer.lines]
        return replace(answer, data=answer.data | chip, lines=lines)

    if args.json or str(args.out) == "-":
        return attested()

    def told() -> Iterator[str]:
        yield DISCLOSURE
        yield from attested().lines

    return Answer({}, told())


def _renew(board: Board, args: Namespace) -> Answer:
    from tpmconsole.board.requests import renew

    pem = renew(
        board,
        args.name,
        read_auth(args),
        new_name=args.new_key,
        out=out_file(args),
    )
    had_trust = board.identities.get(args.name).has_trust
    args.name = args.new_key or args.name
    answer = _requested(board, args, pem)
    if had_trust and not board.identities.get(args.name).has_trust and str(args.out) != "-":
        step = NextStep(Action.ADD_TRUST, args.name, "the demo CA is not trusted here; run: {}")
        return replace(answer, lines=[*answer.lines, f"{args.name}: {say(step)}"])
    return answer


def _requested(board: Board, args: Namespace, pem: bytes, *, changed: bool = True) -> Answer:
    """The answer after a request: what it asks for, and its path or its text."""
    from tpmconsole.board.requests import asked_by

    asks = asked_by(pem)
    path = str(out_file(args) or board.identities.get(args.name).request)
    names = ", ".join((asks.subject, *asks.san))
    lines = [f"{args.name}: asks for {names}; role {asks.role}"]
    lines += [f"{path}: hand this request to your CA, then run: tpmconsole import {args.name} FILE"]
    if str(args.out) == "-":
        lines = pem.decode().splitlines()
    data = {"identity": args.name, "request": path, "pem": pem.decode()}
    return Answer(data | asdict(asks), lines, changed=changed)


def _import(board: Board, args: Namespace) -> Answer:
    from tpmconsole.board.certificates import (
        install_certificate,
        judge_certificate,
        refuse_certificate,
    )

    if args.undo:
        return _undo(board, args)
    from tpmconsole.x509.judge import describe

    if not args.files:
        raise usage_error("Wrong usage", "no FILE is given", "see: tpmconsole import --help")
    bundles = [certificate_file(path) for path in args.files]
    trust = certificate_file(args.trust) if args.trust else None
    judgement = judge_certificate(
        board,
        args.name,
        bundles,
        trust,
        args.role,
        read_auth(args),
    )
    install = judgement.acceptable and not args.check
    changed = False
    if install:
        changed = install_certificate(board, args.name, judgement)
    elif not args.check:
        refuse_certificate(board, args.name, judgement)
    added = [describe(one) for one in judgement.added]
    data = {
        "verdicts": [verdict_json(one) for one in judgement.verdicts],
        "installed": install,
        "trust_added": [one.to_json() for one in added if install],
    }
    exit_code = ExitCode.YES if judgement.acceptable else ExitCode.NO
    same = install and not changed
    lines = verdict_lines(args.name, judgement.verdicts, install, added, changed=not same)
    return with_outdated(board, args.name, Answer(data, lines, exit_code, changed=changed))


def _undo(board: Board, args: Namespace) -> Answer:
    from tpmconsole.board.certificates import undo_import

    if args.files or args.trust or args.check:
        raise usage_error("Wrong usage", "--undo takes no files", "see: tpmconsole import --help")
    facts = undo_import(board, args.name)
    line = f"{args.name}: back to '{facts.subject}', until {facts.not_after:%Y-%m-%d}"
    data = {"identity": args.name, "certificate": facts.to_json()}
    return with_outdated(board, args.name, Answer(data, [line], changed=True))


def verdict_json(verdict: Finding) -> dict[str, Any]:
    """A verdict as ``import --json`` prints it (contract)."""
    words = {"check": verdict.name, "verdict": verdict.state, "text": verdict.text}
    return words | remedy_to_json(verdict.remedy)


def verdict_lines(
    name: str,
    verdicts: Iterable[Finding],
    installed: bool,
    added: Sequence[CertificateInfo] = (),
    *,
    changed: bool = True,
) -> Iterator[str]:
    """``tpmconsole import``.

    Args:
        added: the trust anchors that are new.
        changed: False if exactly this certificate is already installed.
    """
    from tpmconsole.board.trust import describe_anchor

    for one in verdicts:
        yield f"{one.state.upper():<5} {one.name}: {one.text}"
        if one.state != "ok" and one.remedy:
            yield f"      try: {say(one.remedy)}"
    for anchor in added:
        which = "trusted from now on" if installed else "would be trusted"
        yield f"{which}: {describe_anchor(anchor)}"
    what = "installed" if changed else "unchanged: already installed"
    yield f"{name}: certificate {what if installed else 'not installed'}"


def add_commands(commands: Any) -> None:
    request = add_command(
        commands,
        "request",
        _request,
        "make a certificate signing request; defaults are from [request] in tpmconsole.toml",
        "tpmconsole request gateway --subject 'CN=gateway,O=Example' --san dns:gateway.local",
    )
    request.add_argument("name", metavar="NAME")
    if_missing_option(request, "a request for the same already exists")
    request.add_argument(
        "--subject",
        help="RFC 4514, such as 'CN=gateway,O=Example', or in the form that openssl prints "
        "(default: the board's serial number or host name as CN)",
    )
    request.add_argument(
        "--string-type",
        choices=("utf8", "printable"),
        help="how the subject is encoded (default: utf8); use printable if 'openssl ca' says 'The "
        "organizationName field is different between CA certificate and the request' although "
        "both look the same: its policy_match compares bytes",
    )
    request.add_argument(
        "--san", action="append", default=[], metavar="KIND:NAME", help="dns:, ip:, uri: or email:"
    )
    request.add_argument(
        "--role", choices=_ROLES, help="what the certificate is for (default: client)"
    )
    request.add_argument(
        "--attest",
        action="store_true",
        help="add proof for a CA that the key is in this TPM; it identifies the chip forever",
    )
    request.add_argument("--preview", action="store_true", help="only show what would be requested")
    _hand_over(request)
    endorsement_password_option(request)

    take = add_command(
        commands,
        "import",
        _import,
        "check a certificate and install it if every check passes",
        "tpmconsole import gateway gateway.pem --trust ca.pem",
    )
    take.add_argument("name", metavar="NAME")
    take.add_paths("files", metavar="FILE", help="PEM, DER or PKCS #7 ('-': from standard input)")
    take.add_argument(
        "--trust", type=Path, metavar="FILE", help="also trust the CAs in this file from now on"
    )
    take.add_argument("--role", choices=_ROLES)
    take.add_argument("--check", action="store_true", help="only check, do not install")
    take.add_argument(
        "--undo", action="store_true", help="go back to the certificate before the last import"
    )
    key_password_options(take)
    other_password_options(take)
    endorsement_password_option(take)

    renew = add_command(
        commands,
        "renew",
        _renew,
        "request the same certificate again, with the same key or a new one",
        "tpmconsole renew gateway --out /media/usb0/gateway.csr",
    )
    renew.add_argument("name", metavar="NAME")
    renew.add_argument(
        "--new-key", metavar="NAME", help="make a new key as this new identity; NAME keeps working"
    )
    _hand_over(renew)


def _hand_over(command: argparse.ArgumentParser) -> None:
    command.add_argument("--out", type=Path, metavar="FILE", help="also write it here ('-': print)")
    key_password_options(command)
    other_password_options(command)
