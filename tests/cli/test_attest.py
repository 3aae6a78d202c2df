"""The attested way on the command line: from the board to its CA and back, by files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.shell import QuickShell, Shell

from tpmconsole.board.enrolment import DISCLOSURE
from tpmconsole.x509.demo_ca import DemoCa

SUBJECT = ("--subject", "CN=gateway,O=Example", "--san", "dns:gateway")


@pytest.fixture
def quick(state: Path) -> Shell:
    return QuickShell(state)


@pytest.fixture
def attested(quick: Shell, tmp_path: Path) -> Path:
    """A board has handed its attested request over."""
    out = tmp_path / "gateway.csr"
    quick.simulate("create", "gateway")
    quick.simulate("request", "gateway", *SUBJECT, "--attest", "--out", str(out))
    return out


def makers(shell: Shell) -> str:
    return str(shell.state / "simulator" / "maker")


def inventory(shell: Shell, attested: Path, name: str = "gateway") -> str:
    path = attested.with_suffix(".csv")
    data = json.loads(
        shell("attest", "check", str(attested), "--makers", makers(shell), "--json").stdout
    )
    path.write_text(f"{data['endorsement']},{name}\n")
    return str(path)


def test_what_it_tells_is_said_before_it_is_written(quick: Shell, tmp_path: Path) -> None:
    quick.simulate("create", "gateway")
    done = quick("--simulate", "request", "gateway", *SUBJECT, "--attest", "--out", "/no/where")
    assert done.returncode == 1
    assert done.stdout.startswith(DISCLOSURE)
    out = tmp_path / "gateway.csr"
    answer = quick.simulate("request", "gateway", *SUBJECT, "--attest", "--out", str(out))
    assert answer["tells"] == DISCLOSURE
    assert answer["chip"].startswith("SIMULATED TPM")
    assert len(answer["endorsement"]) == 2
    assert out.read_text() == answer["pem"]
    again = quick.simulate("request", "gateway", *SUBJECT, "--attest", "--if-missing")
    assert (again["changed"], again["pem"]) == (False, answer["pem"])
    plain = quick.simulate("request", "gateway", *SUBJECT)
    assert "TPM ATTESTED KEY" not in plain["pem"]


def test_the_way_to_the_ca_and_back(quick: Shell, attested: Path, tmp_path: Path) -> None:
    known = inventory(quick, attested)
    evidence = (str(attested), "--makers", makers(quick), "--inventory", known)
    done = quick("attest", "check", *evidence)
    assert done.returncode == 0, done.stdout
    assert "FAIL" not in done.stdout + done.stderr
    certificate, root = issued(attested, tmp_path)
    sealed = tmp_path / "gateway.tpm"
    done = quick("attest", "seal", *evidence, str(certificate), "--out", str(sealed))
    assert done.returncode == 0, done.stdout
    assert b"BEGIN CERTIFICATE" not in sealed.read_bytes()
    answer = quick.simulate("import", "gateway", str(sealed), "--trust", str(root))
    assert answer["installed"]
    assert answer["verdicts"][0]["check"] == "sealed"
    [reported] = quick.simulate("report")["certificates"]
    assert reported["attested"]["chip"].startswith("SIMULATED TPM")
    # It says nothing of another certificate, which anybody could have handed in.
    other, _ = issued(attested, tmp_path)
    assert quick.simulate("import", "gateway", str(other))["changed"]
    [reported] = quick.simulate("report")["certificates"]
    assert "attested" not in reported


def issued(attested: Path, folder: Path) -> tuple[Path, Path]:
    """What any CA makes of it, which reads the request alone."""
    from cryptography import x509

    certificate, root = folder / "certificate.pem", folder / "root.pem"
    chain, trust = DemoCa(folder / "ca").sign(x509.load_pem_x509_csr(attested.read_bytes()))
    certificate.write_bytes(chain)
    root.write_bytes(trust)
    return certificate, root


def test_a_verdict_that_fails_is_exit_1(quick: Shell, attested: Path, tmp_path: Path) -> None:
    evidence = (str(attested), "--makers", makers(quick))
    other = inventory(quick, attested, "another")
    done = quick("attest", "check", *evidence, "--inventory", other, "--json")
    assert done.returncode == 1
    verdicts = {one["check"]: one["verdict"] for one in json.loads(done.stdout)["verdicts"]}
    assert verdicts["name"] == "fail"
    certificate, _ = issued(attested, tmp_path)
    sealed = tmp_path / "sealed"
    error = quick.refuse(
        1,
        *("attest", "seal", *evidence, "--inventory", other, str(certificate)),
        *("--out", str(sealed)),
    )
    assert error["title"] == "Request refused"
    assert not sealed.exists()


def test_a_certificate_for_another_key_is_not_sealed(
    quick: Shell, attested: Path, tmp_path: Path
) -> None:
    _, root = issued(attested, tmp_path)
    evidence = (str(attested), "--makers", makers(quick))
    out = ("--out", str(tmp_path / "sealed"))
    assert quick.refuse(1, "attest", "seal", *evidence, str(root), *out)["title"] == "Not sealed"


def test_a_folder_without_makers(quick: Shell, attested: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "README.pem").write_text("nothing")
    assert quick.refuse(2, "attest", "check", str(attested), "--makers", str(empty))["title"] == (
        "No makers"
    )
    quick.refuse(1, "attest", "check", str(attested), "--makers", str(tmp_path / "missing"))
    # One bad file ends nothing, and is named.
    for path in Path(makers(quick)).glob("*cert.pem"):
        (empty / path.name).write_bytes(path.read_bytes())
    done = quick("attest", "check", str(attested), "--makers", str(empty), "--json")
    assert done.returncode == 0
    last = json.loads(done.stdout)["verdicts"][-1]
    assert (last["check"], last["verdict"]) == ("makers", "warn")
    assert "README.pem" in last["text"]


def test_a_challenge(quick: Shell, attested: Path, tmp_path: Path) -> None:
    question, kept, answer = (tmp_path / name for name in ("question", "kept", "answer"))
    keep = ("--keep", str(kept))
    done = quick(
        *("attest", "challenge", str(attested), "--makers", makers(quick)),
        *("--out", str(question), *keep),
    )
    assert done.returncode == 0, done.stderr
    assert kept.stat().st_mode & 0o077 == 0
    quick.simulate("attest", "answer", "gateway", str(question), "--out", str(answer))
    verify = ("attest", "verify", str(attested), str(answer), *keep)
    assert quick(*verify).returncode == 0
    assert quick.refuse(1, *verify)["title"] == "No challenge"


def test_the_demo_ca_judges_and_seals(quick: Shell, attested: Path) -> None:
    answer = quick.simulate("demo-ca", "sign", "gateway")
    assert answer["verdicts"][0]["check"] == "sealed"
    # A request that lies about its key gets nothing.
    path = quick.state / "identities" / "gateway" / "request.pem"
    quick.simulate("create", "other")
    quick.simulate("request", "other", "--subject", "CN=other", "--attest")
    other = (path.parents[1] / "other" / "request.pem").read_text()
    head, _, tail = other.partition("-----BEGIN TPM ATTESTED KEY")
    own = attested.read_text().partition("-----BEGIN TPM ATTESTED KEY")[0]
    assert head != own
    path.write_text(own + "-----BEGIN TPM ATTESTED KEY" + tail)
    error = quick.refuse(1, "--simulate", "demo-ca", "sign", "gateway")
    assert error["title"] == "Request refused"
    assert error["cause"].startswith("key: ")


def test_a_key_with_a_password_opens_with_it(quick: Shell, tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("secret")
    password.chmod(0o600)
    given = ("--password-file", str(password))
    quick.simulate("create", "safe", *given)
    quick.simulate("request", "safe", "--subject", "CN=safe", "--attest", *given)
    error = quick.refuse(4, "--simulate", "demo-ca", "sign", "safe")
    assert error["needs"] == "key"
    answer = quick.simulate("demo-ca", "sign", "safe", *given)
    assert answer["verdicts"][0]["check"] == "sealed"


def test_a_board_whose_chip_has_no_certificates(quick: Shell) -> None:
    from tpmconsole.system.files import make_private_folder

    make_private_folder(quick.state / "simulator" / "tpm")
    quick.simulate("create", "gateway")
    error = quick.refuse(4, "--simulate", "request", "gateway", *SUBJECT, "--attest")
    assert error["title"] == "No endorsement certificate"
    # The plain request was made all the same: that is what can be done.
    assert (quick.state / "identities" / "gateway" / "request.pem").exists()


_NO_TSS = """
import sys
class No:
    def find_spec(self, name, *_):
        if name.partition(".")[0] == "tpm2_pytss":
            raise ImportError("a PC without a TSS")
sys.meta_path.insert(0, No())
from tpmconsole.cli.main import run
sys.exit(run(sys.argv[1:], lambda _: 9))
"""


def test_the_ca_s_side_runs_where_there_is_no_tss(
    quick: Shell, attested: Path, tmp_path: Path
) -> None:
    certificate, _ = issued(attested, tmp_path)
    evidence: list[Any] = [str(attested), "--makers", makers(quick)]
    out = ["--out", str(tmp_path / "out")]
    for words in (
        ["check", *evidence],
        ["seal", *evidence, str(certificate), *out],
        ["challenge", *evidence, *out, "--keep", str(tmp_path / "kept")],
    ):
        done = subprocess.run(
            [sys.executable, "-c", _NO_TSS, "--state", str(tmp_path / "none"), "attest", *words],
            capture_output=True,
            text=True,
            env={"PATH": os.environ["PATH"]},
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stdout + done.stderr
