"""Check whether this TPM can use a key: let it make one signature, verify that in software."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from tpm2_pytss import ESAPI

from tpmconsole.errors import ConsoleError
from tpmconsole.system.sha2 import SHA2, split_scheme
from tpmconsole.tpm.errors import KeyUnusableError
from tpmconsole.tpm.model import KeyCheck
from tpmconsole.tpm.responses import NO_ROOM, UNSUPPORTED, Code, base, is_from_tpm
from tpmconsole.tpm.worker.jobs.context import Context
from tpmconsole.tpm.worker.jobs.open_key import Access, LoadedKey, open_key

_SCHEMES = {"ECDSA": "ecdsa", "RSASSA": "rsassa", "RSAPSS": "rsapss"}

_OTHER_TPM = (Code.INTEGRITY, Code.BINDING, Code.SENSITIVE, Code.SIZE, Code.INSUFFICIENT)
_NO_PARENT = (Code.HANDLE, Code.REFERENCE_H0, Code.HIERARCHY, Code.VALUE)
_POLICY = (Code.AUTH_UNAVAILABLE, Code.POLICY_FAIL, Code.AUTH_TYPE)
_NOT_SIGNING = (Code.TICKET, Code.ATTRIBUTES, Code.KEY)


def usable(context: Context, key: Mapping[str, Any]) -> dict[str, Any]:
    """Check a key; returns a ``model.KeyCheck`` as JSON.

    Raises:
        ConsoleError: the error says nothing about this key, such as a lost connection.
    """
    access = Access.of(key)

    def work(esapi: ESAPI) -> None:
        with open_key(esapi, access) as opened:
            prove(opened)

    try:
        context.run(work)
    except ConsoleError as error:
        return asdict(_usability(error, access))
    return asdict(KeyCheck("yes", "it signed, and the signature is good"))


def prove(key: LoadedKey) -> None:
    """Sign a nonce and verify the signature in software.

    Raises:
        KeyUnusableError: the key cannot sign, or the signature is not valid.
        TSS2_Exception: the TPM refuses.
    """
    hash_name, scheme = _what_it_does(key)
    digest = hashlib.new(hash_name, os.urandom(32)).digest()
    signature = key.sign(digest, hash_name, scheme)
    try:
        _verify(key, signature, digest, hash_name, scheme)
    except InvalidSignature as error:
        raise KeyUnusableError(
            "not-this-tpm",
            "its signatures do not match its public key: the key file is damaged",
            "copy the file again from where the key was made, or create a new key",
        ) from error


def _what_it_does(key: LoadedKey) -> tuple[str, str]:
    """Hash and scheme: the key's own if it has one, otherwise those that every TPM has."""
    if not key.area.scheme:
        is_ec = isinstance(key.public_key(), ec.EllipticCurvePublicKey)
        return "sha256", "ecdsa" if is_ec else "rsassa"
    scheme, hash_name = split_scheme(key.area.scheme)
    if scheme not in _SCHEMES or hash_name not in SHA2:
        raise KeyUnusableError(
            "unsupported",
            f"it signs only with {key.area.scheme}",
            "use a key that signs with ECDSA, RSASSA or RSAPSS and SHA-2",
        )
    return hash_name, _SCHEMES[scheme]


def _verify(key: LoadedKey, signature: bytes, digest: bytes, hash_name: str, scheme: str) -> None:
    public, prehashed = key.public_key(), Prehashed(SHA2[hash_name]())
    if isinstance(public, ec.EllipticCurvePublicKey):
        public.verify(signature, digest, ec.ECDSA(prehashed))
    elif scheme == "rsapss":
        mask = padding.MGF1(SHA2[hash_name]())
        public.verify(signature, digest, padding.PSS(mask, padding.PSS.AUTO), prehashed)
    else:
        public.verify(signature, digest, padding.PKCS1v15(), prehashed)


def _usability(error: ConsoleError, access: Access) -> KeyCheck:
    """Turn an error into an answer about the key.

    Raises:
        ConsoleError: the same error, if it says nothing about this key.
    """
    answer = _answer(error, access)
    if answer is None:
        raise error
    return KeyCheck(answer, f"{error.cause}; {error.remedy}", error.needs)


def _answer(error: ConsoleError, access: Access) -> str | None:
    if isinstance(error, KeyUnusableError):
        return error.answer
    rc = error.response_code
    if rc is None or not is_from_tpm(rc):
        return None
    code = base(rc)
    if code in _NO_PARENT:
        return "parent-missing" if access.source.handle is None else None
    answers = {
        "not-this-tpm": _OTHER_TPM,
        "policy": _POLICY,
        "unsupported": UNSUPPORTED,
        "no-room": NO_ROOM,
        "cannot-sign": _NOT_SIGNING,
        "locked-out": (Code.LOCKOUT,),
    }
    return next((answer for answer, codes in answers.items() if code in codes), None)
