"""A whole board on a simulated TPM: well at first, then with one mistake after the other."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.shell import Shell
from support.waiting import assert_nothing_left, wait_until

from tpmconsole import clock
from tpmconsole.board import Board
from tpmconsole.board.certificates import demo_sign
from tpmconsole.board.doctor import Finding, Surroundings, examine, worst
from tpmconsole.board.doctor.probes import PROBES
from tpmconsole.board.keys import create_key
from tpmconsole.board.lines import finding_json
from tpmconsole.board.report import make_report
from tpmconsole.board.requests import make_request
from tpmconsole.board.sessions import start_session, stop_session
from tpmconsole.cli.next_steps import say
from tpmconsole.session.spec import SessionSpec
from tpmconsole.settings import Settings
from tpmconsole.tpm.auth import Auth
from tpmconsole.tpm.model import Algorithm
from tpmconsole.tpm.simulator import Simulator
from tpmconsole.x509.request_spec import RequestSpec

PASSWORD = b"only-this-key-knows"


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="tc-", dir="/tmp"))
    try:
        yield folder
        assert_nothing_left(folder)
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def board(folder: Path) -> Iterator[Board]:
    """Two identities that are ready, one with a password, and a server with a client."""
    board = Board(Settings(state=folder / "s", simulate=True))
    for name, password in (("gateway", None), ("pump", None), ("vault", PASSWORD)):
        create_key(board, name, Algorithm.EC_P256, Auth(password))
    for name in ("gateway", "pump"):
        make_request(board, name, RequestSpec(f"CN={name}", ("dns:localhost",), "both"))
        demo_sign(board, name)
    server = start_session(board, SessionSpec("server", "gateway", "localhost", 0))
    port = int(server.address.rpartition(":")[2])
    client = start_session(board, SessionSpec("client", "pump", "localhost", port, interval_s=60))
    try:
        yield board
    finally:
        for session in (client, server):
            stop_session(board, session.id)
        board.close(leave=True)
        Simulator(board.settings.simulator).stop()


def look(
    board: Board, *names: str, environment: Mapping[str, str] | None = None, **around: Any
) -> list[Finding]:
    """Some probes, those that find the TPM among them, in these surroundings."""
    probes = [one for one in PROBES if one.name in ("tcti", "tpm", *names)]
    where = Surroundings(environment=environment or {}, **around)
    found = examine(board, around=where, probes=probes)
    return [one for one in found if one.name in names]


def test_a_healthy_board_is_looked_at_in_less_than_five_seconds(board: Board) -> None:
    began = time.monotonic()
    found = list(examine(board, around=Surroundings(environment={"TERM": "vt220"})))
    assert time.monotonic() - began < 5
    assert worst(found) in ("ok", "warn")
    assert [one.name for one in found if one.state == "warn"] in ([], ["openssl.cnf"])
    assert {one.name for one in found} == {one.name for one in PROBES}
    by_name = {(one.name, one.text.split(":")[0]): one for one in found}
    for name in ("gateway", "pump"):
        for probe in ("identity", "signature", "certificate", "trust"):
            assert by_name[probe, name].state == "ok"
            assert by_name[probe, name].evidence
    # A password is never guessed, and no try is spent.
    assert by_name["signature", "vault"].state == "skipped"
    lockout = board.status().lockout
    assert lockout
    assert lockout.failed_tries == 0
    # A session that talks proves that its server can be reached.
    (tls,) = [one for one in found if one.name == "tls"]
    assert "client-1 is connected to it (TLSv1.3)" in tls.text
    assert json.loads(json.dumps(finding_json(found[0]))).keys() == {
        *("probe", "state", "finding", "evidence", "remedy")
    }


def test_a_server_and_the_wrong_trust_anchors_for_it(board: Board, monkeypatch: Any) -> None:
    from support.pki import ca

    (server,) = [one for one in board.sessions.list() if one.role == "server"]
    address = ("localhost", int(server.address.rpartition(":")[2]))
    wanted = [one for one in PROBES if one.name in ("dns", "tcp", "tls")]
    found = list(examine(board, servers=[address], probes=wanted))
    assert [one.state for one in found] == ["ok"] * 4
    assert "trusted" in found[-1].text
    monkeypatch.setattr(
        "tpmconsole.board.doctor.network._anchors", lambda *_: ca("another").pem.decode()
    )
    probes = [one for one in PROBES if one.name in ("dns", "tcp", "tls")]
    *_, tls = examine(board, servers=[address], probes=probes)
    assert tls.state == "fail"
    assert "not among our trust anchors" in tls.text


def test_certificates_that_were_swapped(board: Board) -> None:
    ours, theirs = (board.identities.get(name).certificate for name in ("gateway", "pump"))
    before = ours.read_bytes(), theirs.read_bytes()
    ours.write_bytes(before[1])
    theirs.write_bytes(before[0])
    try:
        found = look(board, "certificate", "trust")
    finally:
        ours.write_bytes(before[0])
        theirs.write_bytes(before[1])
    swapped = [one for one in found if one.name == "certificate"]
    assert [one.state for one in swapped] == ["fail", "fail"]
    assert "belongs to the key of 'pump': the two were swapped" in swapped[0].text
    assert [one.state for one in found if one.name == "trust"] == ["skipped", "skipped"]


def test_a_clock_of_1970_is_named_and_no_date_is(board: Board, monkeypatch: Any) -> None:
    monkeypatch.setattr(clock, "now", lambda: datetime(1970, 1, 1, tzinfo=UTC))
    found = look(board, "certificate", "clock")
    assert {one.state for one in found} == {"fail"}
    assert all("clock not plausible" in one.text for one in found)
    assert not any("not valid before" in one.text for one in found)


def test_a_certificate_that_has_expired(board: Board, monkeypatch: Any) -> None:
    later = datetime.now(UTC) + timedelta(days=200)
    monkeypatch.setattr(clock, "now", lambda: later)
    (gateway, _) = look(board, "certificate")
    assert (gateway.state, "expired" in gateway.text) == ("fail", True)


def test_a_key_of_another_tpm_and_a_damaged_one(board: Board) -> None:
    key = board.identities.get("pump").folder / "key.pem"
    before = key.read_bytes()
    for data, text in (
        (_tampered(before), "another TPM"),
        (b"-----BEGIN TSS2 PRIVATE KEY-----\n", "truncated"),
    ):
        key.write_bytes(data)
        try:
            found = look(board, "signature")
        finally:
            key.write_bytes(before)
        (pump,) = [one for one in found if one.text.startswith("pump")]
        assert pump.state == "fail"
        assert text in pump.text


def _tampered(pem: bytes) -> bytes:
    """A key file whose private part is another's: its last byte differs."""
    import base64

    head, *body, foot = pem.decode().strip().splitlines()
    der = bytearray(base64.b64decode("".join(body)))
    der[-1] ^= 1
    text = base64.b64encode(bytes(der)).decode()
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    return "\n".join([head, *lines, foot, ""]).encode()


# OpenSSL

ACTIVE = """\
openssl_conf = openssl_init
[openssl_init]
providers = provider_sect
{query}
[provider_sect]
default = default_sect
tpm2 = tpm2_sect
[default_sect]
{default}activate = 1
[tpm2_sect]
activate = 1
[algorithms]
default_properties = {properties}
"""


@pytest.mark.parametrize(
    ("text", "state", "finding"),
    [
        ("[req]\nprompt = no\n", "warn", "tpm2 is not active for openssl, curl"),
        (
            ACTIVE.format(query="", default="# ", properties=""),
            "fail",
            "activates tpm2 but not default",
        ),
        (
            ACTIVE.format(query="", default="", properties=""),
            "warn",
            "activates tpm2-openssl 1.1.1 for every program: TLS with a TPM key fails",
        ),
        (
            ACTIVE.format(
                query="alg_section = algorithms", default="", properties="?provider=tpm2"
            ),
            "warn",
            "TLS 1.2 with a TPM key fails",
        ),
        (
            ACTIVE.format(
                query="alg_section = algorithms", default="", properties="?tpm2.signature=yes"
            ),
            "warn",
            "works only through tpm2-abrmd",
        ),
    ],
)
def test_what_openssl_cnf_does_to_other_programs(
    board: Board, tmp_path: Path, text: str, state: str, finding: str
) -> None:
    (tmp_path / "openssl.cnf").write_text(text)
    probes = [one for one in PROBES if one.name in ("tcti", "tpm", "module", "openssl.cnf")]
    around = Surroundings(environment={}, openssl_directory=tmp_path)
    *_, module, found = examine(board, around=around, probes=probes)
    if "tpm2-openssl 1." not in module.text or "1.1" not in module.text:
        pytest.skip("this board's module is not the old one")
    assert found.state == state
    assert finding in found.text
    assert str(tmp_path) in " ".join((found.text, say(found.remedy), *found.evidence))


def test_an_included_configuration_counts(tmp_path: Path) -> None:
    from tpmconsole.system.openssl_conf import read

    (tmp_path / "tpm2.cnf").write_text(ACTIVE.format(query="", default="", properties=""))
    (tmp_path / "openssl.cnf").write_text(".include tpm2.cnf\n")
    assert read(tmp_path / "openssl.cnf").active == ("default", "tpm2")
    (tmp_path / "loop.cnf").write_text(".include loop.cnf\n")
    assert read(tmp_path / "loop.cnf").active == ()


def test_the_module_is_absent(board: Board, tmp_path: Path) -> None:
    """A real failure: OpenSSL is told to look for its modules in an empty folder."""
    before = os.environ.get("OPENSSL_MODULES")
    os.environ["OPENSSL_MODULES"] = str(tmp_path)
    try:
        (found,) = look(board, "module", root=tmp_path)
    finally:
        os.environ.pop("OPENSSL_MODULES")
        if before is not None:
            os.environ["OPENSSL_MODULES"] = before
    assert found.state == "warn"
    assert "not installed" in found.text
    assert "the bridge signs instead" in found.text
    assert "1.2" in say(found.remedy)


def test_a_configuration_for_every_program_is_not_for_ours(board: Board, tmp_path: Path) -> None:
    """Otherwise each of our processes would open the TPM, and write about it on the screen."""
    configuration = tmp_path / "openssl.cnf"
    configuration.write_text(ACTIVE.format(query="", default="", properties=""))
    shell = Shell(board.settings.state)
    shell.environment["OPENSSL_CONF"] = str(configuration)
    done = shell("--simulate", "doctor", "--json")
    assert done.stderr == ""
    found = {one["probe"]: one for one in json.loads(done.stdout)["findings"]}
    assert str(configuration) in found["openssl.cnf"]["finding"]
    assert "OPENSSL_CONF" in found["environment"]["finding"]
    assert found["signature"]["state"] != "fail"


def test_variables_that_are_left_over(board: Board, tmp_path: Path) -> None:
    secret = "the-parents-password"
    stale = {
        "TPM2OPENSSL_TCTI": "swtpm:port=2321",
        "TPM2OPENSSL_PARENT_AUTH": secret,
        "OPENSSL_CONF": str(tmp_path / "gone.cnf"),
        "TPM2TOOLS_TCTI": "device:/dev/tpm9",
    }
    configuration, environment = look(board, "openssl.cnf", "environment", environment=stale)
    assert configuration.state == "fail"
    assert "gone.cnf" in configuration.text
    assert environment.state == "warn"
    assert environment.remedy == (
        "run: unset OPENSSL_CONF TPM2OPENSSL_PARENT_AUTH TPM2OPENSSL_TCTI"
    )
    assert "costs an attempt" in environment.text
    assert any("device:/dev/tpm9" in line for line in environment.evidence)
    assert secret not in str(environment)


def test_another_program_that_uses_the_tpm_is_named(tmp_path: Path) -> None:
    code = "import ctypes; ctypes.CDLL('libtss2-esys.so.0'); print(flush=True); input()"
    # Its parent ends, so that it does not count as one of our own processes.
    script = f'"{sys.executable}" -c "{code}" <&3 & echo $!'
    with subprocess.Popen(
        ["/bin/sh", "-c", f"exec 3<&0; {script}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as shell:
        assert shell.stdin is not None
        assert shell.stdout is not None
        pid = int(shell.stdout.readline())
        assert shell.stdout.readline() == b"\n"
        shell.wait()
        probes = [one for one in PROBES if one.name == "other users"]
        (found,) = examine(Board(Settings(tmp_path)), probes=probes)
        shell.stdin.write(b"\n")
    (line,) = [one for one in found.evidence if f"process {pid} of" in one]
    assert "libtss2-esys" in line


def test_a_tpm_that_hangs_is_told_by_the_probes_own_deadline(board: Board) -> None:
    pid = board.simulator.status().pids["swtpm"]
    probes: Sequence[Any] = [
        replace(one, deadline_s=0.3) if one.name == "tpm" else one
        for one in PROBES
        if one.name in ("tcti", "tpm", "self-test", "room", "signature", "disk")
    ]
    os.kill(pid, signal.SIGSTOP)
    try:
        found = {one.name: one for one in examine(board, probes=probes)}
    finally:
        os.kill(pid, signal.SIGCONT)
    assert "no answer within 0.3 s: the TPM" in found["tpm"].text
    skipped = [found[name].state for name in ("self-test", "room", "signature")]
    assert skipped == ["skipped"] * 3
    assert found["disk"].state == "ok"
    wait_until(lambda: board.tpm.activity is None, "the question to be answered")


def test_the_report_has_it_all_and_no_secret(board: Board) -> None:
    log = board.settings.log
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as file:
        file.write(f"password={PASSWORD.decode()}\nblank \x1b[2J\u202e end\n")
        file.write("-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49\n-----END PRIVATE KEY-----\n")
    report = make_report(board)
    for part in ("doctor", "status", "keys", "certificates", "sessions", "changes", "log"):
        assert f"\n== {part}\n" in report.text
        assert report.data[part]
    for secret in (PASSWORD.decode(), "MIGHAgEAMBMGByqGSM49"):
        assert secret not in report.text
        assert secret not in json.dumps(report.data)
    assert all(line.isprintable() for line in report.text.splitlines())
    assert max(map(len, report.text.splitlines())) < 1000
    assert "CN=gateway" in report.text
    assert len(report.text) < 100_000
