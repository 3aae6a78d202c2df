"""A private key that was made elsewhere, wrapped for this TPM (Part 1, 23.3: duplication).

It crosses the way to the TPM encrypted to the parent key, and is proved before it is given out.
Wrapping it takes numbers and bytes of Python's, which cannot be wiped: the worker ends after it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_der_private_key
from tpm2_pytss import (
    ESAPI,
    TPM2_ALG,
    TPM2B_PUBLIC,
    TPM2B_SENSITIVE,
    TPMT_SENSITIVE,
    TPMT_SYM_DEF_OBJECT,
)
from tpm2_pytss.utils import wrap

from tpmconsole.secret import Password
from tpmconsole.tpm.auth import Auth
from tpmconsole.tpm.keyfile.key import OWNER, TssKey
from tpmconsole.tpm.model import Algorithm, KeyKind, KeyRef
from tpmconsole.tpm.worker.jobs.check_key import prove
from tpmconsole.tpm.worker.jobs.context import Context
from tpmconsole.tpm.worker.jobs.create import telling_long
from tpmconsole.tpm.worker.jobs.load_key import primary
from tpmconsole.tpm.worker.jobs.open_key import Access, open_key
from tpmconsole.tpm.worker.jobs.templates import imported_key


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
            parent_area = esapi.read_public(parent)[0].publicArea
            _, wrapped, seed = wrap(parent_area, public, TPM2B_SENSITIVE(sensitive))
            no_inner_wrapper = TPMT_SYM_DEF_OBJECT(algorithm=TPM2_ALG.NULL)
            private = esapi.import_(parent, b"", public, wrapped, seed, no_inner_wrapper)
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
    """Put the key's public numbers into its public area; the answer has the private one."""
    area, sensitive = public.publicArea, TPMT_SENSITIVE(sensitiveType=public.publicArea.type)
    size = (key.key_size + 7) // 8
    if isinstance(key, rsa.RSAPrivateKey):
        numbers = key.private_numbers()
        exponent = numbers.public_numbers.e
        area.parameters.rsaDetail.exponent = 0 if exponent == 65537 else exponent
        area.unique.rsa = numbers.public_numbers.n.to_bytes(size, "big")
        # One of the primes; the TPM finds the other (Part 2, 12.3.2.4).
        sensitive.sensitive.rsa = numbers.p.to_bytes(size // 2, "big")
    else:
        private = key.private_numbers()
        area.unique.ecc.x = private.public_numbers.x.to_bytes(size, "big")
        area.unique.ecc.y = private.public_numbers.y.to_bytes(size, "big")
        sensitive.sensitive.ecc = private.private_value.to_bytes(size, "big")
    return sensitive
