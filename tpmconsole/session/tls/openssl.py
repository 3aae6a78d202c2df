"""The OpenSSL that Python's ``ssl`` has really loaded, called through ctypes.

One table lists every foreign function that the bridge uses, with its types. Nothing is called
before all of them were found, and no ``SSL_CTX *`` is used before it was shown to be the right
one.
"""

from __future__ import annotations

import ctypes
import os
import ssl
import sys
from ctypes import POINTER, c_char_p, c_int, c_long, c_size_t, c_ubyte, c_uint, c_uint64, c_void_p
from functools import cache
from pathlib import Path
from types import SimpleNamespace

OPENSSL_3 = (3, 0)

_Bytes = POINTER(c_ubyte)

# int sign(int type, const uchar *digest, int length, uchar *out, uint *out_length,
#          const BIGNUM *kinv, const BIGNUM *r, EC_KEY *key)
EcSign = ctypes.CFUNCTYPE(
    c_int, c_int, _Bytes, c_int, _Bytes, POINTER(c_uint), c_void_p, c_void_p, c_void_p
)
# int priv_enc(int length, const uchar *from, uchar *to, RSA *key, int padding)
RsaPrivateEncrypt = ctypes.CFUNCTYPE(c_int, c_int, _Bytes, _Bytes, c_void_p, c_int)
# int verify_callback(int accepted, X509_STORE_CTX *store)
VerifyCallback = ctypes.CFUNCTYPE(c_int, c_int, c_void_p)

# name: (return type, argument types); OpenSSL 3.0 to 3.5
_FUNCTIONS: dict[str, tuple[type | None, tuple[type, ...]]] = {
    "OpenSSL_version_num": (ctypes.c_ulong, ()),
    "ERR_clear_error": (None, ()),
    "ERR_get_error": (ctypes.c_ulong, ()),
    "ERR_reason_error_string": (c_char_p, (ctypes.c_ulong,)),
    "BN_bin2bn": (c_void_p, (c_char_p, c_int, c_void_p)),
    "BN_free": (None, (c_void_p,)),
    "OBJ_txt2nid": (c_int, (c_char_p,)),
    "EC_KEY_OpenSSL": (c_void_p, ()),
    "EC_KEY_METHOD_new": (c_void_p, (c_void_p,)),
    "EC_KEY_METHOD_set_sign": (None, (c_void_p, EcSign, c_void_p, c_void_p)),
    "EC_KEY_new_by_curve_name": (c_void_p, (c_int,)),
    "EC_KEY_set_method": (c_int, (c_void_p, c_void_p)),
    "EC_KEY_oct2key": (c_int, (c_void_p, c_char_p, c_size_t, c_void_p)),
    "EC_KEY_free": (None, (c_void_p,)),
    "ECDSA_size": (c_int, (c_void_p,)),
    "RSA_get_default_method": (c_void_p, ()),
    "RSA_meth_dup": (c_void_p, (c_void_p,)),
    "RSA_meth_set_priv_enc": (c_int, (c_void_p, RsaPrivateEncrypt)),
    "RSA_new": (c_void_p, ()),
    "RSA_set_method": (c_int, (c_void_p, c_void_p)),
    "RSA_set0_key": (c_int, (c_void_p, c_void_p, c_void_p, c_void_p)),
    "RSA_size": (c_int, (c_void_p,)),
    "RSA_free": (None, (c_void_p,)),
    "RSA_padding_add_PKCS1_type_1": (c_int, (_Bytes, c_int, _Bytes, c_int)),
    "EVP_PKEY_new": (c_void_p, ()),
    "EVP_PKEY_set1_EC_KEY": (c_int, (c_void_p, c_void_p)),
    "EVP_PKEY_set1_RSA": (c_int, (c_void_p, c_void_p)),
    "EVP_PKEY_free": (None, (c_void_p,)),
    "OSSL_STORE_open_ex": (c_void_p, (c_char_p, c_void_p, c_char_p, *(c_void_p,) * 5)),
    "OSSL_STORE_eof": (c_int, (c_void_p,)),
    "OSSL_STORE_load": (c_void_p, (c_void_p,)),
    "OSSL_STORE_close": (c_int, (c_void_p,)),
    "OSSL_STORE_INFO_get_type": (c_int, (c_void_p,)),
    "OSSL_STORE_INFO_get1_PKEY": (c_void_p, (c_void_p,)),
    "OSSL_STORE_INFO_free": (None, (c_void_p,)),
    "EVP_set_default_properties": (c_int, (c_void_p, c_char_p)),
    "SSL_CTX_get_options": (c_uint64, (c_void_p,)),
    "SSL_CTX_get_verify_mode": (c_int, (c_void_p,)),
    "SSL_CTX_ctrl": (c_long, (c_void_p, c_int, c_long, c_void_p)),
    "SSL_CTX_use_certificate_chain_file": (c_int, (c_void_p, c_char_p)),
    "SSL_CTX_use_PrivateKey": (c_int, (c_void_p, c_void_p)),
    "SSL_CTX_check_private_key": (c_int, (c_void_p,)),
    "SSL_load_client_CA_file": (c_void_p, (c_char_p,)),
    "SSL_CTX_set_client_CA_list": (None, (c_void_p, c_void_p)),
    "OPENSSL_sk_num": (c_int, (c_void_p,)),
    "OPENSSL_sk_value": (c_void_p, (c_void_p, c_int)),
    "i2d_X509_NAME": (c_int, (c_void_p, c_void_p)),
    "i2d_X509": (c_int, (c_void_p, c_void_p)),
    "SSL_CTX_set_verify": (None, (c_void_p, c_int, VerifyCallback)),
    "X509_STORE_CTX_get_current_cert": (c_void_p, (c_void_p,)),
    "X509_STORE_CTX_get_error_depth": (c_int, (c_void_p,)),
    "X509_STORE_CTX_get0_untrusted": (c_void_p, (c_void_p,)),
}

# openssl/ssl.h: SSL_CTX_set_session_cache_mode(3ossl) is a macro for this.
_SSL_CTRL_SET_SESS_CACHE_MODE = 44
_SSL_SESS_CACHE_OFF = 0
# RFC 8446, 4.2.4: the list's length has two bytes, and so has that of each name.
_MOST_CA_NAMES_BYTES = (1 << 16) - 1 - 64
_NAME_LENGTH_BYTES = 2

# Python's verify_mode: the mode for SSL_CTX_set_verify
_VERIFY_FLAGS = {ssl.CERT_NONE: 0, ssl.CERT_OPTIONAL: 1, ssl.CERT_REQUIRED: 3}


class BridgeError(Exception):
    """The bridge cannot do what was asked.

    Args:
        title: what failed, in a few words.
        cause: why, in one sentence.
        remedy: what to do, in one sentence.
    """

    def __init__(self, title: str, cause: str, remedy: str) -> None:
        super().__init__(title, cause, remedy)
        self.title = title
        self.cause = cause
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.title}: {self.cause}"


class BridgeUnavailable(BridgeError):
    """This interpreter or its OpenSSL lacks what the bridge needs."""

    def __init__(self, cause: str) -> None:
        super().__init__(
            "Signing bridge not available",
            cause,
            "use CPython 3.11 or newer with OpenSSL 3, or tpm2-openssl 1.2 or newer and a key file "
            "(the provider engine)",
        )


@cache
def functions() -> SimpleNamespace:
    """Load every function of the table, with its types.

    Raises:
        BridgeUnavailable: not CPython, not OpenSSL 3, or one of the functions is missing.
    """
    if sys.implementation.name != "cpython":
        raise BridgeUnavailable(f"the interpreter is {sys.implementation.name}, not CPython")
    if ssl.OPENSSL_VERSION_INFO[:2] < OPENSSL_3:
        raise BridgeUnavailable(f"Python's ssl uses {ssl.OPENSSL_VERSION}, older than OpenSSL 3.0")
    library = _library_behind_ssl()
    found = SimpleNamespace()
    for name, (result, arguments) in _FUNCTIONS.items():
        try:
            function = getattr(library, name)
        except AttributeError as error:
            raise BridgeUnavailable(
                f"{ssl.OPENSSL_VERSION}, which Python's ssl uses, does not offer {name}"
            ) from error
        function.restype, function.argtypes = result, arguments
        setattr(found, name, function)
    if found.OpenSSL_version_num() != ssl.OPENSSL_VERSION_NUMBER:
        raise BridgeUnavailable("the OpenSSL that was found is not the one that Python's ssl uses")
    return found


def _library_behind_ssl() -> ctypes.CDLL:
    # Symbols looked up through the extension module come from the libraries that it was linked
    # with, or from itself if OpenSSL was linked in; never from another copy in this process
    # (cryptography contains one). A built-in _ssl has no file: then the program itself is searched.
    import _ssl

    try:
        return ctypes.CDLL(getattr(_ssl, "__file__", None))
    except OSError as error:
        raise BridgeUnavailable(f"Python's _ssl module cannot be opened: {error}") from error


def reasons(library: SimpleNamespace) -> str:
    """Return OpenSSL's own description of what just failed; empties its error queue."""
    words: list[str] = []
    while code := library.ERR_get_error():
        text = library.ERR_reason_error_string(code)
        words.append(text.decode("ascii", "replace") if text else f"error {code:#x}")
    return ", ".join(dict.fromkeys(words)) or "no reason given"


def avoid_provider(name: str) -> None:
    """Make OpenSSL use no algorithms of a provider; keys that the provider holds still work.

    Raises:
        BridgeUnavailable: OpenSSL refuses.
    """
    library = functions()
    if library.EVP_set_default_properties(None, f"provider!={name}".encode()) != 1:
        raise BridgeUnavailable(f"OpenSSL keeps using provider {name}: {reasons(library)}")


def remember_no_sessions(context: ssl.SSLContext) -> None:
    """Make a server keep no sessions that its clients could resume by their id (TLS 1.2).

    Python has no switch for that: OP_NO_TICKET is about sessions that the clients keep.

    Raises:
        BridgeUnavailable: the layout of CPython's context is not the known one.
    """
    functions().SSL_CTX_ctrl(
        context_pointer(context), _SSL_CTRL_SET_SESS_CACHE_MODE, _SSL_SESS_CACHE_OFF, None
    )


def name_accepted_cas(context: ssl.SSLContext, trust: str | os.PathLike[str]) -> None:
    """Make a server tell its clients which CAs it accepts (RFC 8446, 4.2.4; RFC 5246, 7.4.4).

    A client with several certificates chooses by these names. If there are too many for the list,
    it is left empty, which means any CA.

    Args:
        trust: PEM file with the certificates of those CAs.

    Raises:
        BridgeUnavailable: the layout of CPython's context is not the known one.
    """
    library, pointer = functions(), context_pointer(context)
    names = library.SSL_load_client_CA_file(os.fsencode(trust))
    if not names:
        library.ERR_clear_error()  # loading the anchors themselves reports it
        return
    library.SSL_CTX_set_client_CA_list(pointer, names)  # the context owns the list now
    size = sum(
        library.i2d_X509_NAME(library.OPENSSL_sk_value(names, number), None) + _NAME_LENGTH_BYTES
        for number in range(library.OPENSSL_sk_num(names))
    )
    if size > _MOST_CA_NAMES_BYTES:
        library.SSL_CTX_set_client_CA_list(pointer, None)


def context_pointer(context: ssl.SSLContext) -> c_void_p:
    """Return the ``SSL_CTX *`` inside a Python context, after a check that it is the right one.

    It follows the object header in CPython. Before anything relies on that, the value must point
    to writable memory of this process, and OpenSSL and Python must report the same settings of the
    context, before and after an option is changed on Python's side.

    Raises:
        BridgeUnavailable: it is not at the expected place.
    """
    library = functions()
    header = object.__basicsize__
    if type(context).__basicsize__ < header + ctypes.sizeof(c_void_p):
        raise BridgeUnavailable("this Python keeps its TLS contexts in another way")
    value = c_void_p.from_address(id(context) + header).value
    if not value or not points_to_data(value):
        raise BridgeUnavailable("this Python keeps its TLS contexts in another way")
    pointer = c_void_p(value)
    # Changing this option has no effect before a handshake, and it is restored at once.
    harmless = ssl.OP_CIPHER_SERVER_PREFERENCE
    before = context.options
    try:
        agree = _agrees(library, pointer, context)
        context.options = before ^ harmless
        agree = agree and _agrees(library, pointer, context)
    finally:
        context.options = before
    if not agree:
        raise BridgeUnavailable("the TLS context found in memory is not Python's")
    return pointer


def _agrees(library: SimpleNamespace, pointer: c_void_p, context: ssl.SSLContext) -> bool:
    if library.SSL_CTX_get_options(pointer) != int(context.options):
        return False
    return bool(library.SSL_CTX_get_verify_mode(pointer) == _VERIFY_FLAGS[context.verify_mode])


def points_to_data(address: int) -> bool:
    """Whether a word may be a pointer to an object: aligned, and to writable memory."""
    if address % ctypes.alignment(c_void_p):
        return False
    with Path("/proc/self/maps").open(encoding="utf-8", errors="replace") as maps:
        for line in maps:
            span, access = line.split(maxsplit=2)[:2]
            start, end = (int(part, 16) for part in span.split("-"))
            if start <= address < end:
                return access.startswith("rw")
    return False
