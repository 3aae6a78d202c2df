"""The key-exchange group of a TLS connection, which Python before 3.15 does not report."""

from __future__ import annotations

import ctypes
import ssl
from ctypes import c_char_p, c_int, c_long, c_void_p
from functools import cache
from types import SimpleNamespace

from tpmconsole.session.tls.openssl import (
    BridgeUnavailable,
    context_pointer,
    functions,
    points_to_data,
)

_GET_NEGOTIATED_GROUP = 134  # SSL_CTRL_GET_NEGOTIATED_GROUP (openssl/ssl.h)
_WORD = ctypes.sizeof(c_void_p)

# Types of connections whose SSL * was found at the known place of CPython.
_proved: set[type] = set()


def negotiated_group(tls: ssl.SSLObject | ssl.SSLSocket) -> str | None:
    """Return the group's IANA name, such as ``x25519`` or ``secp256r1``; None if unknown.

    Args:
        tls: a connection after its handshake.
    """
    told = getattr(tls, "group", None)  # Python 3.15
    if told is not None:
        answer = told()
        return str(answer) if answer else None
    try:
        pointer = _connection_pointer(tls)
    except BridgeUnavailable:
        return None
    if pointer is None:
        return None
    library = _library()
    number = library.SSL_ctrl(pointer, _GET_NEGOTIATED_GROUP, 0, None)
    name: bytes | None = library.SSL_group_to_name(pointer, number) if number else None
    return name.decode("ascii", "replace") if name else None


def _connection_pointer(tls: ssl.SSLObject | ssl.SSLSocket) -> c_void_p | None:
    """The ``SSL *`` of a connection: after the object's header and a weak reference.

    After it comes the Python context, which we know: the word before it is used as the pointer only
    if it is there. The first time, OpenSSL must also confirm that it belongs to that context.
    """
    inner = getattr(tls, "_sslobj", None)
    header, kind = object.__basicsize__, type(inner)
    if inner is None or kind.__basicsize__ < header + 3 * _WORD:
        return None
    _, value, context = (c_void_p * 3).from_address(id(inner) + header)
    if context != id(tls.context) or not value:
        return None
    pointer = c_void_p(value)
    if kind not in _proved:
        if not points_to_data(value):
            return None
        if _library().SSL_get_SSL_CTX(pointer) != context_pointer(tls.context).value:
            return None
        _proved.add(kind)
    return pointer


@cache
def _library() -> SimpleNamespace:
    functions()  # refuses an interpreter or an OpenSSL that this module does not know
    import _ssl

    library = ctypes.CDLL(getattr(_ssl, "__file__", None))
    table: dict[str, tuple[type, tuple[type, ...]]] = {
        "SSL_ctrl": (c_long, (c_void_p, c_int, c_long, c_void_p)),
        "SSL_group_to_name": (c_char_p, (c_void_p, c_int)),
        "SSL_get_SSL_CTX": (c_void_p, (c_void_p,)),
    }
    found = SimpleNamespace()
    for name, (result, arguments) in table.items():
        try:
            function = getattr(library, name)
        except AttributeError as error:
            raise BridgeUnavailable(f"{ssl.OPENSSL_VERSION} does not offer {name}") from error
        function.restype, function.argtypes = result, arguments
        setattr(found, name, function)
    return found
