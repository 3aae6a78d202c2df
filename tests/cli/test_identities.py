"""Requests, certificates and trust anchors by commands, with a CA made by openssl."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.authority import Authority
from support.passwords import write_password
from support.shell import QuickShell, Shell

from tpmconsole.board import Board
from tpmconsole.board.requests import last_spec
from tpmconsole.identity.store import IdentityStore
from tpmconsole.settings import Settings
from tpmconsole.system.hardware import host_name, serial_number
from tpmconsole.tpm.simulator import Simulator


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    shell = QuickShell(tmp_path_factory.mktemp("p"))
    yield shell
    Simulator(shell.state / "simulator").stop()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca") / "one")


def _folder(shell: Shell, name: str) -> Path:
    return shell.state / "identities" / name


def _audit(shell: Shell, name: str) -> list[dict[str, Any]]:
    lines = (shell.state / "audit.jsonl").read_text().splitlines()
    return [one for one in map(json.loads, lines) if one.get("identity") == name]


def _verdicts(answer: dict[str, Any]) -> dict[str, str]:
    return {one["check"]: one["verdict"] for one in answer["verdicts"]}


@pytest.mark.parametrize("algorithm", ["ec-p256", "ec-p384", "rsa-2048"])
def test_a_request_signed_in_the_tpm_to_an_installed_certificate(
    shell: Shell, authority: Authority, algorithm: str
) -> None:
    name = f"walk-{algorithm}"
    out = shell.state / "out.csr"
    shell.simulate("create", name, "--algorithm", algorithm)
    asked = ("request", name, "--subject", "CN=gw,O=Example", "--san", "dns:gw.local")
    shell.simulate(*asked, "--role", "both", "--out", str(out))
    assert "verify OK" in authority.run("req", "-in", str(out), "-verify", "-noout")
    assert out.stat().st_mode & 0o777 == 0o644  # so that anyone can take it to the CA

    leaf = authority.sign(out)
    refused = shell("--simulate", "import", name, str(leaf), "--json")
    assert refused.returncode == 1
    assert _verdicts(json.loads(refused.stdout))["trust"] == "fail"
    done = shell.simulate("import", name, str(leaf), "--trust", str(authority.root))
    assert set(_verdicts(done).values()) == {"ok"}
    assert {"key-proof", "request"} <= _verdicts(done).keys()
    (anchor,) = done["trust_added"]
    assert anchor["subject"] == "CN=CA"
    lines = _audit(shell, name)
    assert [(line["action"], line["result"]) for line in lines] == [
        ("create", "done"),
        ("request", "done"),
        ("import", "refused: trust chain"),
        ("import", "done"),
    ]
    assert len(lines[1]["key"]) == 64
    assert lines[3]["trust"] == anchor["fingerprint"]


# tpm2-openssl makes restricted keys of this kind, which sign nothing that comes from outside.
_MAKE_PSS_KEY = """
import sys
from tpm2_pytss import ESAPI, TPM2_ALG, TPM2B_PUBLIC
from tpm2_pytss.tsskey import TSSPrivKey
area = TPM2B_PUBLIC.parse("rsa2048:rsapss-sha256", objectAttributes="userwithauth|sign|fixedtpm"
    "|fixedparent|sensitivedataorigin").publicArea
area.parameters.rsaDetail.symmetric.algorithm = TPM2_ALG.NULL
with ESAPI(sys.argv[1]) as tpm:
    sys.stdout.buffer.write(TSSPrivKey.create(tpm, area).to_pem())
"""


def test_a_key_that_signs_with_pss_only_asks_and_proves_itself_so(
    shell: Shell, authority: Authority
) -> None:
    connection = Simulator(shell.state / "simulator").ensure()
    made = subprocess.run(
        [sys.executable, "-c", _MAKE_PSS_KEY, connection.tcti],
        env={**os.environ, **connection.environment},
        check=False,
        capture_output=True,
    )
    assert made.returncode == 0, made.stderr
    store = IdentityStore(shell.state / "identities")
    store.create("pss", key_pem=made.stdout, handle=None, algorithm="rsa-2048", auth="none")
    shell.simulate("request", "pss", "--subject", "CN=pss")
    request = _folder(shell, "pss") / "request.pem"
    said = authority.run("req", "-in", str(request), "-verify", "-noout", "-text")
    assert "verify OK" in said
    assert "Signature Algorithm: rsassaPss" in said
    leaf = str(authority.sign(request))
    answer = shell.simulate("import", "pss", leaf, "--trust", str(authority.root))
    assert _verdicts(answer)["key-proof"] == "ok"


def test_trust_anchors_are_added_shown_and_removed(
    shell: Shell, authority: Authority, tmp_path: Path
) -> None:
    shell.simulate("create", "trust")
    shell.simulate("request", "trust", "--subject", "CN=a")
    request = _folder(shell, "trust") / "request.pem"
    first = authority.sign(request)
    shell.simulate("import", "trust", str(first), "--trust", str(authority.root))
    other = Authority(tmp_path / "two", "Other CA")
    second = other.sign(request, days=100)
    shell.simulate("import", "trust", str(second), "--trust", str(other.root))
    anchors = shell.simulate("trust", "trust")["anchors"]
    assert [one["subject"] for one in anchors] == ["CN=CA", "CN=Other CA"]

    remove = ("--simulate", "trust", "trust", "--remove", anchors[0]["fingerprint"])
    assert shell.refuse(2, *remove)["remedy"] == "add --yes"
    assert len(shell.simulate("trust", "trust")["anchors"]) == 2
    assert shell(*remove, "--yes").returncode == 0
    shell.refuse(2, *remove)
    add = ("--simulate", "trust", "trust", "--add", str(authority.root))
    assert "SHA-256" in shell.refuse(2, *add)["cause"]
    assert shell(*add, "--yes").returncode == 0
    assert len(shell.simulate("trust", "trust")["anchors"]) == 2
    assert shell(*add).returncode == 0  # it is there: nothing to ask about
    assert shell(*remove, "--yes").returncode == 0
    undone = shell.simulate("import", "trust", "--undo")
    assert undone["certificate"]["issuer"] == "CN=CA"
    # A CA that is no longer trusted stays so after going back.
    assert [one["subject"] for one in shell.simulate("trust", "trust")["anchors"]] == [
        "CN=Other CA"
    ]
    error = shell.refuse(1, "--simulate", "import", "trust", "--undo")
    assert error["title"] == "Nothing to undo"


def test_renewal_with_the_same_key_and_with_a_new_one(shell: Shell, authority: Authority) -> None:
    shell.simulate("create", "renew")
    assert shell.refuse(1, "--simulate", "renew", "renew")["title"] == "Nothing to renew"
    asked = ("--subject", r"CN=a\,b,O=Example", "--san", "uri:urn:a:b", "--role", "server")
    shell.simulate("request", "renew", *asked)
    request = _folder(shell, "renew") / "request.pem"
    leaf = authority.sign(request, days=20)
    answer = shell.simulate("import", "renew", str(leaf), "--trust", str(authority.root))
    assert _verdicts(answer)["expiry"] == "warn"

    before = authority.run("req", "-in", str(request), "-noout", "-text")
    shell.simulate("request", "renew", "--subject", "CN=typo")  # nothing came of it
    again = shell.simulate("renew", "renew")
    assert (again["subject"], again["san"], again["role"]) == (asked[1], [asked[3]], asked[5])
    assert again["pem"] == request.read_text()
    after = authority.run("req", "-in", str(request), "-noout", "-text")
    assert before.partition("Signature Algorithm")[0] == after.partition("Signature Algorithm")[0]
    answer = shell.simulate("import", "renew", str(authority.sign(request)))
    assert _verdicts(answer)["renewal"] == "ok"

    fresh = shell.simulate("renew", "renew", "--new-key", "renew-2")
    assert fresh["identity"] == "renew-2"
    new_request = _folder(shell, "renew-2") / "request.pem"
    assert "urn:a:b" in authority.run("req", "-in", str(new_request), "-noout", "-text")

    # As a power cut leaves it after the key: the form and renew still know the request.
    key = (_folder(shell, "renew-2") / "key.pem").read_bytes()
    new_request.unlink()
    (_folder(shell, "renew-2") / "trust.pem").unlink()
    board = Board(Settings(state=shell.state, simulate=True))
    wanted = last_spec(board, "renew-2")
    board.close()
    assert wanted is not None
    assert (wanted.subject, wanted.san) == (r"CN=a\,b,O=Example", ("uri:urn:a:b",))
    shell.simulate("renew", "renew", "--new-key", "renew-2")
    assert (_folder(shell, "renew-2") / "key.pem").read_bytes() == key
    again = shell.refuse(1, "--simulate", "renew", "renew", "--new-key", "renew-2")
    assert again["title"] == "Name is taken"
    assert shell.simulate("import", "renew-2", str(authority.sign(new_request)))["installed"]


def test_a_key_with_a_password_proves_itself_where_it_is_given(
    shell: Shell, authority: Authority, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    write_password(secret, "correct horse\n")
    password = ("--password-file", str(secret))
    shell.simulate("create", "locked", *password)
    shell.simulate("request", "locked", "--subject", "CN=l", *password)
    leaf = str(authority.sign(_folder(shell, "locked") / "request.pem"))
    trusted = ("import", "locked", leaf, "--trust", str(authority.root), "--check")
    assert _verdicts(shell.simulate(*trusted))["key-proof"] == "warn"
    assert _verdicts(shell.simulate(*trusted, *password))["key-proof"] == "ok"
    write_password(secret, "wrong\n")
    shell.refuse(4, "--simulate", *trusted, *password)


def test_pkcs12_is_explained_and_standard_input_is_read(shell: Shell, authority: Authority) -> None:
    shell.simulate("create", "forms")
    done = shell("--simulate", "request", "forms", "--subject", "CN=f", "--san", "dns:f.local")
    assert done.stdout.startswith("forms: asks for CN=f, dns:f.local; role client")
    leaf = authority.sign(_folder(shell, "forms") / "request.pem")
    authority.run(
        *("pkcs12", "-export", "-in", "ca.pem", "-inkey", "ca.key", "-out", "ca.p12"),
        *("-passout", "pass:x"),
    )
    error = shell.refuse(1, "--simulate", "import", "forms", str(authority.folder / "ca.p12"))
    assert "PKCS #12" in error["cause"]
    assert "private key" in error["cause"]
    done = shell(
        *("--simulate", "import", "forms", "-", "--trust", str(authority.root)),
        text=leaf.read_text(),
    )
    assert done.returncode == 0
    assert "trusted from now on: CN=CA, SHA-256 " in done.stdout


@pytest.mark.parametrize("file", ["certificate.pem", "request.pem", "trust.pem"])
def test_what_is_damaged_keeps_nothing_new_out(
    shell: Shell, authority: Authority, file: str
) -> None:
    name = f"damaged-{file.partition('.')[0]}"
    shell.simulate("create", name)
    shell.simulate("request", name, "--subject", "CN=d")
    leaf = str(authority.sign(_folder(shell, name) / "request.pem"))
    shell.simulate("import", name, leaf, "--trust", str(authority.root))
    (_folder(shell, name) / file).write_text("not any more")
    assert shell.simulate("import", name, leaf, "--trust", str(authority.root))["installed"]


def test_a_template_of_the_fleet_fills_what_is_not_said(shell: Shell) -> None:
    shell.simulate("create", "fleet")
    usual = shell.simulate("request", "fleet", "--preview")["asks"]
    assert ["CN", serial_number() or host_name()] in usual
    settings = shell.state / "tpmconsole.toml"
    try:
        settings.write_text(
            '[request]\nsubject = "CN={hostname},O=Fleet"\n'
            'san = ["dns:{hostname}.example.com"]\nrole = "server"\n'
        )
        asks = shell.simulate("request", "fleet", "--preview")["asks"]
        assert ["O", "Fleet"] in asks
        assert ["SAN", f"dns:{host_name()}.example.com"] in asks
        assert ["Extended usage", "serverAuth"] in asks
        assert ["Signed by", "ECDSA with SHA-256"] in asks
        assert not (_folder(shell, "fleet") / "request.pem").exists()
        asks = shell.simulate("request", "fleet", "--preview", "--role", "client")["asks"]
        assert ["Extended usage", "clientAuth"] in asks
        settings.write_text('[request]\nstring_type = "printable"\n')
        preview = ("request", "fleet", "--subject", "CN=a,O=Fleet", "--preview")
        assert ["String type", "PrintableString"] in shell.simulate(*preview)["asks"]
        asks = shell.simulate(*preview, "--string-type", "utf8")["asks"]
        assert "String type" not in dict(asks)
        for value in ('"latin1"', "1"):
            settings.write_text(f"[request]\nstring_type = {value}\n")
            assert "string_type" in shell.refuse(2, "--simulate", *preview)["cause"]
        settings.write_text('[request]\nsubject = "CN=a_b"\nstring_type = "printable"\n')
        error = shell.refuse(2, "--simulate", "request", "fleet", "--preview")
        assert "not allowed in PrintableString" in error["cause"]
        settings.write_text('[request]\nsubject = "CN={colour}"\n')
        error = shell.refuse(2, "--simulate", "request", "fleet")
        assert "{colour}" in error["cause"]
        settings.write_text("warn_days = -1\n")
        assert "warn_days" in shell.refuse(2, "status")["cause"]
    finally:
        settings.unlink()
