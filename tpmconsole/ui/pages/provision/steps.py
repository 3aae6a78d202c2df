"""Describe the steps of an identity, the checks of a certificate, and trust anchors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tpmconsole.clock import moment, now
from tpmconsole.text import short
from tpmconsole.tpm.model import algorithm_words
from tpmconsole.ui.next_steps import say
from tpmconsole.ui.rows import Fact, Heading

if TYPE_CHECKING:
    from datetime import datetime

    from tpmconsole.identity.summary import Summary
    from tpmconsole.x509.judge import CertificateInfo, Judgement

_SHORT_NAMES = {"authority-key-identifier": "key-ids"}
COMPARE = "Compare each fingerprint with the one that the CA publishes or tells you."


def step_facts(one: Summary, *, simulated: bool, kiosk: bool = False) -> list[Fact]:
    """The five steps of an identity: done, next, or still to come, with what exists of each.

    Finished steps are short: a move of the cursor sends everything that differs.
    """
    if one.key_lost:
        lost = [Fact("1 Key", one.state, one.detail)]
        return lost if kiosk else [*lost, Fact("", "", "x: forget it; then n: a new key")]
    asked = one.request_subject is not None
    answered = one.subject is not None and not one.renewing
    ready = one.subject is not None and one.has_trust
    demo = simulated and asked and not kiosk
    hand = "h: hand it over, attested" if one.request_attested else "h: hand it over"
    hand += "; d: the demo CA signs it" if demo else ""
    if one.handed and not answered and not kiosk:
        proof = "attested, " if one.request_attested else ""
        hand = f"{proof}{one.handed.where}, {_when(one.handed.when)}; waiting for the CA"
    handed = answered or (asked and one.handed is not None)
    steps = (
        ("1 Key", True, _key_text(one)),
        ("2 Request", asked, _request_text(one, answered=answered, kiosk=kiosk)),
        ("3 To the CA", handed, short(one.issuer or "", 24) if answered else hand),
        ("4 Import", answered, _import_text(one, answered=answered, kiosk=kiosk)),
        ("5 Ready", ready, "" if kiosk else _ready_text(one)),
    )
    lines = []
    next_found = False
    for label, done, text in steps:
        state = "DONE" if done else "" if next_found else "NEXT"
        next_found = next_found or not done
        lines.append(Fact(label, state, text))
    if one.state in ("EXPIRES", "EXPIRED", "NO CLOCK") and not one.renewing:
        lines[-1] = Fact("5 Ready", one.state, one.detail)
    if one.attestation is not None:
        lines.append(Fact("Attested", "", one.attestation.words))
    if one.state == "ERROR":
        lines.append(Fact("", "ERROR", one.detail))
    return lines


def _key_text(one: Summary) -> str:
    password = "password" if one.auth != "none" else "no password"
    made = f", made {one.made:%Y-%m-%d}" if one.made else ""
    return f"{algorithm_words(one.algorithm)} in {one.where}, {password}{made}"


def _request_text(one: Summary, *, answered: bool, kiosk: bool) -> str:
    if one.request_subject is None:
        return "" if kiosk else "r: subject, names and role"
    made = f", made {moment(one.requested)}" if one.requested and not answered else ""
    which = "renewal " if one.renewing else ""
    return f"{which}{one.request_subject}{made}"


def _when(time: datetime) -> str:
    """The time of day, and before today the day as well."""
    return f"{time:%H:%M} UTC" if time.date() == now().date() else moment(time)


def _import_text(one: Summary, *, answered: bool, kiosk: bool) -> str:
    if not answered:
        by = "Enter or i" if one.handed else "i"
        return "" if kiosk else f"{by}: the certificate it sends"
    # The table shows the expiry date.
    return "u: back to the previous one" if one.can_undo and not kiosk else ""


def _ready_text(one: Summary) -> str:
    if one.subject is not None and not one.has_trust:
        return "t: trust the CA of its peers"
    if one.renewing and one.not_after:
        return f"page 4 starts a session; until {moment(one.not_after)}, with the old certificate"
    return "Enter: start a session"


def verdict_facts(
    judgement: Judgement, added: Sequence[CertificateInfo], end: str
) -> list[Fact | Heading]:
    """The findings about a certificate, failures first.

    A CA that is not trusted yet is not a failure: to trust it is the next step.

    Args:
        added: the trust anchors that come with it and are new.
        end: the result, or what can be done.
    """
    facts: list[Fact | Heading] = [Fact("Result", "", end)]
    verdicts = judgement.verdicts
    wrong = [one for one in verdicts if one.state != "ok"]
    if judgement.unknown_ca:
        by_key = "t compares its fingerprint and trusts it; a, if it is an intermediate CA"
        facts.append(Fact("CA", "NEXT", f"{judgement.unknown_ca} is not trusted here yet"))
        facts.append(Fact("", "", by_key))
        wrong = [one for one in wrong if one.state != "fail"]
    for one in sorted(wrong, key=lambda one: one.state != "fail"):
        facts.append(Fact(_short(one.name), one.state.upper(), one.text))
        facts.append(Fact("", "", f"try: {say(one.remedy)}"))
    facts += [fact for anchor in added for fact in anchor_facts(anchor, new=True)]
    passed = [one for one in verdicts if one.state == "ok"]
    if wrong:  # what passed does not matter now, and every line costs bytes
        return [*facts, Fact("Passed", "OK", ", ".join(_short(one.name) for one in passed))]
    return [*facts, *(Fact(_short(one.name), "OK", one.text) for one in passed)]


def _short(check: str) -> str:
    return _SHORT_NAMES.get(check, check)


def anchor_facts(anchor: CertificateInfo, *, new: bool = False) -> list[Fact]:
    """A trust anchor: its name, its expiry date, and its fingerprint in groups to compare."""
    until = f"{moment(anchor.not_after)}{anchor.trusted_for}"
    state = ("NEW CA" if anchor.ca else "NEW PEER") if new else ""
    digits = anchor.fingerprint.upper()
    groups = " ".join(digits[at : at + 4] for at in range(0, len(digits), 4))
    return [
        Fact("Trust", state, f"{anchor.subject}, until {until}"),
        Fact("", "SHA-256", groups),
    ]
