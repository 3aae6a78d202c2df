"""Convert subjects as OpenSSL, Windows and Java print them to the form of RFC 4514.

RFC 4514 starts with the most specific field, the encoding with the most general one. OpenSSL prints
and accepts the encoding's order: what is typed in its forms keeps its order in the request.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

# What openssl and keytool print before a subject.
_HEADING = re.compile(r"(?:subject|issuer|owner)(?: ?name)?\s*[=:]\s*(?=/|[A-Za-z0-9.]+\s*=)", re.I)
_OID_PREFIX = re.compile(r"(?i)(?<![A-Za-z0-9.\\])oid\.(?=\d+(?:\.\d+)+\s*=)")
_SLASH = re.compile(r"(?<!\\)/(?=[A-Za-z][A-Za-z0-9.]*\s*=|\d+(?:\.\d+)+\s*=)")
_PLUS = re.compile(r"(?<!\\)\+(?=[A-Za-z][A-Za-z0-9.]*=|\d+(?:\.\d+)+=)")
# One field and what ends it. Each character matches only one alternative, so this is linear.
_PART = re.compile(r'((?:\\.|"(?:\\.|[^"\\])*+"|[^,+"\\])++)([,+]|$)', re.DOTALL)
_HEX_PAIRS = re.compile(r"(?:\\x?[0-9A-Fa-f]{2})+")
_GENERAL, _SPECIFIC = (
    ("C", "O", "ST", "S", "L", "DC"),
    ("CN", "UID", "SERIALNUMBER", "EMAILADDRESS"),
)
# RFC 4514, 2.4: the special characters of a value; spaces and # are special only at its ends.
_SPECIAL = re.compile(r'[\\,+"<>;=]')

_Rdn = list[str]  # "CN=gateway-1", usually alone; several if the name part is multi-valued


def as_rfc4514(text: str) -> str:
    """Convert a subject from OpenSSL's form to that of RFC 4514; others stay nearly unchanged.

    It understands ``/C=DE/O=X/CN=a``, ``C = DE, O = "X, Inc.", CN = a``, ``C=DE, O=X, CN=a`` (since
    OpenSSL 3.2) and ``OID.2.5.4.3=a`` (Java, Windows), also after ``subject=``.
    """
    text = _OID_PREFIX.sub("", _HEADING.sub("", text.strip(), count=1))
    if _SLASH.match(text):
        return _joined(reversed(_slashed(text)))
    parted = _parted(text)
    if parted is None:
        return text
    rdns, blanks = parted
    if blanks or _general_first(text, rdns):
        rdns.reverse()
    return _joined(rdns)


def escaped(value: str) -> str:
    """Escape a value for an RFC 4514 string (section 2.4)."""
    text = _SPECIAL.sub(lambda found: f"\\{found[0]}", value)
    if text.startswith(("#", " ")):
        text = f"\\{text}"
    if text.endswith(" ") and len(value) > 1:
        text = f"{text[:-1]}\\ "
    return text


def _slashed(text: str) -> list[_Rdn]:
    """Split the form of ``openssl req -subj``: a backslash makes the next character literal."""
    rdns = []
    for part in _SLASH.split(text.removesuffix("/"))[1:]:
        rdn = []
        for one in _PLUS.split(part):
            field, _, value = one.partition("=")
            rdn.append(f"{field.strip()}={escaped(_unescaped(value.strip()))}")
        rdns.append(rdn)
    return rdns


def _parted(text: str) -> tuple[list[_Rdn], bool] | None:
    """Split a subject at its commas, and say whether there were spaces around an equals sign.

    Returns None if it cannot be split: the RFC 4514 parser will say what is wrong.
    """
    rdns: list[_Rdn] = []
    at, blanks, end = 0, False, ","
    while end:
        found = _PART.match(text, at)
        if found is None or "=" not in found[1]:
            return None
        name, _, rest = found[1].partition("=")
        value = rest.lstrip()
        blanks = blanks or name != name.rstrip() or value != rest
        if blanks:
            value = _without_blanks(value)
        if end == ",":
            rdns.append([])
        quoted = len(value) > 1 and value[0] == value[-1] == '"'
        # Quotes are from RFC 2253; without spaces they are a mistake, which the RFC 4514 parser
        # reports.
        if quoted and (blanks or ", " in text):
            value = escaped(_unescaped(value[1:-1]))
        rdns[-1].append(f"{name.strip()}={value}")
        at, end = found.end(), found[2]
    return rdns, blanks


def _without_blanks(value: str) -> str:
    """Remove the spaces at the end of a value, except for an escaped one."""
    bare = value.rstrip()
    return bare + " " if bare.endswith("\\") and bare != value else bare


def _general_first(text: str, rdns: list[_Rdn]) -> bool:
    """Recognize OpenSSL since 3.2: a space after each comma, a country or so first, a name last.

    A string without spaces was written by a program in RFC 4514 form, whatever its order is.
    """
    first, last = (rdns[at][0].partition("=")[0].upper() for at in (0, -1))
    commas = re.findall(r"(?<!\\),.?", text)
    spaced = bool(commas) and all(one == ", " for one in commas)
    return spaced and len(rdns) > 1 and first in _GENERAL and last in _SPECIFIC


def _unescaped(value: str) -> str:
    r"""Remove the backslashes of a value; ``\C3\9C`` and ``\xC3\x9C`` are UTF-8 bytes."""
    pieces, at = [], 0
    for pairs in _HEX_PAIRS.finditer(value):
        digits = re.sub(r"\\x?", "", pairs[0])
        pieces += [
            _plain(value[at : pairs.start()]),
            bytes.fromhex(digits).decode("utf-8", "replace"),
        ]
        at = pairs.end()
    return "".join((*pieces, _plain(value[at:])))


def _plain(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)


def _joined(rdns: Iterable[_Rdn]) -> str:
    return ",".join("+".join(rdn) for rdn in rdns)
