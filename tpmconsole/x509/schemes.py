"""How a key signs: in the scheme that it was made for, or with a hash as strong as the key."""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from tpmconsole.errors import Action, ConsoleError, NextStep
from tpmconsole.system.sha2 import SHA2, Sha2, split_scheme

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey

RSA_PSS = "RSAPSS"


def load_public_key(pem: bytes) -> PublicKey:
    """Load an EC or RSA public key from PEM.

    Raises:
        ConsoleError: the key is of another kind.
    """
    key = load_pem_public_key(pem)
    if not isinstance(key, (ec.EllipticCurvePublicKey, rsa.RSAPublicKey)):
        raise ConsoleError(
            "Key not usable",
            "it is neither EC nor RSA",
            NextStep(Action.CREATE, text="make a new one: {}"),
        )
    return key


@dataclass(frozen=True, slots=True)
class Scheme:
    """How a key signs.

    Attributes:
        algorithm: the hash.
        pss: use RSASSA-PSS, for an RSA key that is limited to it; otherwise PKCS #1 v1.5, which
            every CA supports. Not used for EC keys, which sign with ECDSA.
    """

    algorithm: Sha2
    pss: bool = False

    @property
    def rsa_padding(self) -> padding.PSS | padding.PKCS1v15:
        """The padding of an RSA signature."""
        if not self.pss:
            return padding.PKCS1v15()
        # The salt is as long as the hash: TPMs make it so (TPM 2.0 Part 1, B.7), TLS 1.3 wants it.
        return padding.PSS(padding.MGF1(self.algorithm), self.algorithm.digest_size)

    def words(self, key: PublicKey) -> str:
        """Describe the scheme: ``ECDSA with SHA-256``, ``RSA PKCS #1 v1.5 with SHA-256``."""
        kind = "ECDSA"
        if isinstance(key, rsa.RSAPublicKey):
            kind = "RSA PSS" if self.pss else "RSA PKCS #1 v1.5"
        return f"{kind} with SHA-{self.algorithm.digest_size * 8}"


def scheme_of(key: PublicKey, fixed: str = "") -> Scheme:
    """Choose the scheme for a key.

    Args:
        fixed: the only scheme that the key may use, such as ``RSAPSS SHA-256``; empty if any.
    """
    kind, hash_name = split_scheme(fixed)
    algorithm = SHA2.get(hash_name) or SHA2[_as_strong_as(key)]
    return Scheme(algorithm(), pss=kind == RSA_PSS)


def sign(key: PrivateKey, data: bytes, scheme: Scheme) -> bytes:
    """Sign data; raises whatever the key raises."""
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(data, scheme.rsa_padding, scheme.algorithm)
    return key.sign(data, ec.ECDSA(scheme.algorithm))


def verify(key: PublicKey, signature: bytes, data: bytes, scheme: Scheme) -> None:
    """Verify a signature that ``sign`` made.

    Raises:
        cryptography.exceptions.InvalidSignature: the signature is wrong.
    """
    if isinstance(key, rsa.RSAPublicKey):
        key.verify(signature, data, scheme.rsa_padding, scheme.algorithm)
    else:
        key.verify(signature, data, ec.ECDSA(scheme.algorithm))


def _as_strong_as(key: PublicKey) -> str:
    """Choose a hash as strong as the key; TLS 1.3 pairs P-384 with SHA-384 (RFC 8446, 4.2.3)."""
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.key_size >= 384:
        return "sha384"
    return "sha256"
