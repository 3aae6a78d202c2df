"""Create keys, wrap keys that were made elsewhere, and sign with them.

An imported key (Part 1, 23.3: duplication) is sent to the TPM encrypted to the parent key, and is
checked before it is returned. Wrapping uses Python integers and bytes, which cannot be wiped, so
the worker ends afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_der_private_key
from tpm2_pytss import (
    ESAPI,
    TPM2B_PUBLIC,
    TPM2B_SENSITIVE,
    TPMT_SENSITIVE,
    TSS2_Exception,
)
from tpm2_pytss.utils import wrap

from tpmconsole.errors import usage_error
from tpmconsole.secret import Password
from tpmconsole.tpm.auth import Auth
from tpmconsole.tpm.keyfile.key import OWNER, TssKey
from tpmconsole.tpm.model import Algorithm, KeyKind, KeyRef
from tpmconsole.tpm.responses import Code, base, is_from_tpm
from tpmconsole.tpm.worker.jobs import salted
from tpmconsole.tpm.worker.jobs.check_key import prove
from tpmconsole.tpm.worker.jobs.context import Context
from tpmconsole.tpm.worker.jobs.load_key import primary
from tpmconsole.tpm.worker.jobs.open_key import Access, open_key
from tpmconsole.tpm.worker.jobs.templates import imported_key, signing_key

_SHORT_PASSWORD = 32  # bytes that every TPM accepts for a key with a SHA-256 Name


def create(
    context: Context,
    algorithm: str,
    auth: Mapping[str, Any],
    noda: bool,
) -> bytes:
    """Create a key below the owner hierarchy's primary key; the answer is a TSS2 key file, PEM.

    With a password the key is subject to lock-out protection, unless ``noda`` is set: guessing is
    limited to a few attempts. Without a password there is nothing to guess, so the key still signs
    when other programs have locked the TPM.
    """
    known = Auth.of(auth)
    password = known.key
    protected = bool(password) and not noda

    def work(esapi: ESAPI) -> bytes:
        with primary(esapi, password=known.owner) as parent:
            salted.salt_with(esapi, parent)
            template = signing_key(Algorithm(algorithm), protected=protected)
            # In the session even without a password: it proves that the TPM made the answer.
            private, public = salted.commands(esapi).create(parent, password, template)
        return TssKey(
            kind=KeyKind.LOADABLE,
            empty_auth=not password,
            parent=OWNER,
            public=public.publicArea.marshal(),
            private=bytes(private),
        ).to_pem()

    return context.run(lambda esapi: telling_long(password, lambda: work(esapi)))


def telling_long(password: Password | None, work: Callable[[], bytes]) -> bytes:
    """Do the work; if this TPM accepts only passwords as long as its hash, say so."""
    try:
        return work()
    except TSS2_Exception as error:
        rc = int(error.rc)
        if len(password or b"") > _SHORT_PASSWORD and is_from_tpm(rc) and base(rc) == Code.SIZE:
            raise usage_error(
                "Password too long",
                f"this TPM accepts at most {_SHORT_PASSWORD} bytes for such a key",
                "use a shorter password",
            ) from error
        raise


def import_key(
    context: Context,
    pkcs8: Password,
    algorithm: str,
    auth: Mapping[str, Any],
    noda: bool,
) -> bytes:
    """Wrap a key for this TPM; the answer is a TSS2 key file, PEM."""
    known = Auth.of(auth)
    password = known.key
    key = load_der_private_key(pkcs8, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)  # noqa: S101 - softkey
    public = imported_key(Algorithm(algorithm), protected=bool(password) and not noda)
    sensitive = _fill(public, key)
    sensitive.authValue = bytes(password or b"")

    def work(esapi: ESAPI) -> bytes:
        with primary(esapi, password=known.owner) as parent:
            # Never wrap a key for a storage key other than the known one.
            storage = salted.salt_with(esapi, parent)
            _, wrapped, seed = wrap(storage, public, TPM2B_SENSITIVE(sensitive))
            private = salted.commands(esapi).import_(parent, public, wrapped, seed)
        pem = TssKey(
            kind=KeyKind.LOADABLE,
            empty_auth=not password,
            parent=OWNER,
            public=public.publicArea.marshal(),
            private=bytes(private),
        ).to_pem()
        with open_key(esapi, Access(KeyRef(pem), replace(known, key=password or None))) as opened:
            prove(opened)
        return pem

    return context.run(lambda esapi: telling_long(password, lambda: work(esapi)))


def _fill(
    public: TPM2B_PUBLIC, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
) -> TPMT_SENSITIVE:
    """Write the key's public numbers to its public area; the result holds the private one."""
    area, sensitive = public.publicArea, TPMT_SENSITIVE(sensitiveType=public.publicArea.type)
    size = (key.key_size + 7) // 8
    if isinstance(key, rsa.RSAPrivateKey):
        numbers = key.private_numbers()
        exponent = numbers.public_numbers.e
        area.parameters.rsaDetail.exponent = 0 if exponent == 65537 else exponent
        area.unique.rsa = numbers.public_numbers.n.to_bytes(size, "big")
        # One of the primes; the TPM computes the other (Part 2, 12.3.2.4).
        sensitive.sensitive.rsa = numbers.p.to_bytes(size // 2, "big")
    else:
        private = key.private_numbers()
        area.unique.ecc.x = private.public_numbers.x.to_bytes(size, "big")
        area.unique.ecc.y = private.public_numbers.y.to_bytes(size, "big")
        sensitive.sensitive.ecc = private.private_value.to_bytes(size, "big")
    return sensitive


def sign(
    context: Context, key: Mapping[str, Any], digest: bytes, hash_name: str, scheme: str
) -> bytes:
    """Sign a digest; ECDSA's answer is DER."""
    access = Access.of(key)

    def work(esapi: ESAPI) -> bytes:
        with open_key(esapi, access) as opened:
            return opened.sign(digest, hash_name, scheme)

    return context.run(work)
