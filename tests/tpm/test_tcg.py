"""The TCG's registry: a TPM's algorithms and those of a key file have the same names."""

from __future__ import annotations

import struct
from types import SimpleNamespace

import pytest

from tpmconsole.tpm import tcg
from tpmconsole.tpm.keyfile import public_area
from tpmconsole.tpm.worker.jobs import capability, health

NULL = 0x0010
# TPMI_ALG_ASYM_SCHEME with a hash, and the hashes themselves.
SCHEMES = ("RSASSA", "RSAPSS", "OAEP", "ECDSA", "ECDH", "SM2", "EC Schnorr", "ECMQV")
SHA256 = 0x000B


def _area(kind: int, parameters: bytes, unique: bytes) -> public_area.PublicArea:
    return public_area.decode(
        struct.pack(">HHIH", kind, SHA256, 0x00040000, 0) + parameters + unique
    )


def _symmetric_cipher(algorithm: int, mode: int) -> str:
    parameters = struct.pack(">HHH", algorithm, 128, mode)
    return _area(public_area.SYMCIPHER, parameters, b"\0\0").algorithm


def _point(curve: int, scheme: bytes = struct.pack(">H", NULL)) -> public_area.PublicArea:
    parameters = struct.pack(">H", NULL) + scheme + struct.pack(">HH", curve, NULL)
    return _area(public_area.ECC, parameters, b"\0\1\1\0\1\1")


@pytest.mark.parametrize("number", tcg.ALGORITHMS)
def test_an_algorithm_has_one_name(number: int) -> None:
    assert _symmetric_cipher(number, 0x0043) == f"{tcg.ALGORITHMS[number]} 128 CFB"


@pytest.mark.parametrize("name", SCHEMES)
def test_a_scheme_has_one_name(name: str) -> None:
    number = next(number for number, known in tcg.ALGORITHMS.items() if known == name)
    assert _point(3, struct.pack(">HH", number, SHA256)).scheme == f"{name} SHA-256"


@pytest.mark.parametrize("number", tcg.CURVES)
def test_a_curve_has_one_name(number: int) -> None:
    assert _point(number).algorithm.removeprefix("EC ") in (
        tcg.curve(number),
        tcg.curve(number).removeprefix("NIST "),
    )


def test_what_the_registry_lacks_has_its_number() -> None:
    assert tcg.algorithm(0x0777) == "0x0777"
    assert tcg.curve(0x0777) == "0x0777"
    assert _symmetric_cipher(0x0777, 0x0043) == "0x0777 128 CFB"
    assert _point(0x0777).algorithm == "EC curve 0x0777"


def test_status_and_keys_read_the_same_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tcg.ALGORITHMS, 0x0003, "new name")
    monkeypatch.setitem(tcg.CURVES, 0x0010, tcg.Curve("new curve", 32))
    monkeypatch.setattr(capability, "algorithms", lambda _: (0x0003,))
    monkeypatch.setattr(capability, "curves", lambda _: (0x0010,))
    for name in ("properties", "handles"):
        monkeypatch.setattr(capability, name, lambda *_: {})
    monkeypatch.setattr(health, "_clock", lambda _: None)
    told = health._details(SimpleNamespace(constant={}), None, brief=True)
    assert (told["algorithms"], told["curves"]) == (("new name",), ("new curve",))
    assert _symmetric_cipher(0x0003, 0x0043) == "new name 128 CFB"
    assert _point(0x0010).algorithm == "EC new curve"


def test_every_hash_that_makes_a_name_is_known_to_python() -> None:
    assert tcg.HASHES.keys() <= tcg.ALGORITHMS.keys()
    area = _point(3)
    assert len(area.name) == 2 + 32
    sm3 = public_area.decode(area.encoded[:2] + b"\x00\x12" + area.encoded[4:])
    assert sm3.name == b""
