"""Answers in lines of text, for people who read a command's output."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tpmconsole.board.lines import table
from tpmconsole.board.phrases import seconds_words, self_test_words
from tpmconsole.cli.next_steps import say
from tpmconsole.errors import remedy_to_json
from tpmconsole.text import printable
from tpmconsole.tpm.model import SelfTest

if TYPE_CHECKING:
    from tpmconsole.board.tour.story import Outcome
    from tpmconsole.board.tpm_users import TpmUser
    from tpmconsole.session.status import SessionStatus
    from tpmconsole.x509.judge import CertificateInfo, Finding


LINE = 78

FACT_CHARACTERS = 1000


def self_test_lines(result: SelfTest) -> Iterator[str]:
    """``tpmconsole selftest``."""
    yield self_test_words(result)
    if result.data:
        yield f"test result bytes: {result.data}"


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
        changed: False where what was to be installed is there already.
    """
    from tpmconsole.board.trust import describe_anchor

    for one in verdicts:
        yield f"{one.state.upper():<5} {one.name}: {one.text}"
        if one.state != "ok" and one.remedy:
            yield f"      try: {say(one.remedy)}"
    for anchor in added:
        which = "trusted from now on" if installed else "would be trusted"
        yield f"{which}: {describe_anchor(anchor)}"
    what = "installed" if changed else "unchanged: it is installed already"
    yield f"{name}: certificate {what if installed else 'not installed'}"


def anchor_lines(anchors: Sequence[CertificateInfo]) -> Iterator[str]:
    """``tpmconsole trust``."""
    for one in anchors:
        yield f"{one.subject}, until {one.not_after:%Y-%m-%d}{one.trusted_for}"
        yield f"  SHA-256 {one.fingerprint}"
    if not anchors:
        yield "no trust anchors: add the CA of its peers with --add FILE"


def session_facts_lines(facts: SessionStatus) -> Iterator[str]:
    """``tpmconsole session show``; the state is told as in the list."""
    for label, value in (facts.to_json() | {"state": facts.word}).items():
        if isinstance(value, Mapping):
            known = ((name, _fact_words(one)) for name, one in value.items())
            text = ", ".join(f"{name} {one}" for name, one in known if one != "-") or "-"
        else:
            text = _fact_words(value)
        yield f"{label:<17} {printable(text, FACT_CHARACTERS)}"


def _fact_words(value: Any) -> str:
    """A value of the JSON for people."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return " ".join(map(str, value)) or "-"
    return "-" if value is None else str(value)


def user_lines(users: Sequence[TpmUser]) -> Iterator[str]:
    """``tpmconsole session users``."""
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


def tour_lines(done: Iterable[tuple[int, Outcome]]) -> Iterator[str]:
    """``tpmconsole tour``: each step as it is done."""
    from tpmconsole.board.tour.story import STEPS, TITLE, WELCOME

    yield TITLE
    for text in WELCOME:
        yield ""
        yield from textwrap.wrap(text, LINE)
    for index, outcome in done:
        step = STEPS[index]
        yield ""
        yield f"{index + 1} of {len(STEPS)}  {step.title}"
        yield from textwrap.wrap(step.text, LINE)
        yield from outcome.diagram
        for one in outcome.shown:
            first, *more = textwrap.wrap(one.text, LINE - 26) or [""]
            yield f"  {one.name:<13} {one.state:<9} {first}".rstrip()
            yield from (f"{'':<26}{text}" for text in more)
