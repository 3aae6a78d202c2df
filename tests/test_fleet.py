"""The example playbook, run by the real Ansible against boards and a CA by OpenSSL."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from support.fleet import Fleet

from tpmconsole.x509.names import general_names, key_fingerprint, purposes, san_texts
from tpmconsole.x509.request import build, signature_usage
from tpmconsole.x509.request_spec import RequestSpec
from tpmconsole.x509.subject import parse_subject

pytestmark = pytest.mark.fleet

PRETENDER_SAN = "dns:{{ inventory_hostname }}.example.com"


@pytest.fixture
def fleet(state: Path) -> Iterator[Fleet]:
    """Two boards that nobody has touched."""
    boards = Fleet(state, 2)
    yield boards
    boards.stop()


@pytest.fixture
def pretended(state: Path) -> Fleet:
    """A fleet to which a test adds boards that need no TPM."""
    return Fleet(state, 0)


def honest(name: str) -> str:
    """The request that a board of this name is to hand in."""
    spec = RequestSpec(f"CN={name},O=Example", (f"dns:{name}.example.com",), "server")
    return _pem(build(_key(), spec))


def request(
    subject: str, san: list[str], *more: x509.ExtensionType, usage: x509.KeyUsage | None = None
) -> str:
    """A server's request for anything; an extended usage in ``more`` replaces a server's."""
    if not any(isinstance(one, x509.ExtendedKeyUsage) for one in more):
        more = (*more, x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]))
    names = x509.SubjectAlternativeName([x509.DNSName(one) for one in san])
    builder = x509.CertificateSigningRequestBuilder().subject_name(parse_subject(subject))
    for one in (names, usage or signature_usage(), *more):
        builder = builder.add_extension(one, critical=False)
    return _pem(builder.sign(_key(), hashes.SHA256()))


def forged(name: str) -> str:
    """A board's request whose signature is of no key."""
    der = bytearray(x509.load_pem_x509_csr(honest(name).encode()).public_bytes(Encoding.DER))
    der[-1] ^= 1
    body = base64.encodebytes(bytes(der)).decode()
    return f"-----BEGIN CERTIFICATE REQUEST-----\n{body}-----END CERTIFICATE REQUEST-----\n"


def key_of(pem: str) -> str:
    """The SHA-256 of the key in a request."""
    return key_fingerprint(x509.load_pem_x509_csr(pem.encode()).public_key())


def certificates(fleet: Fleet, board: str) -> list[x509.Certificate]:
    """What the CA has issued to a board."""
    return [
        x509.load_pem_x509_certificate(path.read_bytes())
        for path in (fleet.ca / "issued").glob(f"{board}-*.pem")
    ]


def _key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _pem(request: x509.CertificateSigningRequest) -> str:
    return request.public_bytes(Encoding.PEM).decode()


def test_the_playbook_provisions_a_fleet_and_changes_nothing_the_second_time(fleet: Fleet) -> None:
    first = fleet.play()
    for board in fleet.boards:
        assert first[board]["changed"] == 8, first
        (session,) = fleet.console(board, "session", "list")["sessions"]
        assert (session["role"], session["state"]) == ("server", "running")
        report = json.loads((fleet.folder / "reports" / f"{board}.json").read_text())
        assert report["status"]["simulated"] is True
        assert "gateway" in json.dumps(report)
    assert len(list((fleet.ca / "issued").glob("board*.pem"))) == 2

    keys = [(fleet.state(one) / "identities/gateway/key.pem").read_bytes() for one in fleet.boards]
    second = fleet.play()
    for board, key in zip(fleet.boards, keys, strict=True):
        assert (second[board]["changed"], second[board]["failed"]) == (0, 0), second
        assert (fleet.state(board) / "identities/gateway/key.pem").read_bytes() == key
        assert len(fleet.console(board, "session", "list")["sessions"]) == 1


def test_a_board_whose_chip_is_not_in_the_inventory_gets_nothing(fleet: Fleet) -> None:
    """By cryptography: its names are right, and its key is in a TPM as good as the others'."""
    one, other = fleet.boards
    fleet.chips[other], fleet.chips[one] = fleet.chips[one], fleet.chips[other]
    fleet.pretend(
        "plain", honest("plain"), tpmconsole_san=[PRETENDER_SAN], tpmconsole_chip="1" * 64
    )
    fleet.pretend("nameless", honest("nameless"), tpmconsole_san=[PRETENDER_SAN])
    _, failed = fleet.play_with_failures()
    assert failed.keys() == {one, other, "plain", "nameless"}
    for board in fleet.boards:
        verdicts = json.loads(failed[board]["stdout"])["verdicts"]
        assert [each["check"] for each in verdicts if each["verdict"] == "fail"] == ["inventory"]
    assert "a certificate request without anything that proves" in failed["plain"]["stdout"]
    assert "tpmconsole_chip is empty" in failed["nameless"]["msg"]
    assert not list((fleet.ca / "issued").glob("*.pem"))

    fleet.chips[other], fleet.chips[one] = fleet.chips[one], fleet.chips[other]
    fleet.pretenders.clear()
    fleet._make_inventory()
    fleet.play()
    assert len(list((fleet.ca / "issued").glob("board*.pem"))) == 2


# A lying board's request, and what its failure must name: what was asked, what the inventory says.
CA_USAGE = x509.KeyUsage(True, False, False, False, False, True, False, False, False)
BOTH = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
LIES = {
    "neighbour": (
        request("CN=honest1,O=Example", ["honest1.example.com"]),
        [
            ("subject", "CN=honest1,O=Example", "CN=neighbour,O=Example"),
            ("alternative names", "dns:honest1.example.com", "dns:neighbour.example.com"),
        ],
    ),
    "greedy": (
        request("CN=greedy,O=Example", ["broker.example.com", "greedy.example.com"]),
        [
            (
                "alternative names",
                "dns:broker.example.com, dns:greedy.example.com",
                "dns:greedy.example.com",
            )
        ],
    ),
    "wildcard": (
        request("CN=wildcard,O=Example", ["*.example.com"]),
        [("alternative names", "dns:*.example.com", "dns:wildcard.example.com")],
    ),
    "authority": (
        request(
            "CN=authority,O=Example",
            ["authority.example.com"],
            x509.BasicConstraints(ca=True, path_length=None),
            usage=CA_USAGE,
        ),
        [
            ("basic constraints", "CA:TRUE", "no CA"),
            ("key usages", "digitalSignature, keyCertSign", "digitalSignature"),
        ],
    ),
    "purpose": (
        request("CN=purpose,O=Example", ["purpose.example.com"], BOTH),
        [("extended key usages", "clientAuth, serverAuth", "serverAuth")],
    ),
    "extension": (
        request("CN=extension,O=Example", ["extension.example.com"], x509.OCSPNoCheck()),
        [("other extensions", "1.3.6.1.5.5.7.48.1.5", "nothing")],
    ),
}


def test_a_board_that_lies_gets_no_certificate_and_the_others_go_on(pretended: Fleet) -> None:
    for board in ("honest1", "honest2"):
        pretended.pretend(board, honest(board), tpmconsole_san=[PRETENDER_SAN])
    for board, (pem, _) in LIES.items():
        pretended.pretend(board, pem, tpmconsole_san=[PRETENDER_SAN])
    pretended.pretend("forger", forged("forger"), tpmconsole_san=[PRETENDER_SAN])

    recap, failed = pretended.play_with_failures(8)
    assert failed.keys() == {*LIES, "forger"}
    for board, (_, expected) in LIES.items():
        said = failed[board]
        found = {(one["what"], one["asked"], one["inventory"]) for one in said["differences"]}
        assert found == set(expected), said
        for what, asked, inventory in expected:
            assert (
                f"{what}: the board asks for {asked}, the inventory says {inventory}."
                in (said["msg"])
            )
        assert not (pretended.ca / "keys" / f"{board}.sha256").exists()
    assert "not signed with the key that it is for" in failed["forger"]["msg"]
    for board in ("honest1", "honest2"):
        assert recap[board]["failed"] == 0
        assert (pretended.folder / "reports" / f"{board}.json").exists()
    assert len((pretended.ca / "index.txt").read_text().splitlines()) == 2
    (certificate,) = certificates(pretended, "honest1")
    assert san_texts(general_names(certificate)) == ("dns:honest1.example.com",)

    again, failed = pretended.play_with_failures(8)
    assert failed.keys() == {*LIES, "forger"}
    assert [again[board]["changed"] for board in ("honest1", "honest2")] == [0, 0]
    assert len((pretended.ca / "index.txt").read_text().splitlines()) == 2


def test_a_host_keeps_its_first_key_until_the_operator_names_another(pretended: Fleet) -> None:
    def show(board: str, pem: str, accept: str = "") -> None:
        variables = {"tpmconsole_san": [PRETENDER_SAN], "tpmconsole_accept_new_key": accept}
        pretended.pretend(board, pem, **variables)

    def record(board: str) -> Path:
        return pretended.ca / "keys" / f"{board}.sha256"

    old, new, other = ("1" * 64, key_of(honest("any")), key_of(honest("any")))
    first = {board: honest(board) for board in ("swapped", "accepted", "named")}
    show("swapped", first["swapped"])
    show("accepted", first["accepted"])
    # Who names a host's key before its first run trusts nothing on sight.
    show("named", first["named"], key_of(first["named"]))
    show("posing", honest("posing"), other)
    # Hosts that had another key, where the operator named a third one, or none that can be; and one
    # whose record is damaged: it lets no key in.
    known = {"mistaken": old, "mistyped": old, "damaged": ""}
    record("any").parent.mkdir()
    for (board, sha256), accept in zip(known.items(), (new, new[:-1], ""), strict=True):
        record(board).write_text(sha256)
        show(board, honest(board), accept)

    _, failed = pretended.play_with_failures(4)
    assert failed.keys() == {"posing", *known}
    assert f"SHA-256 {other} (tpmconsole_accept_new_key)" in failed["posing"]["msg"]
    assert f"SHA-256 {old} ({record('mistaken')}) or SHA-256 {new}" in failed["mistaken"]["msg"]
    assert "not a SHA-256" in failed["mistyped"]["msg"]
    assert [record(board).read_text() for board in known] == list(known.values())
    for board, pem in first.items():
        assert record(board).read_text() == f"{key_of(pem)}\n"

    for board in ("posing", *known):
        del pretended.pretenders[board]
    second = {board: honest(board) for board in ("swapped", "accepted")}
    show("swapped", second["swapped"])
    show("accepted", second["accepted"], key_of(second["accepted"]).upper())
    recap, failed = pretended.play_with_failures()
    assert failed.keys() == {"swapped"}
    (one,) = failed["swapped"]["differences"]
    assert one == {
        "what": "public key",
        "asked": f"SHA-256 {key_of(second['swapped'])}",
        "inventory": f"SHA-256 {key_of(first['swapped'])} ({record('swapped')})",
    }
    assert one["asked"] in failed["swapped"]["msg"]
    assert one["inventory"] in failed["swapped"]["msg"]
    assert len(certificates(pretended, "swapped")) == 1
    # The request and its certificate; nothing of the others.
    assert (recap["accepted"]["changed"], recap["named"]["changed"]) == (2, 0)
    assert len(certificates(pretended, "accepted")) == 2

    # The new key needs no word of the operator again, and the first one would.
    show("accepted", second["accepted"])
    show("swapped", first["swapped"])
    show("named", honest("named"))
    recap, failed = pretended.play_with_failures()
    assert failed.keys() == {"named"}
    assert [recap[board]["changed"] for board in ("accepted", "swapped")] == [0, 0]


def test_a_board_cannot_change_the_inventory_by_facts_in_its_answers(pretended: Fleet) -> None:
    # A board's own Python answers for every module; Ansible takes facts from any of them.
    answer = {
        "changed": False,
        "rc": 0,
        "stdout": json.dumps({"changed": False, "pem": honest("broker")}),
        "ansible_facts": {
            "tpmconsole_subject": "CN=broker,O=Example",
            "tpmconsole_san": ["dns:broker.example.com"],
            "tpmconsole_noted": {},
        },
    }
    python = pretended.folder / "python"
    python.write_text(f"#!/bin/sh\ncat >/dev/null\ncat <<'END'\n{json.dumps(answer)}\nEND\n")
    python.chmod(0o755)
    pretended.pretend("honest", honest("honest"), tpmconsole_san=[PRETENDER_SAN])
    pretended.pretend(
        "hacked", "", tpmconsole_san=[PRETENDER_SAN], ansible_python_interpreter=str(python)
    )
    recap, failed = pretended.play_with_failures()
    assert failed.keys() == {"hacked"}
    message = failed["hacked"]["msg"]
    assert "asks for CN=broker,O=Example, the inventory says CN=hacked,O=Example" in message
    assert recap["honest"]["failed"] == 0
    assert not certificates(pretended, "hacked")


def test_a_certificate_says_what_the_inventory_says_to_the_letter(pretended: Fleet) -> None:
    odd = r"CN=gate\, way/O=evil\+OU=$HOME\\,OU=Ä,OU=B,serialNumber=12,UID=7,DC=example,DC=com"
    wanted = [
        RequestSpec("CN=one", (), "client"),
        RequestSpec(odd, ("uri:https://a.example/?x,DNS:broker", "ip:fe80::1"), "both"),
        RequestSpec(
            "CN=one+serialNumber=7, O=Example,C=DE,emailAddress=ops@example.com",
            ("dns:a", "email:ops@example.com", "dns:*.example.com"),
            "server",
        ),
    ]
    requests = [build(_key(), spec) for spec in wanted]
    for number, spec in enumerate(wanted):
        pretended.pretend(
            f"b{number}",
            _pem(requests[number]),
            tpmconsole_role=spec.role,
            tpmconsole_subject=spec.subject,
            tpmconsole_san=list(spec.san),
        )
    pretended.play()
    for number, (spec, asked) in enumerate(zip(wanted, requests, strict=True)):
        (certificate,) = certificates(pretended, f"b{number}")
        assert certificate.subject == asked.subject
        assert san_texts(general_names(certificate)) == spec.san
        assert {*(purposes(certificate) or ())} == {*(purposes(asked) or ())}
        assert certificate.extensions.get_extension_for_class(x509.KeyUsage).value == (
            signature_usage()
        )
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        assert not constraints.ca


def test_a_host_name_that_is_no_file_name_reaches_nothing(pretended: Fleet) -> None:
    mark = pretended.folder / "mark"
    odd = [
        *("../../escaped", "/escaped", "..", ".hidden", "-v", "a b", "a/b", "a\nb", "b\n"),
        *(
            f"$(touch {mark})",
            f"`touch {mark}`",
            f"a;touch {mark}",
            f"a|touch {mark}",
            "ä",
            "x" * 201,
        ),
        f"{{{{ lookup('pipe', 'touch {mark}') }}}}",
    ]
    for board in odd:
        pretended.pretend(board, honest("odd"))
    pretended.pretend("Plain-1.b", honest("Plain-1.b"), tpmconsole_san=[PRETENDER_SAN])
    before = {path for path in pretended.folder.rglob("*") if "tmp" not in path.parts}
    recap, failed = pretended.play_with_failures(8)
    assert recap["Plain-1.b"]["failed"] == 0
    assert len(failed) == len(odd), failed.keys()
    assert all("host name" in said["msg"] for said in failed.values()), failed
    made = {path for path in pretended.folder.rglob("*") if "tmp" not in path.parts} - before
    ours = {"keys", "index.txt.attr", "index.txt.old", "tmp"}
    ours |= {path.name for path in (pretended.ca / "issued").iterdir()}
    strangers = {
        path.name
        for path in made
        if path.name not in ours and not path.name.startswith(("Plain-1.b", "answer-"))
    }
    assert not strangers
    assert not mark.exists()
