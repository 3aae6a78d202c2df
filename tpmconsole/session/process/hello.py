"""Recognise a client's whole first message by its bytes, so that TLS never handles a part of one.

A server signs in the step that reads a ClientHello (RFC 8446, 4.4.3; RFC 5246, 7.4.3). Anything
else is left to OpenSSL, which reports the error.
"""

from __future__ import annotations

# RFC 8446, 5.1 and 4
_HEADER = 5
_CHANGE_CIPHER_SPEC, _HANDSHAKE = 20, 22
_MAJOR_VERSION = 3
_LONGEST_RECORD = (1 << 14) + 256
_MESSAGE_HEADER = 4
_CLIENT_HELLO = 1
# Real ones have a few hundred bytes, or two thousand if they offer post-quantum groups.
_LONGEST_HELLO = 32 * 1024
# RFC 8446, 4.1.3: a ServerHello with this random asks for another ClientHello.
_RETRY_RANDOM = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
_RANDOM_AT = _HEADER + _MESSAGE_HEADER + 2


class Hello:
    """A ClientHello that arrives piece by piece.

    Args:
        due: when all of it must have arrived, by the event loop's clock; None for no limit.
    """

    def __init__(self, due: float | None = None) -> None:
        self.due = due
        self._record = bytearray()
        self._message = bytearray()
        self._skipped = False

    def feed(self, data: bytes) -> bool:
        """Take what has arrived; return whether it is complete or invalid, so OpenSSL's turn."""
        self._record += data
        while len(self._record) >= _HEADER:
            kind, major = self._record[:2]
            size = int.from_bytes(self._record[3:_HEADER], "big")
            if major != _MAJOR_VERSION or not 0 < size <= _LONGEST_RECORD:
                return True
            if len(self._record) < _HEADER + size:
                return False
            body = bytes(self._record[_HEADER : _HEADER + size])
            del self._record[: _HEADER + size]
            if self._take(kind, body):
                return True
        return False

    def _take(self, kind: int, body: bytes) -> bool:
        # One before the second hello is allowed (RFC 8446, D.4); more could continue without end.
        if kind == _CHANGE_CIPHER_SPEC and not self._skipped:
            self._skipped = True
            return False
        self._message += body
        if kind != _HANDSHAKE or self._message[0] != _CLIENT_HELLO:
            return True
        if len(self._message) < _MESSAGE_HEADER:
            return False
        size = int.from_bytes(self._message[1:_MESSAGE_HEADER], "big")
        return len(self._message) >= _MESSAGE_HEADER + size or size > _LONGEST_HELLO


def asks_again(flight: bytes) -> bool:
    """Whether a server's answer is a HelloRetryRequest: nothing has been signed yet."""
    return flight[_RANDOM_AT : _RANDOM_AT + len(_RETRY_RANDOM)] == _RETRY_RANDOM
