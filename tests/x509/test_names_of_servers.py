"""Which alternative names a client can compare with the server that it wants, and what is said."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

import pytest
from cryptography import x509
from support.pki import NOW, ca, leaf

from tpmconsole.cli import next_steps as cli
from tpmconsole.finding import Finding
from tpmconsole.x509.judge import judge
from tpmconsole.x509.san import Reached

ROOT = ca("Root")
GOOD = x509.DNSName("gateway.local")


def _ip(address: str) -> x509.IPAddress:
    return x509.IPAddress(ipaddress.ip_address(address))


def _san(
    *names: x509.GeneralName, role: str = "server", reached: Sequence[Reached] = ()
) -> list[Finding]:
    own = leaf(ROOT, san=names)
    judgement = judge(
        [own.certificate],
        public_key=own.key.public_key(),
        trust=[ROOT.certificate],
        role=role,
        now=NOW,
        reached=reached,
    )
    assert judgement.acceptable
    return [one for one in judgement.verdicts if one.name == "san"]


UNMATCHED: dict[str, tuple[x509.GeneralName, str]] = {
    "an IPv4 address": (x509.DNSName("192.168.1.10"), "looks like an address"),
    "an IPv6 address": (x509.DNSName("fe80::1"), "letters, digits, hyphens"),
    "a host and port": (x509.DNSName("gateway.local:8443"), "letters, digits, hyphens"),
    "a URL": (x509.DNSName("https://gateway.local/"), "letters, digits, hyphens"),
    "a star": (x509.DNSName("*"), "letters, digits, hyphens"),
    "a star for a domain": (x509.DNSName("*.local"), "two labels"),
    "a partial wildcard": (x509.DNSName("gw*.example.com"), "letters, digits, hyphens"),
    "a wildcard further on": (
        x509.DNSName("gw.*.example.com"),
        "letters, digits, hyphens",
    ),
    "two wildcards": (x509.DNSName("*.*.example.com"), "letters, digits, hyphens"),
    "a dot before": (x509.DNSName(".example.com"), "letters, digits, hyphens"),
    "a dot behind": (x509.DNSName("gateway.local."), "letters, digits, hyphens"),
    "a blank": (x509.DNSName("gateway local"), "letters, digits, hyphens"),
    "nothing": (x509.DNSName(""), "letters, digits, hyphens"),
    "an e-mail address": (x509.DNSName("ops@example.com"), "letters, digits, hyphens"),
    "a long label": (x509.DNSName(f"{'a' * 64}.local"), "letters, digits, hyphens"),
    "any address": (_ip("0.0.0.0"), "no server can have that address"),  # noqa: S104
    "any IPv6 address": (_ip("::"), "no server can have that address"),
    "a group's address": (_ip("224.0.0.1"), "no server can have that address"),
}


@pytest.mark.parametrize(
    ("name", "why"), [pytest.param(*row, id=key) for key, row in UNMATCHED.items()]
)
def test_a_name_that_no_client_can_match_is_none(name: x509.GeneralName, why: str) -> None:
    (verdict,) = _san(name)
    assert verdict.state == "warn"
    assert "no client can match '" in verdict.text
    assert why in verdict.text
    assert verdict.remedy
    (beside,) = _san(name, GOOD)
    assert beside.state == "ok"
    assert why in beside.text
    assert not _san(name, role="client")


@pytest.mark.parametrize(
    "name",
    [
        x509.DNSName("gateway"),
        x509.DNSName("Gateway.Local"),
        x509.DNSName("*.example.com"),
        x509.DNSName("my_board.example.com"),
        x509.DNSName("xn--mller-kva.example.com"),
        x509.DNSName("4gateway.local"),
        _ip("192.0.2.7"),
        _ip("fe80::1"),
    ],
)
def test_names_that_clients_match(name: x509.GeneralName) -> None:
    (verdict,) = _san(name)
    assert (verdict.state, verdict.text) == ("ok", "it names the server for its clients")


WILD = x509.DNSName("*.Plant.example")
REACHED: dict[str, tuple[str, tuple[x509.GeneralName, ...], bool]] = {
    "its address": ("192.0.2.7", (GOOD, _ip("192.0.2.7")), True),
    "another address": ("192.0.2.8", (GOOD, _ip("192.0.2.7")), False),
    "an address and names alone": ("192.0.2.7", (GOOD,), False),
    "an address as a DNS name": ("192.0.2.7", (GOOD, x509.DNSName("192.0.2.7")), False),
    "IPv6 written otherwise": ("FE80:0::1", (_ip("fe80::1"),), True),
    "IPv6 with its interface": ("fe80::1%eth0", (_ip("fe80::1"),), True),
    "its name in other letters": ("GATEWAY.local", (GOOD,), True),
    "its name with the root's dot": ("gateway.local.", (GOOD,), True),
    "another name": ("pump.local", (GOOD,), False),
    "a name below its name": ("a.gateway.local", (GOOD,), False),
    "a wildcard": ("pump.plant.EXAMPLE", (WILD,), True),
    "a wildcard and two labels": ("a.pump.plant.example", (WILD,), False),
    "a wildcard and none": ("plant.example", (WILD,), False),
    "an address and a name": ("gateway.local", (_ip("192.0.2.7"),), False),
}


@pytest.mark.parametrize(
    ("host", "names", "named"), [pytest.param(*row, id=key) for key, row in REACHED.items()]
)
def test_the_names_are_compared_with_where_clients_reach_it(
    host: str, names: tuple[x509.GeneralName, ...], named: bool
) -> None:
    (found,) = _san(*names, reached=[Reached(host, "where server-1 listens")])
    assert found.state == ("ok" if named else "warn")
    if not named:
        assert f"it does not name {host}, where server-1 listens" in found.text
        assert "dns:NAME or --san ip:ADDRESS" in cli.say(found.remedy)


def test_each_place_counts_and_a_client_has_none() -> None:
    reached = [Reached("gateway.local", "here"), Reached("192.0.2.7", "where client-1 connects")]
    (found,) = _san(GOOD, reached=reached)
    assert "it does not name 192.0.2.7, where client-1 connects" in found.text
    assert _san(GOOD, role="client", reached=reached) == []
