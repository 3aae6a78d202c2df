"""The TPM's state and its self-test."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from support.swtpm import SwtpmAlone

from tpmconsole.errors import ConsoleError
from tpmconsole.tpm.client import Tpm
from tpmconsole.tpm.model import Algorithm, KeyRef, SelfTestResult
from tpmconsole.tpm.simulator import Simulator
from tpmconsole.tpm.tcg import firmware, manufacturer


def test_tells_everything_about_a_working_tpm(shared_tpm: Tpm, shared_simulator: Simulator) -> None:
    health = shared_tpm.health()
    assert health.tcti == "tabrmd:bus_type=session"
    assert health.tcti_why == shared_simulator.ensure().why
    assert (health.mode, health.simulated) == ("operational", True)
    assert (health.manufacturer, health.vendor) == ("IBM", "SW TPM")
    assert health.manufacturer_name == "IBM software TPM (swtpm)"
    assert (health.family, health.revision) == ("2.0", "1.64")
    assert health.firmware.startswith("20")
    assert health.self_test.result is SelfTestResult.PASSED
    assert health.lockout.max_tries == 3
    assert health.lockout.interval_s == 1000
    assert health.hierarchies["owner"].auth_set is False
    assert health.hierarchies["platform"].auth_set is None
    assert health.transient.used == 0
    assert health.persistent.available > 0
    assert {"RSA", "ECDSA", "SHA-256", "AES"} <= set(health.algorithms)
    assert {"NIST P-256", "NIST P-384"} <= set(health.curves)
    assert health.clock.clock_ms > 0


def test_reads_every_pcr_of_every_bank(shared_tpm: Tpm) -> None:
    pcrs = shared_tpm.health().pcrs
    lengths = {"sha1": 40, "sha256": 64, "sha384": 96, "sha512": 128}
    assert {bank: len(values[0]) for bank, values in pcrs.items()} == {
        bank: length for bank, length in lengths.items() if bank in pcrs
    }
    assert "sha256" in pcrs
    for values in pcrs.values():
        assert list(values) == list(range(24))
        assert set(values[17]) == {"f"}
        assert set(values[16]) == {"0"}


def test_becomes_the_json_of_the_contract(shared_tpm: Tpm) -> None:
    data = json.loads(json.dumps(shared_tpm.health().to_json()))
    assert data["specification"] == {"family": "2.0", "revision": "1.64"}
    assert data["self_test"]["result"] == "passed"
    assert data["pcrs"]["sha256"]["23"]
    assert set(data["transient"]) == {"used", "available"}


@pytest.mark.parametrize(("full", "kind"), [(True, "full"), (False, "incremental")])
def test_runs_a_self_test_and_reads_its_result_back(shared_tpm: Tpm, full: bool, kind: str) -> None:
    result, health = shared_tpm.self_test(full=full)
    assert health.clock is not None
    assert (result.result, result.kind, result.code) == (SelfTestResult.PASSED, kind, 0)
    assert result.untested == ()
    assert result.time


def test_starts_a_tpm_that_nobody_has_started(
    alone: SwtpmAlone, client: Callable[..., Tpm]
) -> None:
    alone.kill()
    alone.start(startup=False)
    assert client(alone.ensure).health().mode == "operational"


def test_says_what_a_tpm_in_failure_mode_still_tells(
    alone: SwtpmAlone, client: Callable[..., Tpm]
) -> None:
    tpm = client(alone.ensure)
    pem = tpm.create(Algorithm.EC_P256)
    alone.break_its_memory()
    with pytest.raises(ConsoleError, match="failure mode") as caught:
        tpm.persist(pem, 0x81000010)
    assert caught.value.response_code == 0x101

    health = tpm.health()
    assert (health.mode, health.manufacturer, health.vendor) == ("failure", "IBM", "SW TPM")
    assert health.firmware == "20191023.163636"
    assert health.self_test.result is SelfTestResult.FAILED
    assert (health.self_test.code, bool(health.self_test.data)) == (0x101, True)
    assert (health.lockout, health.pcrs, health.algorithms) == (None, {}, ())
    for full in (True, False):
        result, health = tpm.self_test(full=full)
        assert health.mode == "failure"
        assert (result.result, result.code) == (SelfTestResult.FAILED, 0x101)
    with pytest.raises(ConsoleError, match="failure mode"):
        tpm.check_key(KeyRef(pem))


@pytest.mark.parametrize(
    ("code", "high", "low", "shown"),
    [
        ("IFX", 0x00070055, 0x0011CB00, "7.85.4555.0"),
        ("STM", 0x00010102, 0x00000000, "1.258.0.0"),
        ("NTC", 0x00070002, 0x00030001, "7.2.3.1"),
        ("AMD", 0x00030057, 0x00000005, "3.87.0.5"),
        ("IBM", 0x20191023, 0x00163636, "20191023.163636"),
    ],
)
def test_shows_firmware_versions_as_their_vendors_do(
    code: str, high: int, low: int, shown: str
) -> None:
    assert firmware(code, high, low) == shown


def test_names_manufacturers() -> None:
    assert manufacturer("IFX", "SLB9670") == "Infineon"
    assert manufacturer("NTC", "rls") == "Nuvoton"
    assert manufacturer("IBM", "SW TPM") == "IBM software TPM (swtpm)"
    assert manufacturer("XYZ", "") == "XYZ"
