"""The public area of a TPM object (TPMT_PUBLIC), decoded without a TPM.

Section numbers are those of the TPM 2.0 Library, Part 2: Structures.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tpmconsole.errors import ConsoleError, ExitCode
from tpmconsole.tpm import tcg

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

# TPM_ALG_ID, section 6.3
RSA, KEYEDHASH, ECC, SYMCIPHER, NULL = 0x0001, 0x0008, 0x0023, 0x0025, 0x0010
_HMAC, _XOR, _RSAES, _ECDAA = 0x0005, 0x000A, 0x0015, 0x001A
_UNKNOWN_CURVE_BYTES = 128
# TPMA_OBJECT, section 8.3
FIXED_TPM, FIXED_PARENT, MADE_IN_TPM, USER_WITH_AUTH = 1 << 1, 1 << 4, 1 << 5, 1 << 6
NO_DA, RESTRICTED, DECRYPT, SIGN, X509_ONLY = 1 << 10, 1 << 16, 1 << 17, 1 << 18, 1 << 19
# The attributes that only a key that was never outside its TPM has (Part 1, 23.2).
_NEVER_OUTSIDE = (
    (FIXED_TPM, "fixedTPM"),
    (FIXED_PARENT, "fixedParent"),
    (MADE_IN_TPM, "sensitiveDataOrigin"),
)
_ATTRIBUTES = (
    (FIXED_TPM, "never leaves its TPM"),
    (1 << 2, "gone after a restart"),
    (FIXED_PARENT, "fixed to its parent"),
    (MADE_IN_TPM, "made in the TPM"),
    (USER_WITH_AUTH, "no policy needed"),
    (1 << 7, "changed by policy only"),
    (1 << 8, "bound to the TPM's firmware"),
    (1 << 9, "bound to the firmware's version"),
    (NO_DA, "no lock-out"),
    (1 << 11, "copied encrypted only"),
    (RESTRICTED, "restricted to the TPM's own data"),
    (DECRYPT, "decrypts"),
    (SIGN, "signs"),
    (X509_ONLY, "signs X.509 only"),
)


class PublicAreaError(ValueError):
    """The bytes are not a public area; the text says why."""


def attribute_words(attributes: int) -> tuple[str, ...]:
    """Describe TPMA_OBJECT (section 8.3), in the order of its bits."""
    return tuple(words for bit, words in _ATTRIBUTES if attributes & bit)


@dataclass(frozen=True, slots=True)
class PublicArea:
    """A decoded TPMT_PUBLIC (section 12.2.4).

    Attributes:
        type: TPM_ALG_ID of the object: RSA, ECC, KEYEDHASH or SYMCIPHER.
        name_algorithm: TPM_ALG_ID of the hash for the Name and the policy digest.
        attributes: TPMA_OBJECT.
        policy: the policy's digest; empty without a policy.
        algorithm: as text: ``EC P-256``, ``RSA 2048``, ``sealed data``, ``HMAC SHA-256``.
        scheme: the only scheme that the object may be used with, as text; empty for any.
        curve: TPM_ECC_CURVE; 0 unless it is an elliptic curve key.
        unique: RSA's modulus, or the point's x and y, as unsigned numbers.
        exponent: RSA's public exponent; 0 for others.
        encoded: the bytes it was decoded from.
    """

    type: int
    name_algorithm: int
    attributes: int
    policy: bytes
    algorithm: str
    scheme: str
    curve: int
    unique: tuple[int, ...]
    exponent: int
    encoded: bytes

    @property
    def words(self) -> tuple[str, ...]:
        return attribute_words(self.attributes)

    @property
    def is_sealed(self) -> bool:
        """Whether it is data to unseal rather than a key (Part 1, 27.4)."""
        return self.type == KEYEDHASH and not self.attributes & (SIGN | DECRYPT)

    @property
    def has_noda(self) -> bool:
        """Whether wrong passwords do not count towards lock-out."""
        return bool(self.attributes & NO_DA)

    @property
    def origin(self) -> str:
        """``tpm`` if the TPM made the key itself, ``imported`` if it existed outside."""
        return "tpm" if self.attributes & MADE_IN_TPM else "imported"

    @property
    def lacks(self) -> tuple[str, ...]:
        """The attributes it lacks of a key that was never outside its TPM."""
        return tuple(name for bit, name in _NEVER_OUTSIDE if not self.attributes & bit)

    @property
    def has_public_key(self) -> bool:
        """Whether ``public_key`` works: for RSA, and for a curve that cryptography knows."""
        return self.type == RSA or (self.type == ECC and bool(_curve(self.curve).openssl))

    @property
    def name(self) -> bytes:
        """The object's Name: nameAlg and its digest of the area (Part 1, section 16).

        Empty if the object has no nameAlg, or if the digest cannot be computed here.
        """
        digest = tcg.HASHES.get(self.name_algorithm, "")
        if digest not in hashlib.algorithms_guaranteed:
            return b""
        return struct.pack(">H", self.name_algorithm) + hashlib.new(digest, self.encoded).digest()

    def public_key(self) -> ec.EllipticCurvePublicKey | rsa.RSAPublicKey:
        """The public key.

        Raises:
            PublicAreaError: there is none, its curve is unknown here, or it is not valid (such as
                a point that is not on its curve).
        """
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric import ec, rsa

        if not self.has_public_key:
            raise PublicAreaError(f"the public key of {self.algorithm} cannot be shown")
        try:
            if self.type == RSA:
                return rsa.RSAPublicNumbers(self.exponent, self.unique[0]).public_key()
            curve = getattr(ec, _curve(self.curve).openssl)()
            x, y = self.unique
            return ec.EllipticCurvePublicNumbers(x, y, curve).public_key()
        except UnsupportedAlgorithm as error:
            raise PublicAreaError(f"{self.algorithm} is not known to OpenSSL here") from error
        except ValueError as error:
            rsa_wrong = "its modulus or exponent is not one of an RSA key"
            ecc_wrong = f"its point is not on the curve {_curve(self.curve).name}"
            raise PublicAreaError(rsa_wrong if self.type == RSA else ecc_wrong) from error


def decode(encoded: bytes) -> PublicArea:
    """Decode a TPMT_PUBLIC (section 12.2.4).

    Raises:
        PublicAreaError: it is not a public area, or of a type that is not known here.
    """
    reader = Reader(encoded)
    kind, name_algorithm = reader.u16(), reader.u16()
    attributes, policy = reader.u32(), reader.sized(64, "policy digest")
    decoders = {RSA: _rsa, ECC: _ecc, KEYEDHASH: _keyedhash, SYMCIPHER: _symcipher}
    if kind not in decoders:
        raise PublicAreaError(f"key type 0x{kind:04x} is not known here")
    algorithm, scheme, curve, unique, exponent = decoders[kind](reader)
    if reader.left:
        raise PublicAreaError(f"{reader.left} bytes are left over at its end")
    if kind == KEYEDHASH and not attributes & (SIGN | DECRYPT):
        algorithm = "sealed data"
    return PublicArea(
        kind, name_algorithm, attributes, policy,
        algorithm, scheme, curve, unique, exponent, encoded,
    )  # fmt: skip


def named(encoded: bytes, name: bytes) -> PublicArea:
    """Decode a TPMT_PUBLIC that the TPM returned with a Name.

    Raises:
        ConsoleError: it is not a public area, of an unknown type, or does not have that Name.
    """
    try:
        area = decode(encoded)
    except PublicAreaError as error:
        raise _not_understood(str(error)) from error
    if area.name != name:
        raise _not_understood("its Name has an unknown hash, or does not match its public area")
    return area


def _not_understood(cause: str) -> ConsoleError:
    return ConsoleError("Key not understood", cause, "use another key", ExitCode.REFUSED)


class Reader:
    """Reads big-endian numbers and sized buffers, one after another (section 4)."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def take(self, count: int) -> bytes:
        if count > self.left:
            raise PublicAreaError(
                f"it ends after {len(self._data)} bytes, in the middle of a field"
            )
        self._at += count
        return self._data[self._at - count : self._at]

    def u16(self) -> int:
        return int.from_bytes(self.take(2), "big")

    def u32(self) -> int:
        return int.from_bytes(self.take(4), "big")

    def sized(self, limit: int, what: str) -> bytes:
        """A TPM2B: two bytes for the size, then as many bytes."""
        size = self.u16()
        if size > limit:
            raise PublicAreaError(f"its {what} says {size} bytes, more than {limit}")
        return self.take(size)


_Parameters = tuple[str, str, int, tuple[int, ...], int]


def _rsa(reader: Reader) -> _Parameters:
    """TPMS_RSA_PARMS (12.2.3.5) and TPM2B_PUBLIC_KEY_RSA (11.2.4.5)."""
    _symmetric(reader)
    scheme = _scheme(reader)
    bits, exponent = reader.u16(), reader.u32()
    modulus = reader.sized(2048, "modulus")
    if len(modulus) * 8 != bits:
        raise PublicAreaError(f"its modulus has {len(modulus) * 8} bits, not {bits}")
    number = int.from_bytes(modulus, "big")
    if number.bit_length() != bits or not number & 1:
        raise PublicAreaError(f"its modulus is not that of an RSA key of {bits} bits")
    return f"RSA {bits}", scheme, 0, (number,), exponent or 65537  # 0 stands for the default


def _ecc(reader: Reader) -> _Parameters:
    """TPMS_ECC_PARMS (12.2.3.6) and TPMS_ECC_POINT (11.2.5.2)."""
    _symmetric(reader)
    scheme, curve = _scheme(reader), reader.u16()
    if reader.u16() != NULL:  # TPMT_KDF_SCHEME, 11.2.3.2
        reader.u16()
    name, size, _ = _curve(curve)
    point = tuple(int.from_bytes(reader.sized(size, "coordinate"), "big") for _ in "xy")
    return f"EC {name}", scheme, curve, point, 0


def _keyedhash(reader: Reader) -> _Parameters:
    """TPMS_KEYEDHASH_PARMS (12.2.3.3) and TPM2B_DIGEST."""
    scheme = reader.u16()
    words = {NULL: "keyed hash", _HMAC: "HMAC", _XOR: "XOR"}.get(scheme)
    if words is None:
        raise PublicAreaError(f"its scheme 0x{scheme:04x} is not one of a keyed hash")
    if scheme != NULL:
        words = f"{words} {tcg.algorithm(reader.u16())}"
    if scheme == _XOR:
        reader.u16()
    reader.sized(64, "unique digest")
    return words, "", 0, (), 0


def _symcipher(reader: Reader) -> _Parameters:
    """TPMS_SYMCIPHER_PARMS (12.2.3.4) and TPM2B_DIGEST."""
    words = _symmetric(reader)
    reader.sized(64, "unique digest")
    return words, "", 0, (), 0


def _symmetric(reader: Reader) -> str:
    """TPMT_SYM_DEF_OBJECT (11.1.7)."""
    algorithm = reader.u16()
    if algorithm == NULL:
        return ""
    bits, mode = reader.u16(), reader.u16()
    words = f"{tcg.algorithm(algorithm)} {bits}"
    return words if mode == NULL else f"{words} {tcg.algorithm(mode)}"  # NULL: any mode


def _scheme(reader: Reader) -> str:
    """TPMT_RSA_SCHEME (11.2.4.2) and TPMT_ECC_SCHEME (11.2.5.6)."""
    scheme = reader.u16()
    if scheme == NULL:
        return ""
    if scheme == _RSAES:
        return tcg.algorithm(scheme)
    words = f"{tcg.algorithm(scheme)} {tcg.algorithm(reader.u16())}"
    if scheme == _ECDAA:
        reader.u16()
    return words


def _curve(identifier: int) -> tcg.Curve:
    """A curve, its name without NIST, which is usually left out after EC."""
    known = tcg.CURVES.get(identifier)
    if known is None:
        return tcg.Curve(f"curve 0x{identifier:04x}", _UNKNOWN_CURVE_BYTES)
    return known._replace(name=known.name.removeprefix("NIST "))
