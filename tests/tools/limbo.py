"""Our verdicts compared with OpenSSL's and C2SP's x509-limbo (cases in its JSON, gzip or not).

``make limbo FILE=limbo.json.gz`` prints how many of its cases get the same verdict, and each that
does not. Names are left out: a peer itself decides which name it expects, and we only report names
that no peer can expect. Revocation lists are left out too: no certificate is checked against one.
"""

from __future__ import annotations

import gzip
import json
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from support.openssl_verify import refusal

from tpmconsole import clock
from tpmconsole.errors import ConsoleError
from tpmconsole.x509.bundle import read_bundle
from tpmconsole.x509.judge import judge
from tpmconsole.x509.names import pem

_ROLES = {"SERVER": "server", "CLIENT": "client"}


@dataclass(frozen=True)
class Case:
    """One of limbo's."""

    name: str
    role: str
    when: datetime
    peer: bytes
    others: bytes
    anchors: bytes
    good: bool


@dataclass(frozen=True)
class Ours:
    """What we say: what fails, or an exception that had no business here."""

    refusal: str | None
    chain: tuple[x509.Certificate, ...] = ()
    broken: bool = False


def read(file: Path) -> Iterator[Case]:
    data = file.read_bytes()
    text = gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data
    for one in json.loads(text)["testcases"]:
        yield _case(one)


def _case(one: dict[str, Any]) -> Case:
    when = one["validation_time"]
    return Case(
        one["id"],
        _ROLES[one["validation_kind"]],
        datetime.fromisoformat(when) if when else datetime.now(UTC),
        one["peer_certificate"].encode(),
        "".join(one["untrusted_intermediates"]).encode(),
        "".join(one["trusted_certs"]).encode(),
        one["expected_result"] == "SUCCESS",
    )


def ours(case: Case) -> Ours:
    """Our judgement, of certificates that are read as an import reads them."""
    try:
        peer = read_bundle(case.peer)
        others = read_bundle(case.others) if case.others else []
        judgement = judge(
            [*peer, *others],
            public_key=peer[0].public_key(),
            trust=read_bundle(case.anchors) if case.anchors else [],
            role=case.role,
            now=case.when,
        )
    except ConsoleError as error:
        return Ours(str(error))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is counted
        return Ours(f"{type(error).__name__}: {error}", broken=True)
    failed = [f"{one.name}: {one.text}" for one in judgement.verdicts if one.state == "fail"]
    return Ours("; ".join(failed) or None, judgement.chain)


def beside(case: Case, mine: Ours) -> str | None:
    """OpenSSL's word on what would be sent: the chain that we chose, else all that there is."""
    others = pem(mine.chain[1:]) if mine.chain and mine.refusal is None else case.others
    return refusal(case.peer, others, case.anchors, case.role, case.when)


# Refused by us and accepted by OpenSSL, for a reason; limbo refuses all of them.
_DEVICE = "a device's certificate has to be none that signs others"
_LIBRARY = "cryptography does not read it: it is named as unusual, and nothing else is judged"
STRICTER = {
    "rfc5280::serial::negative": _DEVICE,
    "rfc5280::leaf-ku-keycertsign": _DEVICE,
    "webpki::ee-basicconstraints-ca": _DEVICE,
    "rfc5280::root-missing-basic-constraints": "a CA has to say that it is one (4.2.1.9)",
    "webpki::aki::root-with-aki-authoritycertissuer": _LIBRARY,
    "webpki::aki::root-with-aki-authoritycertserialnumber": _LIBRARY,
    "webpki::nc::intermediate-permitted-excluded-subtrees-both-null": _LIBRARY,
    "webpki::nc::intermediate-permitted-excluded-subtrees-both-empty-sequences": _LIBRARY,
    "webpki::malformed-aia": _LIBRARY,
}

KINDS = {
    "accepted": "accepted by us, refused by OpenSSL",
    "refused": "refused by us, accepted by OpenSSL and limbo",
    "exception": "an exception where a verdict was due",
    "stricter": "refused by us and limbo, accepted by OpenSSL",
    "laxer": "accepted by us and OpenSSL, refused by limbo",
    "alike": "judged as OpenSSL does",
}


def kind(case: Case, mine: Ours, theirs: str | None) -> str:
    if mine.broken:
        return "exception"
    if mine.refusal is None:
        return "accepted" if theirs is not None else "alike" if case.good else "laxer"
    return "alike" if theirs is not None else "refused" if case.good else "stricter"


def main(arguments: Sequence[str]) -> int:
    if len(arguments) != 1:
        print("usage: make limbo FILE=limbo.json.gz", file=sys.stderr)
        return 2
    warnings.simplefilter("ignore")  # some serial numbers are below zero, on purpose
    # The clock is not in question here: each case brings its own time.
    clock.BUILT = datetime(1, 1, 1, tzinfo=UTC)
    found: dict[str, list[str]] = {one: [] for one in KINDS}
    for case in read(Path(arguments[0])):
        mine = ours(case)
        theirs = beside(case, mine)
        line = f"{case.name}: {mine.refusal or 'OK'} | OpenSSL: {theirs or 'OK'}"
        which = kind(case, mine, theirs)
        if which == "stricter":
            line = f"{case.name}: {STRICTER.get(case.name, f'no reason is known; {line}')}"
        found[which].append(line)
    for one, words in KINDS.items():
        print(f"{len(found[one]):4} {words}")
        if one != "alike":
            print("".join(f"       {line}\n" for line in found[one]), end="")
    unknown = any("no reason is known" in line for line in found["stricter"])
    return int(bool(found["accepted"] or found["refused"] or found["exception"] or unknown))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
