"""Reads the headers of a TLS connection's records (RFC 5246, 6.2.1)."""

from __future__ import annotations

_HEADER = 5
_CHANGE_CIPHER_SPEC, _HANDSHAKE = 20, 22


class Records:
    """Detects that a peer asks to renegotiate, which OpenSSL refuses without reporting it.

    Up to TLS 1.2 the type of a record is not encrypted. After a peer's ChangeCipherSpec there is
    one handshake record, its Finished; any further one asks for another handshake within the
    connection. TLS 1.3 hides the type.
    """

    def __init__(self) -> None:
        self._header = bytearray()
        self._left = 0
        self._is_protected = False
        self._handshake_records = 0

    @property
    def ask_anew(self) -> bool:
        """Whether the peer has asked for another handshake."""
        return self._handshake_records > 1

    def feed(self, data: bytes) -> None:
        """Take what has been received."""
        at = 0
        while at < len(data):
            skipped = min(self._left, len(data) - at)
            self._left -= skipped
            at += skipped
            wanted = _HEADER - len(self._header)
            self._header += data[at : at + wanted]
            at += wanted
            if len(self._header) == _HEADER:
                self._begin(self._header[0])
                self._left = int.from_bytes(self._header[3:], "big")
                self._header.clear()

    def _begin(self, kind: int) -> None:
        if kind == _CHANGE_CIPHER_SPEC:
            self._is_protected = True
        elif kind == _HANDSHAKE and self._is_protected:
            self._handshake_records += 1
