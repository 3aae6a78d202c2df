"""A key in the TPM as a private key of the ``cryptography`` package: each signature is one job.

Code that makes a certificate signing request therefore does not need to know where the key is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import AsymmetricPadding
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from tpmconsole.errors import ConsoleError, ExitCode
from tpmconsole.tpm.auth import NO_AUTH, Auth
from tpmconsole.tpm.model import KeyRef

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

    from tpmconsole.tpm.client import Tpm


def private_key(
    tpm: Tpm, source: KeyRef, auth: Auth = NO_AUTH, public: PublicKeyTypes | None = None
) -> TpmEcKey | TpmRsaKey:
    """A proxy for the key; each of its signatures is one job of the worker.

    Args:
        public: its public half, if already known; otherwise it is read.

    Raises:
        ConsoleError: there is no such key, or it is neither EC nor RSA.
    """
    if public is None:
        public = load_pem_public_key(tpm.public_pem(source))
    signer = _Signer(tpm, source, auth)
    if isinstance(public, ec.EllipticCurvePublicKey):
        return TpmEcKey(signer, public)
    if isinstance(public, rsa.RSAPublicKey):
        return TpmRsaKey(signer, public)
    raise _impossible("keys of this kind")


class _Signer:
    """Asks the TPM for signatures with one key."""

    def __init__(self, tpm: Tpm, source: KeyRef, auth: Auth) -> None:
        self._tpm = tpm
        self._source = source
        self._auth = auth

    def sign(self, data: bytes, algorithm: hashes.HashAlgorithm | Prehashed, scheme: str) -> bytes:
        if isinstance(algorithm, Prehashed):
            # Prehashed does not expose its hash; SHA-2 is the one of this length that TPMs have.
            digest, name = data, f"sha{algorithm.digest_size * 8}"
        else:
            hasher = hashes.Hash(algorithm)
            hasher.update(data)
            digest, name = hasher.finalize(), algorithm.name
        return self._tpm.sign(self._source, digest, name, scheme, self._auth)


class _InTpm:
    """What all keys in a TPM have in common."""

    def private_numbers(self) -> NoReturn:
        """Refused: the key never leaves the TPM."""
        raise _never_leaves()

    def private_bytes(self, *_: Any, **__: Any) -> NoReturn:
        """Refused: the key never leaves the TPM."""
        raise _never_leaves()

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


class TpmEcKey(_InTpm, ec.EllipticCurvePrivateKey):
    """An EC key in the TPM."""

    def __init__(self, signer: _Signer, public: ec.EllipticCurvePublicKey) -> None:
        self._signer = signer
        self._public = public

    def sign(
        self,
        data: bytes | bytearray | memoryview[int],
        signature_algorithm: ec.EllipticCurveSignatureAlgorithm,
    ) -> bytes:
        """Sign with ECDSA; the result is DER.

        Raises:
            ConsoleError: the TPM cannot be reached or refuses.
        """
        if not isinstance(signature_algorithm, ec.ECDSA):
            raise _impossible("signatures other than ECDSA")
        return self._signer.sign(bytes(data), signature_algorithm.algorithm, "ecdsa")

    def public_key(self) -> ec.EllipticCurvePublicKey:
        """The public half."""
        return self._public

    @property
    def curve(self) -> ec.EllipticCurve:
        return self._public.curve

    @property
    def key_size(self) -> int:
        return self._public.key_size

    def exchange(self, *_: Any, **__: Any) -> NoReturn:
        """Refused: the key only signs."""
        raise _impossible("key agreement")


class TpmRsaKey(_InTpm, rsa.RSAPrivateKey):
    """An RSA key in the TPM."""

    def __init__(self, signer: _Signer, public: rsa.RSAPublicKey) -> None:
        self._signer = signer
        self._public = public

    def sign(
        self,
        data: bytes | bytearray | memoryview[int],
        padding: AsymmetricPadding,
        algorithm: Prehashed | hashes.HashAlgorithm | Any,
    ) -> bytes:
        """Sign with PKCS#1 v1.5 or PSS.

        The TPM chooses the length of the PSS salt; a signature whose salt does not have the
        requested length is discarded.

        Raises:
            ConsoleError: the TPM cannot be reached or refuses, or its salt has another length.
        """
        scheme = {"EMSA-PKCS1-v1_5": "rsassa", "EMSA-PSS": "rsapss"}.get(padding.name)
        if scheme is None:
            raise _impossible(f"the padding {padding.name}")
        signature = self._signer.sign(bytes(data), algorithm, scheme)
        try:
            self._public.verify(signature, bytes(data), padding, algorithm)
        except InvalidSignature as error:
            raise ConsoleError(
                "Signature discarded",
                "it is not valid, or the TPM used a PSS salt of another length",
                "use PKCS#1 v1.5, or an EC key",
                ExitCode.REFUSED,
            ) from error
        return signature

    def public_key(self) -> rsa.RSAPublicKey:
        """The public half."""
        return self._public

    @property
    def key_size(self) -> int:
        return self._public.key_size

    def decrypt(self, *_: Any, **__: Any) -> NoReturn:
        """Refused: the key only signs."""
        raise _impossible("decryption")


def _impossible(what: str) -> ConsoleError:
    return ConsoleError(
        "Not supported", f"{what} with a key in the TPM", "use the key to sign", ExitCode.REFUSED
    )


def _never_leaves() -> ConsoleError:
    return ConsoleError(
        "Key stays in the TPM",
        "no one can read its private half",
        "use its key file or handle with this TPM",
        ExitCode.REFUSED,
    )
