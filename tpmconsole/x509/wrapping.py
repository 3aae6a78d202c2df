r"""What certificates come wrapped in: JSON, mails, web pages, environment files, base64.

Nothing here knows what a certificate is; what is found is for ``bundle`` to read or to refuse. All
of it takes time in proportion to the text, and answers no more than the text had.
"""

from __future__ import annotations

import base64
import re
from binascii import a2b_qp
from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

# A line as long as base64 is wrapped goes on in the next one; possessive, so that it stays linear.
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
# JSON in a string of JSON has its backslashes twice: any number of them. The look behind keeps a
# megabyte of backslashes from being looked at from each of them on.
_ESCAPE = re.compile(
    rb"(?<!\\)\\++(?:(r(?:\\++n)?|n)|(t)|u00([0-9a-fA-F]{2})|x([0-9a-fA-F]{2})|(/))"
)
_PERCENT = re.compile(rb"%(?:0[aAdD]|2[0bBfF]|3[dD])")

# Byte order marks, blanks of fixed width and of none: web pages and word processors leave them.
_INVISIBLE = re.compile(rb"\xc2[\xa0\xad]|\xe2\x80[\x80-\x8f\xa8-\xaf]|\xef\xbb\xbf|[\0\x1a\xa0]")
_BEFORE, _AFTER = b" \t\r\f\v>\"'|#*", b" \t\r\f\v\"'\\,;"


def unwrapped(text: bytes) -> bytes:
    """The text with what mails, web pages, JSON and URLs do to special characters undone.

    One after the other, from the outermost on, each only where there are signs of it.
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
    """The base64 between BEGIN and END alone.

    Without indentation, the quote marks of mails and programs, headers (RFC 1421) and what nobody
    sees.
    """
    lines = (line.lstrip(_BEFORE).rstrip(_AFTER) for line in block.splitlines())
    text = b"".join(line for line in lines if b":" not in line)
    return b"".join(_INVISIBLE.sub(b"", text).translate(None, b"\"',").split())


def decoded(text: bytes) -> bytes:
    """Base64 or base64url, with its padding or without; a last character that is over is left out.

    Raises:
        ValueError: there are other characters in it.
    """
    coded = text.rstrip(b"=").translate(_URL_SAFE)
    coded = coded[: len(coded) - (len(coded) % 4 == 1)]
    return base64.b64decode(coded + b"=" * (-len(coded) % 4), validate=True)


def whole_base64(text: bytes) -> bytes | None:
    """What the text is the base64 of; None where it is something else."""
    compact = b"".join(text.strip(b" \t\r\n\"'").split())
    return decoded(compact) if _ALL_BASE64.fullmatch(compact) else None


def whole_hex(text: bytes) -> bytes | None:
    """What the text is in hexadecimal digits, with colons or without; None where it is not."""
    compact = b"".join(text.replace(b":", b"").split())
    return bytes.fromhex(compact.decode("ascii")) if _ALL_HEX.fullmatch(compact) else None


def tokens(text: bytes) -> Iterator[bytes]:
    """What stands in base64 anywhere in a text and may be PEM or DER (x5c, Kubernetes, MIME).

    Something that is none may follow the end: the text does not always say where base64 ends.
    """
    for token in _TOKEN.finditer(text):
        yield decoded(b"".join(token[0].replace(b">", b"").split()))
