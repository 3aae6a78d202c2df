"""Which engine is chosen, and why; the provider's module looked at."""

from __future__ import annotations

import pytest
from support.world import TpmKeys

from tpmconsole.errors import ConsoleError
from tpmconsole.session.tls import engine, provider
from tpmconsole.session.tls.engine import choose
from tpmconsole.session.tls.provider import Module, configuration, find_module, version_numbers
from tpmconsole.tpm.model import Connection, KeyRef

DEVICE = Connection("device:/dev/tpmrm0", "test")
TABRMD = Connection("tabrmd:bus_type=session", "test")


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    return monkeypatch


def with_module(monkeypatch: pytest.MonkeyPatch, found: Module) -> None:
    monkeypatch.setattr(engine, "find_module", lambda _: found)


def without_bridge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tpmconsole.session.tls.bridge.unavailable", lambda: "no OpenSSL 3")


@pytest.mark.parametrize(
    ("version", "connection", "bridge", "expected"),
    [
        ("1.3.0", DEVICE, True, "provider"),
        ("1.2.0", DEVICE, False, "provider"),
        ("1.1.1", TABRMD, True, "bridge"),
        ("1.1.1", TABRMD, False, "provider"),
        ("1.1.1", DEVICE, True, "bridge"),
        ("1.1.1", DEVICE, False, None),
        (None, DEVICE, True, "bridge"),
        (None, DEVICE, False, None),
    ],
)
def test_the_engine_chosen_by_itself(
    monkeypatch: pytest.MonkeyPatch,
    tpm_keys: TpmKeys,
    version: str | None,
    connection: Connection,
    bridge: bool,
    expected: str | None,
) -> None:
    with_module(monkeypatch, Module(version, "" if version else "it is not installed"))
    if not bridge:
        without_bridge(monkeypatch)
    key = tpm_keys.sources["ec-p256"]
    if expected is None:
        with pytest.raises(ConsoleError) as caught:
            choose("auto", key, connection)
        # Both reasons are told.
        assert "provider: " in caught.value.cause
        assert "bridge: no OpenSSL 3" in caught.value.cause
        return
    chosen = choose("auto", key, connection)
    assert chosen.name == expected
    assert chosen.why
    assert (chosen.openssl_conf is not None) == (expected == "provider")
    if chosen.openssl_conf:
        assert (provider.QUERY_BEFORE in chosen.openssl_conf) == (version == "1.1.1")


def test_a_handle_goes_over_the_bridge_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    key = KeyRef(handle=0x81000001)
    with_module(monkeypatch, Module("1.3.0"))
    assert choose("auto", key, DEVICE).name == "bridge"
    assert choose("provider", key, DEVICE).name == "provider"
    without_bridge(monkeypatch)
    assert choose("auto", key, DEVICE).name == "provider"
    with_module(monkeypatch, Module("1.1.1"))
    with pytest.raises(ConsoleError, match=r"older than 1\.2"):
        choose("auto", key, DEVICE)


def test_an_engine_that_is_asked_for_and_cannot_be(
    monkeypatch: pytest.MonkeyPatch, tpm_keys: TpmKeys
) -> None:
    key = tpm_keys.sources["ec-p256"]
    with_module(monkeypatch, Module("1.1.1"))
    with pytest.raises(ConsoleError, match="only through tpm2-abrmd, not through device"):
        choose("provider", key, DEVICE)
    with_module(monkeypatch, Module(reason="it is not installed"))
    with pytest.raises(ConsoleError, match="it is not installed"):
        choose("provider", key, DEVICE)
    without_bridge(monkeypatch)
    with pytest.raises(ConsoleError, match="no OpenSSL 3"):
        choose("bridge", key, DEVICE)


def test_an_rsa_key_that_may_only_sign_goes_to_the_provider(
    monkeypatch: pytest.MonkeyPatch, tpm_keys: TpmKeys
) -> None:
    monkeypatch.setattr("tpmconsole.tpm.keyfile.public_area.DECRYPT", 1 << 30)
    key = tpm_keys.sources["rsa-2048"]
    with_module(monkeypatch, Module("1.3.0"))
    with pytest.raises(ConsoleError, match="can only sign"):
        choose("bridge", key, DEVICE)
    assert choose("auto", key, DEVICE).name == "provider"
    with_module(monkeypatch, Module("1.1.1"))
    with pytest.raises(ConsoleError, match="can only sign"):
        choose("auto", key, DEVICE)


def test_the_module_is_found_with_its_version(tpm_keys: TpmKeys) -> None:
    found = find_module(tpm_keys.connection)
    assert found.version
    assert version_numbers(found.version) >= (1, 0)


def test_a_module_that_is_absent_or_has_no_tpm(
    monkeypatch: pytest.MonkeyPatch, tpm_keys: TpmKeys, tmp_path: object
) -> None:
    found = find_module(Connection("device:/dev/no-tpm", "test"))
    assert found.version is None
    assert "does not start" in found.reason
    monkeypatch.setenv("OPENSSL_MODULES", str(tmp_path))
    assert "not installed" in find_module(tpm_keys.connection).reason


def test_a_module_that_hangs(monkeypatch: pytest.MonkeyPatch, tpm_keys: TpmKeys) -> None:
    monkeypatch.setattr(provider, "DEADLINE_S", 0.001)
    assert "does not answer" in find_module(tpm_keys.connection).reason


def test_versions_and_configurations() -> None:
    assert version_numbers("1.3.1-rc1") == (1, 3, 1)
    assert version_numbers("odd") == ()
    assert Module("1.2.0").good
    assert Module("1.10").good
    assert not Module("1.1.1").good
    assert not Module(None).good
    assert "default_properties" not in configuration(Module("1.3.0"))
