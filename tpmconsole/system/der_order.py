"""DER whose SETs are in the wrong order, as in the names of Nuvoton's endorsement certificates.

DER sorts the elements of a SET OF by their bytes (X.690, 11.6). OpenSSL reads them in any order,
cryptography in the right one alone.
"""

from __future__ import annotations

from collections.abc import Iterator

_SET, _OCTETS, _CONSTRUCTED, _LONG_TAG = 0x31, 0x04, 0x20, 0x1F
_DEPTH = 24


def with_sorted_sets(data: bytes) -> bytes:
    """The same with every SET sorted; as long as before, for nothing but the order changes.

    Raises:
        ValueError: it is not DER.
    """
    return _sorted(data, _DEPTH)


def _sorted(data: bytes, depth: int) -> bytes:
    """Values that follow one another, each sorted inside."""
    if not depth:
        raise ValueError("too deep")
    return b"".join(head + _content(head[0], content, depth) for head, content in _values(data))


def _content(tag: int, content: bytes, depth: int) -> bytes:
    if tag == _SET:
        inside = (_sorted(head + more, depth - 1) for head, more in _values(content))
        return b"".join(sorted(inside))
    if tag & _CONSTRUCTED:
        return _sorted(content, depth - 1)
    if tag == _OCTETS:  # an extension's value is DER once more (RFC 5280, 4.2)
        try:
            return _sorted(content, depth - 1)
        except ValueError:
            return content
    return content


def _values(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Tag and length of each value, and its content."""
    at = 0
    while at < len(data):
        if data[at] & _LONG_TAG == _LONG_TAG or at + 1 >= len(data):
            raise ValueError("not a value")
        begin, length = at + 2, data[at + 1]
        if length & 0x80:
            begin += length & 0x7F
            length = int.from_bytes(data[at + 2 : begin], "big")
        if begin + length > len(data):
            raise ValueError("cut off")
        yield data[at:begin], data[begin : begin + length]
        at = begin + length
