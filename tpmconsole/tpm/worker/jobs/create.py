"""Making keys and signing with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tpm2_pytss import (
    ESAPI,
    TPM2B_DATA,
    TPML_PCR_SELECTION,
    TSS2_Exception,
)

from tpmconsole.errors import usage_error
from tpmconsole.secret import Password
from tpmconsole.tpm.auth import Auth
from tpmconsole.tpm.keyfile.key import OWNER, TssKey
from tpmconsole.tpm.model import Algorithm, KeyKind
from tpmconsole.tpm.responses import Code, base, is_from_tpm
from tpmconsole.tpm.worker.jobs.auth_values import sensitive
from tpmconsole.tpm.worker.jobs.context import Context
from tpmconsole.tpm.worker.jobs.load_key import primary
from tpmconsole.tpm.worker.jobs.open_key import Access, open_key
from tpmconsole.tpm.worker.jobs.templates import signing_key

_SHORT_PASSWORD = 32  # bytes that every TPM takes for a key named by SHA-256


def create(
    context: Context,
    algorithm: str,
    auth: Mapping[str, Any],
    noda: bool,
) -> bytes:
    """Make a key below the owner hierarchy's primary key; the answer is a TSS2 key file, PEM.

    With a password it is subject to lock-out protection, unless ``noda``: guessing is then
    limited to a few tries. Without one there is nothing to guess, and a TPM that others have
    locked goes on signing with it.
    """
    known = Auth.of(auth)
    password = known.key
    protected = bool(password) and not noda

    def work(esapi: ESAPI) -> bytes:
        with (
            primary(esapi, password=known.owner) as parent,
            sensitive(esapi, password) as secret,
        ):
            private, public, *_ = esapi.create(
                parent_handle=parent,
                in_sensitive=secret,
                in_public=signing_key(Algorithm(algorithm), protected=protected),
                outside_info=TPM2B_DATA(),
                creation_pcr=TPML_PCR_SELECTION(),
            )
        return TssKey(
            kind=KeyKind.LOADABLE,
            empty_auth=not password,
            parent=OWNER,
            public=public.publicArea.marshal(),
            private=bytes(private),
        ).to_pem()

    return context.run(lambda esapi: telling_long(password, lambda: work(esapi)))


def telling_long(password: Password | None, work: Callable[[], bytes]) -> bytes:
    """Do it; where the TPM takes only passwords as long as its hash, say so."""
    try:
        return work()
    except TSS2_Exception as error:
        rc = int(error.rc)
        if len(password or b"") > _SHORT_PASSWORD and is_from_tpm(rc) and base(rc) == Code.SIZE:
            raise usage_error(
                "Password too long",
                f"this TPM takes at most {_SHORT_PASSWORD} bytes for such a key",
                "use a shorter password",
            ) from error
        raise


def sign(
    context: Context, key: Mapping[str, Any], digest: bytes, hash_name: str, scheme: str
) -> bytes:
    """Sign a digest; ECDSA's answer is DER."""
    access = Access.of(key)

    def work(esapi: ESAPI) -> bytes:
        with open_key(esapi, access) as opened:
            return opened.sign(digest, hash_name, scheme)

    return context.run(work)
