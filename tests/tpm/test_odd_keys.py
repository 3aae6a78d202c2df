"""Private keys of unknown kinds and curves: each is refused with an explanation."""

from __future__ import annotations

import base64
import itertools
from pathlib import Path

import pytest

from tpmconsole.errors import ConsoleError
from tpmconsole.tpm.keyfile.software import read_software_key

EC, P256 = "2a8648ce3d0201", "2a8648ce3d030107"
# Curves and kinds of keys that exist, some that do not, and invalid OIDs.
OIDS = {
    "ec": EC,
    "p256": P256,
    "secp256k1": "2b8104000a",
    "brainpool": "2b2403030208010107",
    "sm2": "2a811ccf5501822d",
    "none": "2a0304",
    "ed25519": "2b6570",
    "ed448": "2b6571",
    "x25519": "2b656e",
    "x448": "2b656f",
    "rsa": "2a864886f70d010101",
    "dsa": "2a8648ce380401",
    "gost": "2a85030701010101",
    "empty": "",
    "cut off": "80",
    "endless": "ff" * 9,
}


def _der(tag: int, content: bytes) -> bytes:
    length = bytes([len(content)]) if len(content) < 128 else bytes([0x81, len(content)])
    return bytes([tag]) + length + content


def _pkcs8(algorithm: str, curve: str, secret: bytes) -> bytes:
    kind = _der(6, bytes.fromhex(algorithm)) + _der(6, bytes.fromhex(curve))
    inner = _der(0x30, b"\x02\x01\x01" + _der(4, secret))
    return _der(0x30, b"\x02\x01\x00" + _der(0x30, kind) + _der(4, inner))


def _sec1(curve: str, secret: bytes) -> bytes:
    where = _der(0xA0, _der(6, bytes.fromhex(curve)))
    return _der(0x30, b"\x02\x01\x01" + _der(4, secret) + where)


def _plain(algorithm: str, secret: bytes) -> bytes:
    """As RFC 8410 has it: no curve, and the secret right inside."""
    kind = _der(0x30, _der(6, bytes.fromhex(algorithm)))
    return _der(0x30, b"\x02\x01\x00" + kind + _der(4, _der(4, secret)))


def _pem(der: bytes, label: str) -> bytes:
    body = base64.encodebytes(der).decode()
    return f"-----BEGIN {label}-----\n{body}-----END {label}-----\n".encode()


@pytest.mark.parametrize("passphrase", [None, b"x"])
@pytest.mark.parametrize("odd", OIDS)
def test_it_is_refused_in_words(tmp_path: Path, odd: str, passphrase: bytes | None) -> None:
    file, oid = tmp_path / "key", OIDS[odd]
    for secret in (b"", b"\x11" * 20, b"\x11" * 32, b"\x11" * 57):
        made = [
            *((_pkcs8(oid, other, secret), "PRIVATE KEY") for other in OIDS.values()),
            (_pkcs8(EC, oid, secret), "PRIVATE KEY"),
            (_sec1(oid, secret), "EC PRIVATE KEY"),
            (_plain(oid, secret), "PRIVATE KEY"),
        ]
        for data in itertools.chain.from_iterable((der, _pem(der, label)) for der, label in made):
            file.write_bytes(data)
            try:
                found = read_software_key(file, passphrase)
            except ConsoleError:
                continue
            assert found.algorithm == "ec-p256"
