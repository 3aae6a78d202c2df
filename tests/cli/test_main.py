"""Every command as a script calls it: exit codes, texts, JSON, and nothing left half done."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.passwords import write_password
from support.shell import Shell
from tools.walk import free_port

from tpmconsole.errors import ExitCode
from tpmconsole.tpm.simulator import Simulator


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A state directory with an identity ``ready`` and one, ``bare``, that has only its key."""
    shell = Shell(tmp_path_factory.mktemp("s"))
    try:
        for name in ("ready", "bare"):
            shell.simulate("create", name)
        shell.simulate(
            *("request", "ready", "--subject", "CN=ready", "--san", "dns:localhost"),
            *("--role", "both"),
        )
        shell.simulate("demo-ca", "sign", "ready")
        yield shell
    finally:
        Simulator(shell.state / "simulator").stop()


def test_status_has_every_field_of_the_contract(ready: Shell) -> None:
    answer = ready.simulate("status")
    assert answer["simulated"] is True
    assert answer["manufacturer"] == "IBM"
    assert answer["specification"]["family"] == "2.0"
    assert answer["self_test"]["result"] == "passed"
    assert answer["lockout"].keys() >= {
        *("locked", "failed_tries", "max_tries", "interval_s", "recovery_s"),
    }
    assert answer["hierarchies"].keys() >= {"owner", "endorsement", "lockout"}
    assert answer["persistent"].keys() == {"used", "available"}
    assert answer["transient"].keys() == {"used", "available"}
    assert len(answer["pcrs"]["sha256"]["0"]) == 64
    assert answer.keys() >= {"tcti", "vendor", "firmware", "algorithms", "curves", "clock"}


def test_a_self_test_is_remembered_until_the_tpm_forgets_it(shell: Shell) -> None:
    for option, kind in (("--incremental", "incremental"), ("--full", "full")):
        assert shell.simulate("selftest", option)["result"] == "passed"
        told = shell.simulate("status")["self_test"]
        assert (told["kind"], told["result"]) == (kind, "passed")
        assert told["time"]
    shell.simulate("simulator", "stop")
    assert shell.simulate("status")["self_test"]["kind"] == "power-on"


def test_the_simulator_keeps_its_keys_between_runs(shell: Shell) -> None:
    shell.simulate("create", "one")
    shell.simulate("create", "two", "--handle", "0x81000010")
    shell.simulate("simulator", "stop")
    keys = shell.simulate("keys", "--prove")
    assert [key["usable"] for key in keys["files"]] == [True]
    assert [key["handle"] for key in keys["persistent"]] == ["0x81000010"]
    assert keys["persistent"][0]["identity"] == "two"
    shell.simulate("evict", "0x81000010", "--yes")
    assert shell.simulate("keys")["persistent"] == []


def test_evicting_asks_first_and_names_what_depends_on_it(shell: Shell) -> None:
    shell.simulate("create", "two", "--handle", "0x81000010")
    error = shell.refuse(2, "--simulate", "evict", "0x81000010")
    assert "two" in error["cause"]
    assert len(shell.simulate("keys")["persistent"]) == 1


def test_errors_are_two_lines_on_stderr(shell: Shell) -> None:
    done = shell("--tcti", "device:/nowhere", "status")
    assert done.returncode == 3
    assert done.stdout == ""
    first, second = done.stderr.splitlines()
    assert first.startswith("tpmconsole: No TPM reached: ")
    assert second.startswith("try: ")


def test_without_a_tpm_every_place_that_was_looked_at_is_told(shell: Shell) -> None:
    if Path("/dev/tpmrm0").exists() or Path("/dev/tpm0").exists():
        pytest.skip("this machine has a TPM")
    error = shell.refuse(3, "status")
    assert all(place in error["cause"] for place in ("/dev/tpmrm0", "tpm2-abrmd", "/dev/tpm0"))
    assert "--simulate" in error["remedy"]


def test_keys_are_listed_without_a_tpm(ready: Shell) -> None:
    done = ready("--tcti", "device:/nowhere", "keys", "--json")
    assert done.returncode == ExitCode.NO_TPM
    answer = json.loads(done.stdout)
    assert {key["identity"] for key in answer["files"]} == {"ready", "bare"}
    assert answer["no_tpm"]["code"] == 3


@pytest.mark.parametrize("tcti", ["nonsense", "foo:bar", ""])
def test_an_unknown_tcti_is_wrong_usage(shell: Shell, tcti: str) -> None:
    shell.refuse(2 if tcti else 3, "--tcti", tcti, "status")


@pytest.mark.parametrize("name", ["../x", "", "x" * 300, ".hidden", "a/b", "a b", "\x1b[2J"])
def test_a_name_that_is_no_good_for_a_folder(shell: Shell, name: str) -> None:
    shell.refuse(2, "--simulate", "create", name)
    assert shell.identities() == []


def test_a_name_that_exists(ready: Shell) -> None:
    before = (ready.state / "identities" / "ready" / "key.pem").read_bytes()
    assert ready.refuse(1, "--simulate", "create", "ready")["title"] == "Name is taken"
    assert (ready.state / "identities" / "ready" / "key.pem").read_bytes() == before


@pytest.mark.parametrize("subject", ["gateway", "CN=", "XX=1", "C=Germany,CN=x", ""])
def test_a_subject_that_does_not_parse(ready: Shell, subject: str) -> None:
    ready.refuse(2, "--simulate", "request", "bare", "--subject", subject)
    assert not (ready.state / "identities" / "bare" / "request.pem").exists()


def test_a_certificate_for_another_key(ready: Shell) -> None:
    folder = ready.state / "identities" / "ready"
    done = ready(
        *("--simulate", "import", "bare", str(folder / "certificate.pem")),
        *("--trust", str(folder / "trust.pem"), "--json"),
    )
    assert done.returncode == 1
    answer = json.loads(done.stdout)
    assert answer["installed"] is False
    assert {one["check"] for one in answer["verdicts"] if one["verdict"] == "fail"} == {"key-match"}
    assert not (ready.state / "identities" / "bare" / "certificate.pem").exists()


def test_checking_never_installs(ready: Shell) -> None:
    folder = ready.state / "identities" / "ready"
    before = (folder / "certificate.pem").stat().st_mtime_ns
    answer = ready.simulate("import", "ready", str(folder / "certificate.pem"), "--check")
    assert answer["installed"] is False
    assert (folder / "certificate.pem").stat().st_mtime_ns == before


def test_an_identity_without_a_certificate_starts_no_session(ready: Shell) -> None:
    error = ready.refuse(
        1, "--simulate", "session", "start", "server", "bare", "--listen", "localhost:0"
    )
    assert error["title"] == "Identity not ready"


def test_a_port_in_use_a_host_that_does_not_resolve_and_nobody_there(ready: Shell) -> None:
    start = ("--simulate", "session", "start")
    address = f"localhost:{free_port()}"
    server = ready.simulate("session", "start", "server", "ready", "--listen", address)["id"]
    taken = ready.refuse(1, *start, "server", "ready", "--listen", address)
    assert address.rpartition(":")[2] in taken["cause"]
    asked = ready.refuse(1, "simulator", "stop")
    assert server in asked["cause"]
    assert server in ready.refuse(1, "forget", "ready", "--yes")["cause"]
    assert ready.refuse(1, "session", "show", "client-99")["title"] == "Unknown session"
    unit = ready.refuse(1, "session", "install", "ready", "--dry-run")
    assert (unit["title"], server in unit["cause"]) == ("Not as a service", True)
    assert ready.simulate("session", "reload", server)["id"] == server
    lost = ready.refuse(1, *start, "client", "ready", "--connect", "nowhere.invalid:1")
    assert "nowhere.invalid" in lost["cause"]
    ready.simulate("session", "stop", server)


def test_an_untrusted_server(ready: Shell, shell: Shell) -> None:
    shell.simulate("create", "stranger")
    shell.simulate("request", "stranger", "--subject", "CN=x", "--san", "dns:localhost")
    shell.simulate("demo-ca", "sign", "stranger")
    address = f"localhost:{free_port()}"
    server = ready.simulate("session", "start", "server", "ready", "--listen", address)["id"]
    error = shell.refuse(
        1, "--simulate", "session", "start", "client", "stranger", "--connect", address
    )
    assert "trust" in (error["cause"] + error["remedy"]).lower()
    ready.simulate("session", "stop", server)


def test_the_password_comes_from_a_file_or_standard_input(shell: Shell) -> None:
    secret = shell.state / "secret"
    write_password(secret, "correct horse\n")
    shell.simulate("create", "locked", "--password-file", str(secret))
    request = ("--simulate", "request", "locked", "--subject", "CN=locked")
    assert "--password-file FILE" in shell.refuse(4, *request)["remedy"]
    assert shell(*request, "--password-file", "-", text="correct horse\n").returncode == 0
    signed = shell.simulate("demo-ca", "sign", "locked", "--password-file", str(secret))
    assert {"check": "key-proof", "verdict": "ok"}.items() <= signed["verdicts"][2].items()
    log = (shell.state / "log" / "tpmconsole.log").read_text()
    assert "correct horse" not in log + (shell.state / "audit.jsonl").read_text()


def test_an_empty_password_file_makes_no_unprotected_key(shell: Shell) -> None:
    empty = shell.state / "empty"
    write_password(empty, "\n")
    shell.refuse(2, "--simulate", "create", "open", "--password-file", str(empty))
    assert shell.identities() == []


def test_a_damaged_note_of_the_self_test_is_no_matter(shell: Shell) -> None:
    for damage in ("[]", "{}", "null", "x", '{"kind": 1}'):
        (shell.state / "selftest.json").write_text(damage)
        assert shell.simulate("status")["self_test"]["kind"] == "power-on"


def test_a_request_that_cannot_be_written_leaves_the_old_one(ready: Shell) -> None:
    path = ready.state / "identities" / "ready" / "request.pem"
    before = path.read_bytes()
    ask = ("--simulate", "request", "ready", "--subject", "CN=x", "--out")
    ready.refuse(1, *ask, "/nowhere/x.csr")
    link = ready.state / "link"
    link.symlink_to("/dev/stdout")
    error = ready.refuse(1, *ask, str(link))
    assert ("a link" in error["cause"], link.is_symlink()) == (True, True)
    assert path.read_bytes() == before


def test_a_new_board_has_no_keys(shell: Shell) -> None:
    assert shell.simulate("keys") == {"simulated": True, "files": [], "persistent": []}


def test_what_was_changed_is_recorded(ready: Shell) -> None:
    lines = [json.loads(line) for line in (ready.state / "audit.jsonl").read_text().splitlines()]
    assert [line["action"] for line in lines[:2]] == ["create", "create"]
    assert {"create", "request", "import"} <= {line["action"] for line in lines}
    assert all(line["time"] and line["user"] for line in lines)


def test_everything_kept_is_private(ready: Shell) -> None:
    for path in ready.state.rglob("*"):
        mode = path.lstat().st_mode & 0o077
        assert mode == 0 or path.is_socket() or path.is_symlink(), f"{path}: {mode:o}"


def test_the_doctor_and_the_report_say_what_they_found(ready: Shell) -> None:
    done = ready("--simulate", "doctor", "--json")
    findings = json.loads(done.stdout)["findings"]
    assert {one["probe"] for one in findings} >= {"tpm", "self-test", "engine", "versions"}
    out = ready.state / "report.txt"
    ready.simulate("report", "--out", str(out))
    assert "== status" in out.read_text()


def test_a_reader_that_goes_away_is_no_crash(ready: Shell) -> None:
    command = f"{sys.executable} -m tpmconsole --simulate --state {ready.state} status | true"
    done = subprocess.run(
        ["/bin/sh", "-c", command], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stderr == ""


def test_nothing_that_fails_before_there_is_a_log_prints_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    command = f"rmdir {tmp_path}/gone; exec {sys.executable} -m tpmconsole --state x status"
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        cwd=tmp_path / "gone",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == ExitCode.UNEXPECTED
    assert done.stderr.count("\n") == 2, done.stderr
    assert done.stderr.startswith("tpmconsole: The system refused: No such file")


@pytest.mark.parametrize("end", ["--json", ""])
def test_an_error_into_a_closed_pipe_is_no_traceback(state: Path, end: str) -> None:
    command = f"{sys.executable} -m tpmconsole --state {state} session show nothing {end}"
    done = subprocess.run(
        ["/bin/sh", "-c", f"{{ {command} 2>&3; echo $? >&3; }} 3>&2 | true"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "Traceback" not in done.stderr
    assert "BrokenPipeError" not in done.stderr
