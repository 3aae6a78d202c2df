"""Read a key's Name and public area as the TPM reports them now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tpm2_pytss import ESAPI, ESYS_TR

from tpmconsole.tpm import keyfile
from tpmconsole.tpm.worker.jobs.context import Context
from tpmconsole.tpm.worker.jobs.load_key import loaded, persistent
from tpmconsole.tpm.worker.jobs.open_key import Access


def read_public(context: Context, key: Mapping[str, Any]) -> dict[str, bytes]:
    """TPM2_ReadPublic of a key; a key file's key is loaded first, which needs no key password.

    The TPM loads a key file only with the public area that belongs to its private part.
    """
    access = Access.of(key)

    def work(esapi: ESAPI) -> dict[str, bytes]:
        with _there(esapi, access) as found:
            public, name, _ = esapi.read_public(found)
            return {"area": public.publicArea.marshal(), "name": bytes(name)}

    return context.run(work)


@contextmanager
def _there(esapi: ESAPI, access: Access) -> Iterator[ESYS_TR]:
    source = access.source
    if source.handle is not None:
        with persistent(esapi, source.handle) as found:
            yield found.handle
    else:
        assert source.pem is not None  # noqa: S101 - a source is one or the other
        with loaded(esapi, keyfile.parse(source.pem), access.auth) as found:
            yield found
