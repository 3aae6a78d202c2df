r"""Unwrap certificates from JSON, e-mails, web pages, environment files and base64.

This module does not know what a certificate is: ``bundle`` reads or refuses what it finds. All
functions run in linear time, and their result is not longer than the text.
"""

from __future__ import annotations

import base64
import re
from binascii import a2b_qp
from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

# A line of the usual base64 length continues in the next one; possessive, to run in linear time.
_LONG = rb"[A-Za-z0-9+/_-]{60,}+\r?\n[ \t>]*"
# Base64 of "-----BEGIN", or of an ASN.1 SEQUENCE of 256 bytes or more.
_TOKEN = re.compile(
    rb"(?<![A-Za-z0-9+/_-])(?=LS0tLS1CRUdJTi|MI[IJKL])(?:" + _LONG + rb")*+[A-Za-z0-9+/_-]*+={0,2}"
)
_ALL_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]+={0,2}")
_ALL_HEX = re.compile(rb"(?:[0-9a-fA-F]{2})+")
_URL_SAFE = bytes.maketrans(b"-_", b"+/")

_QUOTED_PRINTABLE = re.compile(rb"=3[dD]|quoted-printable", re.IGNORECASE)
_INLINE_TAG = re.compile(rb"</?(?:wbr|span|font|a|b|i|em|strong)\b[^<>]{0,400}>", re.IGNORECASE)
_TAG = re.compile(rb"<[a-zA-Z/!][^<>]{0,400}>")
_ENTITY = re.compile(rb"&(?:#(\d{1,3})|#[xX]([0-9a-fA-F]{1,2})|(nbsp|gt|lt|amp|quot|plus|equals));")
_ENTITIES = {
    b"nbsp": b" ",
    b"gt": b">",
    b"lt": b"<",
    b"amp": b"&",
    b"quot": b'"',
    b"plus": b"+",
    b"equals": b"=",
}
# JSON inside a JSON string doubles its backslashes, so there may be any number of them. The
# look-behind prevents quadratic time: a megabyte of backslashes is scanned only once.
_ESCAPE = re.compile(
    rb"(?<!\\)\\++(?:(r(?:\\++n)?|n)|(t)|u00([0-9a-fA-F]{2})|x([0-9a-fA-F]{2})|(/))"
)
_PERCENT = re.compile(rb"%(?:0[aAdD]|2[0bBfF]|3[dD])")

# Byte order marks, fixed-width and zero-width spaces: web pages and word processors add them.
_INVISIBLE = re.compile(rb"\xc2[\xa0\xad]|\xe2\x80[\x80-\x8f\xa8-\xaf]|\xef\xbb\xbf|[\0\x1a\xa0]")
_BEFORE, _AFTER = b" \t\r\f\v>\"'|#*", b" \t\r\f\v\"'\\,;"


def unwrapped(text: bytes) -> bytes:
    """Undo the escaping of e-mails, web pages, JSON and URLs.

    The layers are undone from the outermost inwards, each only if the text shows signs of it.
    """
    if _QUOTED_PRINTABLE.search(text):
        text = a2b_qp(text)
    if b"<" in text or b"&" in text:
        text = _TAG.sub(b"\n", _INLINE_TAG.sub(b"", text))
        text = _ENTITY.sub(_entity, text)
    if b"\\" in text:
        text = _ESCAPE.sub(_escape, text)
    if _PERCENT.search(text):
        text = unquote_to_bytes(text)
    return text


def _entity(found: re.Match[bytes]) -> bytes:
    if found[3]:
        return _ENTITIES[found[3]]
    code = int(found[1]) if found[1] else int(found[2], 16)
    return bytes([code]) if code < 128 else b" "


def _escape(found: re.Match[bytes]) -> bytes:
    if found[1]:
        return b"\n"
    if found[2]:
        return b" "
    return b"/" if found[5] else bytes([int(found[3] or found[4], 16)])


def body(block: bytes) -> bytes:
    """Return only the base64 between BEGIN and END.

    Removes indentation, the quote marks of e-mails and programs, headers (RFC 1421) and invisible
    characters.
    """
    lines = (line.lstrip(_BEFORE).rstrip(_AFTER) for line in block.splitlines())
    text = b"".join(line for line in lines if b":" not in line)
    return b"".join(_INVISIBLE.sub(b"", text).translate(None, b"\"',").split())


def decoded(text: bytes) -> bytes:
    """Decode base64 or base64url with or without padding; a single surplus character is ignored.

    Raises:
        ValueError: it contains other characters.
    """
    coded = text.rstrip(b"=").translate(_URL_SAFE)
    coded = coded[: len(coded) - (len(coded) % 4 == 1)]
    return base64.b64decode(coded + b"=" * (-len(coded) % 4), validate=True)


def whole_base64(text: bytes) -> bytes | None:
    """Decode a text that is entirely base64; None if it is something else."""
    compact = b"".join(text.strip(b" \t\r\n\"'").split())
    return decoded(compact) if _ALL_BASE64.fullmatch(compact) else None


def whole_hex(text: bytes) -> bytes | None:
    """Decode a text that is entirely hexadecimal, with or without colons; None if it is not."""
    compact = b"".join(text.replace(b":", b"").split())
    return bytes.fromhex(compact.decode("ascii")) if _ALL_HEX.fullmatch(compact) else None


def tokens(text: bytes) -> Iterator[bytes]:
    """Decode base64 anywhere in a text that may be PEM or DER (x5c, Kubernetes, MIME).

    Other bytes may follow the PEM or DER: the text does not always show where base64 ends.
    """
    for token in _TOKEN.finditer(text):
        yield decoded(b"".join(token[0].replace(b">", b"").split()))
