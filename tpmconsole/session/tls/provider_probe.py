"""Load OpenSSL's tpm2 provider as a session would, and print its version.

Runs as a script in a process of its own, with only the standard library: loading the provider opens
the TPM, may hang with it, and changes the whole process. The answer is one JSON object:
``{"version": …}`` or ``{"error": …}``. It uses the OpenSSL of this Python; the ``openssl`` command,
if it is installed, may use another one.
"""

from __future__ import annotations

import ctypes
import json

_UTF8_POINTER = 6  # OSSL_PARAM_UTF8_PTR


class _Parameter(ctypes.Structure):
    """OSSL_PARAM (openssl/core.h)."""

    _fields_ = (
        ("key", ctypes.c_char_p),
        ("data_type", ctypes.c_uint),
        ("data", ctypes.c_void_p),
        ("data_size", ctypes.c_size_t),
        ("return_size", ctypes.c_size_t),
    )


def _version() -> dict[str, str]:
    import _ssl

    library = ctypes.CDLL(getattr(_ssl, "__file__", None))
    load, get = library.OSSL_PROVIDER_load, library.OSSL_PROVIDER_get_params
    load.restype, load.argtypes = ctypes.c_void_p, (ctypes.c_void_p, ctypes.c_char_p)
    get.restype, get.argtypes = ctypes.c_int, (ctypes.c_void_p, ctypes.POINTER(_Parameter))
    library.ERR_get_error.restype = ctypes.c_ulong
    reason = library.ERR_reason_error_string
    reason.restype, reason.argtypes = ctypes.c_char_p, (ctypes.c_ulong,)
    provider = load(None, b"tpm2")
    if not provider:
        text = reason(library.ERR_get_error()) or b"no reason given"
        return {"error": text.decode("ascii", "replace")}
    version = ctypes.c_char_p()
    wanted = (_Parameter * 2)()
    wanted[0] = _Parameter(
        b"version", _UTF8_POINTER, ctypes.cast(ctypes.byref(version), ctypes.c_void_p), 0, 0
    )
    if get(provider, wanted) != 1 or not version.value:
        return {"error": "it does not report its version"}
    return {"version": version.value.decode("ascii", "replace")}


if __name__ == "__main__":
    try:
        print(json.dumps(_version()))
    except (ImportError, OSError, AttributeError) as error:
        print(json.dumps({"error": f"this Python's OpenSSL has no providers: {error}"}))
