"""Open a key at a persistent handle for OpenSSL with its tpm2 provider.

Python's ``ssl`` takes only key files; OpenSSL itself also opens names in a provider's store
(ossl_store(7)): ``handle:0x81000001`` for tpm2-openssl.
"""

from __future__ import annotations

import os
import ssl
from types import SimpleNamespace

from tpmconsole.session.tls.bridge import install_key
from tpmconsole.session.tls.openssl import BridgeError, functions, reasons

_PRIVATE_KEY = 4  # OSSL_STORE_INFO_PKEY (openssl/store.h)


def install_handle(context: ssl.SSLContext, chain: str | os.PathLike[str], handle: int) -> None:
    """Give a context its certificate chain and the key at a handle, which has no password.

    Raises:
        BridgeUnavailable: the layout of this interpreter or its OpenSSL is unknown.
        BridgeError: the provider does not open the key, or it is not the certificate's.
    """
    library = functions()
    pkey = _opened(library, f"handle:0x{handle:08x}")
    try:
        install_key(context, chain, pkey)
    finally:
        library.EVP_PKEY_free(pkey)  # the context has its own reference


def _opened(library: SimpleNamespace, name: str) -> int:
    library.ERR_clear_error()
    store = library.OSSL_STORE_open_ex(name.encode(), *(None,) * 7)
    try:
        while store and not library.OSSL_STORE_eof(store):
            info = library.OSSL_STORE_load(store)
            if not info:
                break
            try:
                if library.OSSL_STORE_INFO_get_type(info) == _PRIVATE_KEY:
                    pkey: int = library.OSSL_STORE_INFO_get1_PKEY(info)
                    return pkey
            finally:
                library.OSSL_STORE_INFO_free(info)
    finally:
        if store:
            library.OSSL_STORE_close(store)
    raise BridgeError(
        "Provider refuses the key",
        f"OpenSSL's store does not open {name}: {reasons(library)}",
        "look at the session's log, or use the bridge engine",
    )
