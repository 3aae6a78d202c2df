"""Proof that a request's key is in a TPM: the CA's side, and the board's answer to a challenge."""

from __future__ import annotations

import argparse
from argparse import Namespace
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tpmconsole.cli.common import Answer, certificate_file, out_file, read_auth
from tpmconsole.cli.identities import verdict_json
from tpmconsole.cli.next_steps import say
from tpmconsole.cli.parser import (
    add_command,
    endorsement_password_option,
    key_password_options,
    other_password_options,
    subcommands,
)
from tpmconsole.errors import ExitCode

if TYPE_CHECKING:
    from tpmconsole.board import Board
    from tpmconsole.board.attestation import Evidence
    from tpmconsole.finding import Finding


def _check(_: Board, args: Namespace) -> Answer:
    from tpmconsole.board.attestation import check

    judgement = check(_evidence(args))
    end = _end(args, judgement.acceptable, "every check passed or only warned")
    code = ExitCode.YES if judgement.acceptable else ExitCode.NO
    return Answer(_data(args, judgement), _lines(judgement.verdicts, end), code)


def _seal(_: Board, args: Namespace) -> Answer:
    from tpmconsole.board.attestation import seal

    judgement = seal(_evidence(args), args.certificates, args.out)
    end = f"{args.out}: sealed; only this key in that chip opens it: hand it to the board"
    data = _data(args, judgement) | {"sealed": str(args.out)}
    return Answer(data, _lines(judgement.verdicts, end))


def _challenge(_: Board, args: Namespace) -> Answer:
    from tpmconsole.board.attestation import challenge

    judgement = challenge(_evidence(args), args.out, args.keep)
    end = f"{args.out}: hand it to the board; {args.keep}: keep it here, for its answer"
    data = _data(args, judgement) | {"challenge": str(args.out), "kept": str(args.keep)}
    return Answer(data, _lines(judgement.verdicts, end))


def _verify(_: Board, args: Namespace) -> Answer:
    from tpmconsole.board.attestation import verify

    found = verify(args.file, args.answer, args.keep)
    good = found.state == "ok"
    data = {"file": str(args.file), "verdicts": [verdict_json(found)], "acceptable": good}
    end = _end(args, good, "issue its certificate")
    return Answer(data, _lines([found], end), ExitCode.YES if good else ExitCode.NO)


def _answer(board: Board, args: Namespace) -> Answer:
    from tpmconsole.board.enrolment import answer_challenge

    challenge = certificate_file(args.challenge)
    pem = answer_challenge(board, args.name, challenge, read_auth(args), out_file(args))
    if str(args.out) == "-":
        lines = pem.decode().splitlines()
    else:
        lines = [f"{args.out}: hand this answer to your CA"]
    return Answer({"identity": args.name, "answer": pem.decode()}, lines)


def _evidence(args: Namespace) -> Evidence:
    from tpmconsole.board.attestation import Evidence

    return Evidence(args.file, args.makers, args.inventory)


def _data(args: Namespace, judgement: Any) -> dict[str, Any]:
    chip, board = judgement.chip, judgement.board
    return {
        "file": str(args.file),
        "verdicts": [verdict_json(one) for one in judgement.verdicts],
        "acceptable": judgement.acceptable,
        "endorsement": judgement.endorsement,
        "chip": {
            "manufacturer": chip.manufacturer,
            "model": chip.model,
            "firmware": chip.version,
        },
        "board": None if board is None else board.name,
    }


def _end(args: Namespace, good: bool, words: str) -> str:
    return f"{args.file}: {words if good else 'refused: give it no certificate'}"


def _lines(verdicts: Iterable[Finding], end: str) -> Iterator[str]:
    for one in verdicts:
        yield f"{one.state.upper():<5} {one.name}: {one.text}"
        yield from (f"      {line}" for line in one.evidence)
        if one.state != "ok" and one.remedy:
            yield f"      try: {say(one.remedy)}"
    yield end


def add_commands(commands: Any) -> None:
    attest = commands.add_parser("attest", help="is a request's key in a TPM: a CA's questions")
    actions = subcommands(attest)
    check = add_command(
        actions,
        "check",
        _check,
        "judge an attested request; needs no TPM",
        "tpmconsole attest check gateway.csr --makers makers/ --inventory boards.csv",
    )
    _evidence_options(check)
    seal = add_command(
        actions,
        "seal",
        _seal,
        "judge it, and encrypt its certificate: only its key, in its chip, opens that",
        "tpmconsole attest seal gateway.csr gateway.pem ca.pem --makers makers/ --out gateway.tpm",
    )
    _evidence_options(seal)
    seal.add_argument(
        "certificates", nargs="+", type=Path, metavar="CERTIFICATE", help="its own, and its chain"
    )
    _out_option(seal, "the sealed certificate")
    challenge = add_command(
        actions,
        "challenge",
        _challenge,
        "judge it, and ask the board to prove itself before a certificate is made",
        "tpmconsole attest challenge gateway.csr --makers makers/ --out gateway.challenge --keep "
        "gateway.expected",
    )
    _evidence_options(challenge)
    _out_option(challenge, "the challenge, for the board")
    _keep_option(challenge, "the answer that is expected is written here: keep it at the CA")
    answer = add_command(
        actions,
        "answer",
        _answer,
        "answer a CA's challenge, on the board",
        "tpmconsole attest answer gateway gateway.challenge --out gateway.answer",
    )
    answer.add_argument("name", metavar="NAME")
    answer.add_argument(
        "challenge", type=Path, metavar="CHALLENGE", help="what the CA sent ('-': read it)"
    )
    answer.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="the answer ('-': print it)"
    )
    key_password_options(answer)
    other_password_options(answer)
    endorsement_password_option(answer)
    verify = add_command(
        actions,
        "verify",
        _verify,
        "is it the answer to the challenge; a right one is taken once",
        "tpmconsole attest verify gateway.csr gateway.answer --keep gateway.expected",
    )
    verify.add_argument("file", type=Path, metavar="FILE", help="the attested request")
    verify.add_argument("answer", type=Path, metavar="ANSWER", help="what the board sent")
    _keep_option(verify, "what the challenge kept; removed where the answer is right")


def _evidence_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("file", type=Path, metavar="FILE", help="the attested request")
    command.add_argument(
        "--makers",
        type=Path,
        required=True,
        metavar="DIR",
        help="certificates of the makers of chips that you trust: a folder, or one file",
    )
    command.add_argument(
        "--inventory",
        type=Path,
        metavar="FILE",
        help="CSV: fingerprint of a chip's endorsement key, name of its board, other names",
    )


def _out_option(command: argparse.ArgumentParser, what: str) -> None:
    command.add_argument("--out", type=Path, required=True, metavar="FILE", help=what)


def _keep_option(command: argparse.ArgumentParser, what: str) -> None:
    command.add_argument("--keep", type=Path, required=True, metavar="FILE", help=what)
