"""What a remedy says on the screen: keys, where a command would have its words."""

from __future__ import annotations

import pytest
from support.pki import DAY, NOW, ca, leaf

from tpmconsole.session.tls import errors
from tpmconsole.ui.next_steps import by_keys
from tpmconsole.ui.pages.provision.steps import verdict_facts
from tpmconsole.x509.checks import check_dates

COMMANDS = [
    "add its CA: tpmconsole trust pump --add FILE",
    "run: tpmconsole import pump FILE --trust FILE",
    "run: tpmconsole request pump; then import what your CA sends",
    "use an identity made for this role, or request one with --role server or both",
    "look into the session's log, or use --engine bridge",
    *(remedy for _, remedy in errors._VERIFY.values()),
]


@pytest.mark.parametrize("remedy", COMMANDS)
def test_the_screen_names_keys_and_no_options(remedy: str) -> None:
    told = by_keys(remedy)
    assert "--" not in told
    assert "tpmconsole " not in told


def test_a_first_certificate_that_has_expired_leads_to_keys_that_work() -> None:
    old = leaf(ca("Root"), begin=NOW - 9 * DAY, end=NOW - DAY).certificate
    facts = verdict_facts([check_dates(old, NOW)], [], "")
    text = " ".join(getattr(fact, "text", "") for fact in facts)
    assert "h: hand the request over again" in text
    assert "tpmconsole" not in text
