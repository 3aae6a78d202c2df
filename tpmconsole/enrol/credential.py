"""TPM2_MakeCredential without a TPM (Part 1, 24): a secret that one key in one TPM can open.

The secret is encrypted for an endorsement key, and bound to the Name of another key. The TPM that
has the endorsement key gives it out where a key of just that Name, attributes included, is loaded.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import struct
from dataclasses import dataclass

from cryptography.hazmat.decrepit.ciphers.modes import CFB
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES

EndorsementPublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey

_LABEL = b"IDENTITY\0"


@dataclass(frozen=True, slots=True)
class Credential:
    """What TPM2_ActivateCredential takes.

    Attributes:
        blob: TPM2B_ID_OBJECT.
        secret: TPM2B_ENCRYPTED_SECRET.
    """

    blob: bytes
    secret: bytes


@dataclass(frozen=True, slots=True)
class _Template:
    """What an endorsement key is made with, which its certificate does not say.

    Attributes:
        hash_name: its nameAlg.
        aes_bits: of its symmetric cipher.
    """

    hash_name: str
    aes_bits: int


# TCG EK Credential Profile 2.5, annex B: for each size one template, whatever its index.
_RSA = {
    2048: _Template("sha256", 128),
    3072: _Template("sha384", 256),
    4096: _Template("sha384", 256),
}
_EC = {
    "secp256r1": _Template("sha256", 128),
    "secp384r1": _Template("sha384", 256),
    "secp521r1": _Template("sha512", 256),
}
_OAEP = {"sha256": hashes.SHA256, "sha384": hashes.SHA384}


def can_be_sealed_to(key: object) -> bool:
    """Whether an endorsement key is of a kind that ``make_credential`` knows."""
    return _template_of(key) is not None


def make_credential(key: EndorsementPublicKey, name: bytes, secret: bytes) -> Credential:
    """Encrypt a secret for an endorsement key and the Name of another key in its TPM.

    Args:
        key: the endorsement key; of a kind that ``can_be_sealed_to`` takes.
        name: the Name (Part 1, 16): the number of a hash, and that hash of the TPMT_PUBLIC.
        secret: at most as long as the digest of the endorsement key's hash; 32 bytes always fit.
    """
    template = _template_of(key)
    if template is None:
        raise ValueError("an endorsement key of a kind that is not known here")
    seed, encrypted = _seed(key, template)
    storage = kdfa(template.hash_name, seed, b"STORAGE", name, template.aes_bits)
    cipher = Cipher(AES(storage), CFB(bytes(16))).encryptor()
    identity = cipher.update(_sized(secret)) + cipher.finalize()
    size = hashlib.new(template.hash_name).digest_size
    integrity = kdfa(template.hash_name, seed, b"INTEGRITY", b"", size * 8)
    proof = hmac.digest(integrity, identity + name, template.hash_name)
    return Credential(_sized(_sized(proof) + identity), _sized(encrypted))


def _template_of(key: object) -> _Template | None:
    if isinstance(key, rsa.RSAPublicKey):
        return _RSA.get(key.key_size)
    if isinstance(key, ec.EllipticCurvePublicKey):
        return _EC.get(key.curve.name)
    return None


def _seed(key: EndorsementPublicKey, template: _Template) -> tuple[bytes, bytes]:
    """A seed, and the same encrypted for the endorsement key (Part 1, B.10.4 and C.6.4)."""
    size = hashlib.new(template.hash_name).digest_size
    if isinstance(key, rsa.RSAPublicKey):
        seed = os.urandom(size)
        digest = _OAEP[template.hash_name]()
        return seed, key.encrypt(seed, padding.OAEP(padding.MGF1(digest), digest, _LABEL))
    ours = ec.generate_private_key(key.curve)
    point, theirs = ours.public_key().public_numbers(), key.public_numbers()
    width = (key.curve.key_size + 7) // 8
    shared = ours.exchange(ec.ECDH(), key)
    x, y = (number.to_bytes(width, "big") for number in (point.x, point.y))
    seed = kdfe(template.hash_name, shared, _LABEL, x, theirs.x.to_bytes(width, "big"))
    return seed, _sized(x) + _sized(y)


def kdfa(hash_name: str, key: bytes, label: bytes, context: bytes, bits: int) -> bytes:
    """KDFa (Part 1, 11.4.10.2): SP 800-108 in counter mode, with HMAC."""
    made, count = b"", 0
    while len(made) * 8 < bits:
        count += 1
        data = struct.pack(">I", count) + label + b"\0" + context + struct.pack(">I", bits)
        made += hmac.digest(key, data, hash_name)
    return made[: bits // 8]


def kdfe(hash_name: str, shared: bytes, label: bytes, ours: bytes, theirs: bytes) -> bytes:
    """KDFe (Part 1, 11.4.10.3) for as many bits as the hash has: one round.

    Args:
        label: with its closing zero.
    """
    data = struct.pack(">I", 1) + shared + label + ours + theirs
    return hashlib.new(hash_name, data).digest()


def _sized(data: bytes) -> bytes:
    """A TPM2B."""
    return struct.pack(">H", len(data)) + data
