"""What is said of the lock-out: why tries count, that it is off, and times in hours."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.passwords import write_password
from support.swtpm import SwtpmAlone
from support.tools import Bench, needs_tools

pytestmark = needs_tools


@pytest.fixture
def bench(alone: SwtpmAlone, state: Path, tmp_path: Path) -> Bench:
    return Bench(alone, state, tmp_path)


def _password(bench: Bench) -> tuple[str, str]:
    file = bench.shell.state / "right"
    write_password(file, "right\n")
    return "--password-file", str(file)


def _line(bench: Bench) -> str:
    """The line of ``status`` about the lock-out."""
    return next(line for line in bench.text("status").splitlines() if line.startswith("Lock-out"))


def _doctor(bench: Bench) -> tuple[str, str, str]:
    """State, finding and remedy of the doctor's probe."""
    (found,) = (one for one in bench("doctor")[1]["findings"] if one["probe"] == "lock-out")
    return found["state"], found["finding"], found.get("remedy", "")


def test_times_are_told_in_hours(bench: Bench) -> None:
    bench.tools.run("tpm2_dictionarylockout", "-s", "-n", "5", "-t", "7200", "-l", "86400")
    assert _line(bench).endswith("OPEN  0 of 5 attempts used, 1 back per 2 h, recovery 24 h")
    assert not re.search(r"\d{4,} s\b", bench.text("status") + bench.text("doctor"))


def test_lost_power_is_named_beside_wrong_passwords(bench: Bench, alone: SwtpmAlone) -> None:
    bench("create", "gw", *_password(bench))
    key = str(bench.shell.state / "identities/gw/key.pem")
    for lost in (1, 2, 3):
        code, _ = bench("keys", key, "--prove", "--last-try", *_password(bench))
        assert code == 0
        alone.kill()  # as a power cut does
        alone.start()
        assert bench.used == lost
        words = _line(bench)
        assert f"{lost} of 3 attempts used" in words
        assert "by wrong passwords, or by power lost while a key that counts was in use" in words
        assert "shut the board down properly" in words
        assert "noDA" in words
        state, finding, remedy = _doctor(bench)
        assert state == ("fail" if lost == 3 else "warn")
        assert "power lost" in finding
        assert lost == 3 or "when power was lost" in remedy
    assert "LOCKED" in _line(bench)
    _, answer = bench("keys", key, "--prove", *_password(bench))
    assert "the power was lost" in answer["files"][0]["reason"]
    assert "power was lost" in bench("lockout", "reset")[1]["error"]["cause"]


@pytest.mark.parametrize("tries", [5, 1])
def test_a_protection_that_is_off_is_told_where_it_matters(bench: Bench, tries: int) -> None:
    bench.tools.run("tpm2_dictionarylockout", "-s", "-n", str(tries), "-t", "0", "-l", "0")
    off = "protection against guessing is switched off: wrong passwords do not count"
    assert _line(bench).endswith(f"OFF  {off}, so anyone with the board can guess forever")
    assert _doctor(bench)[:2] == ("warn", f"{off}, so anyone with the board can guess forever")
    made = bench.text("create", "gw", *_password(bench))
    assert f"the TPM's {off}" in made
    # Then no attempt is the last one, and the text does not say that one was counted.
    key = str(bench.shell.state / "identities/gw/key.pem")
    wrong = bench.shell.state / "wrong"
    write_password(wrong, "wrong\n")
    for _ in range(3):
        _, answer = bench("keys", key, "--prove", "--password-file", str(wrong))
        reason = answer["files"][0]["reason"]
        assert "did not count it" in reason
        assert "locked" not in reason
    assert bench("keys", key, "--prove", *_password(bench))[0] == 0


def test_no_tries_at_all_is_told(bench: Bench) -> None:
    # tpm2_dictionarylockout takes 0 for "leave it as it is".
    bench.tools.python("esapi.dictionary_attack_parameters(0, 100, 100)")
    assert "LOCKED  set to allow no attempts: keys that count are refused" in _line(bench)
    state, _, remedy = _doctor(bench)
    assert state == "fail"
    assert "tpm2_dictionarylockout" in remedy
