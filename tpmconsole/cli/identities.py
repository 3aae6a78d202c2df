"""From a request to an installed certificate."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict, replace

from tpmconsole.board import Board
from tpmconsole.cli.common import Answer, Commands, certificate_file, confirm, out_file, read_auth
from tpmconsole.cli.next_steps import say
from tpmconsole.errors import Action, ExitCode, NextStep, usage_error


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
    )
    if args.preview:
        lines = preview_request(board, args.name, spec)
        rows = (f"{label:<16} {text}" for label, text in lines)
        return Answer({"identity": args.name, "asks": lines}, rows)
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
    """A request was made: what it asks for, and where it is, or itself."""
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


def _replaced(board: Board, name: str, answer: Answer) -> Answer:
    """The answer, and which sessions go on with what was there before."""
    from tpmconsole.board.sessions import outdated

    if not answer.changed:
        return answer
    found = outdated(board, name)
    more = [{"session": one.session, "command": say(one.step)} for one in found]
    lines = [f"{one.session} still uses what was there before: {say(one.step)}" for one in found]
    return replace(answer, data=answer.data | {"outdated": more}, lines=[*answer.lines, *lines])


def _import(board: Board, args: Namespace) -> Answer:
    from tpmconsole.board.certificates import (
        install_certificate,
        judge_certificate,
        refuse_certificate,
    )

    if args.undo:
        return _undo(board, args)
    from tpmconsole.cli.answers import verdict_json, verdict_lines
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
    return _replaced(board, args.name, Answer(data, lines, exit_code, changed=changed))


def _undo(board: Board, args: Namespace) -> Answer:
    from tpmconsole.board.certificates import undo_import

    if args.files or args.trust or args.check:
        raise usage_error("Wrong usage", "--undo takes no files", "see: tpmconsole import --help")
    facts = undo_import(board, args.name)
    line = f"{args.name}: back to '{facts.subject}', until {facts.not_after:%Y-%m-%d}"
    data = {"identity": args.name, "certificate": facts.to_json()}
    return _replaced(board, args.name, Answer(data, [line], changed=True))


def _trust(board: Board, args: Namespace) -> Answer:
    from tpmconsole.board.trust import describe_anchor, plan_remove_anchor, trust_anchors
    from tpmconsole.cli.answers import anchor_lines

    if args.add is not None and args.remove is not None:
        raise usage_error("Wrong usage", "--add and --remove at once", "use one after the other")
    if args.add is not None:
        return _add_trust(board, args)
    if args.remove is None:
        anchors = trust_anchors(board, args.name)
        return Answer([one.to_json() for one in anchors], anchor_lines(anchors))
    anchor = confirm(plan_remove_anchor(board, args.name, args.remove), args)
    data = {"identity": args.name, "removed": anchor.to_json()}
    line = f"{args.name}: no longer trusts {describe_anchor(anchor)}"
    return _replaced(board, args.name, Answer(data, [line], changed=True))


def _add_trust(board: Board, args: Namespace) -> Answer:
    from tpmconsole.board.trust import describe_anchor, plan_add_anchors

    plan = plan_add_anchors(board, args.name, certificate_file(args.add))
    new = [] if plan is None else confirm(plan, args)
    what = " and ".join(map(describe_anchor, new))
    answer = {"identity": args.name, "added": [one.to_json() for one in new]}
    line = f"{args.name}: from now on trusts {what}" if new else f"{args.name}: trusts all of it"
    return _replaced(board, args.name, Answer(answer, [line], changed=bool(new)))


def _demo_sign(board: Board, args: Namespace) -> Answer:
    from tpmconsole.board.certificates import demo_sign
    from tpmconsole.cli.answers import verdict_json, verdict_lines

    verdicts = demo_sign(board, args.name, read_auth(args)).verdicts
    data = {"verdicts": [verdict_json(one) for one in verdicts], "installed": True}
    lines = verdict_lines(args.name, verdicts, installed=True)
    return _replaced(board, args.name, Answer(data, lines, changed=True))


COMMANDS: Commands = {
    "request": _request,
    "import": _import,
    "renew": _renew,
    "trust": _trust,
    "demo-ca sign": _demo_sign,
}
