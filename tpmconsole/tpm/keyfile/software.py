"""Reads a private key that was made in software, to wrap it for a TPM."""

from __future__ import annotations

from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import pkcs12

from tpmconsole.errors import Action, ConsoleError, NextStep, usage_error
from tpmconsole.secret import Password
from tpmconsole.system.der_kinds import is_pkcs12
from tpmconsole.system.files import read_bounded
from tpmconsole.tpm import keyfile
from tpmconsole.tpm.keyfile import identify, pem
from tpmconsole.tpm.model import Algorithm, SoftwareKey

_CURVES = {"secp256r1": Algorithm.EC_P256, "secp384r1": Algorithm.EC_P384}
_RSA_BITS = {2048: Algorithm.RSA_2048, 3072: Algorithm.RSA_3072}

_EXPONENT = 65537  # the exponent that every TPM supports (Part 2, 12.2.3.5)


def read_software_key(path: Path, passphrase: Password | None = None) -> SoftwareKey:
    """Read a private key: PEM or DER; PKCS#8, SEC 1, PKCS#1 or PKCS#12.

    It may be encrypted; certificates in PKCS#12 are ignored.

    Args:
        path: a file of at most 64 kB.
        passphrase: what it is encrypted with; not needed for a key that is not encrypted.

    Raises:
        ConsoleError: it cannot be read, is not a private key, is encrypted with another passphrase
            (``needs`` is then ``source``), or no TPM key can be made from it.
    """
    key = _loaded(read_bounded(path, keyfile.LIMIT), passphrase)
    return SoftwareKey(
        path.absolute(),
        _algorithm(key),
        key.private_bytes(
            serialization.Encoding.DER,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )


def _loaded(
    data: bytes, passphrase: Password | None
) -> ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey:
    text = pem.normalised(data)
    try:
        if is_pkcs12(data):
            key = _from_pkcs12(data, passphrase)
        else:
            key = _from_pem_or_der(data, text, passphrase)
    except UnsupportedAlgorithm as error:
        raise _not_supported("a key of this kind") from error
    except ConsoleError:
        raise
    except Exception as error:  # damaged data reaches OpenSSL, which raises many kinds of error
        raise _unreadable(data, text, passphrase) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise _not_supported(type(key).__name__.removesuffix("PrivateKey").lstrip("_"))
    return key


def _from_pem_or_der(data: bytes, text: str, passphrase: Password | None) -> object:
    is_pem = "-----BEGIN" in text
    load = serialization.load_pem_private_key if is_pem else serialization.load_der_private_key
    content = text.encode("latin-1") if is_pem else data
    try:
        return load(content, None if passphrase is None else bytes(passphrase))
    except TypeError:
        if passphrase is None:
            raise _encrypted() from None
        return load(content, None)  # it is not encrypted after all


def _from_pkcs12(data: bytes, passphrase: Password | None) -> object:
    """The key; without a passphrase, try both encodings of an empty one (RFC 7292, B.1)."""
    for one in (None, b"") if passphrase is None else (bytes(passphrase),):
        try:
            key = pkcs12.load_pkcs12(data, one).key
        except ValueError:
            if passphrase is not None:
                raise
            continue
        if key is None:
            raise usage_error(
                "Not a key to import",
                "it is PKCS#12 (.p12, .pfx) with certificates only, without a private key",
                "choose the file that has the key",
            )
        return key
    raise _encrypted()


def _algorithm(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> Algorithm:
    if isinstance(key, rsa.RSAPrivateKey):
        found, words = _RSA_BITS.get(key.key_size), f"RSA with {key.key_size} bits"
        exponent = key.public_key().public_numbers().e
        if exponent != _EXPONENT:
            raise _not_supported(f"RSA with the exponent {exponent}")
    else:
        found, words = _CURVES.get(key.curve.name), f"an EC key on {key.curve.name}"
    if found is None:
        raise _not_supported(words)
    return found


def _unreadable(data: bytes, text: str, passphrase: Password | None) -> ConsoleError:
    """Why no private key could be read."""
    if keyfile.may_be_key(data):
        return usage_error(
            "Not a key to import",
            "it is a TSS2 key file: the key is sealed to a TPM already",
            NextStep(Action.ADOPT, text="adopt it on the TPM that made it: {}"),
        )
    what = identify.describe(data, text)
    if "private key" not in what:
        return usage_error(
            "Not a key to import",
            f"it is {what}",
            "choose a private key in PEM or DER: PKCS#8, EC (SEC 1), RSA (PKCS#1) or PKCS#12",
        )
    if "OpenSSH" in what:
        return usage_error(
            "Not a key to import",
            f"it is {what}",
            "convert a copy of it first: ssh-keygen -p -m PKCS8 -f COPY",
        )
    if passphrase is not None and ("encrypted" in what or is_pkcs12(data)):
        return ConsoleError(
            "Wrong passphrase",
            "the file does not decrypt with this passphrase, or it is damaged",
            "check the passphrase",
            needs="source",
        )
    return ConsoleError(
        "Key file damaged", f"{what}, but it does not decode", "copy the file again from its origin"
    )


def _encrypted() -> ConsoleError:
    return ConsoleError(
        "Passphrase needed",
        "the file is encrypted",
        "give its passphrase",
        needs="source",
    )


def _not_supported(what: str) -> ConsoleError:
    return usage_error(
        "Not a key to import",
        f"{what} cannot be used in the TPM",
        "use an EC key on P-256 or P-384, or RSA with 2048 or 3072 bits",
    )
