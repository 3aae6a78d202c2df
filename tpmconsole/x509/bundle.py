"""Read certificates from what a CA sent: PEM with text around it, DER, PKCS #7, base64."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from itertools import islice

from cryptography import x509
from cryptography.hazmat.primitives.serialization import pkcs7

from tpmconsole.errors import ConsoleError
from tpmconsole.system.encodings import as_utf8
from tpmconsole.system.pem_labels import Content, content
from tpmconsole.text import short
from tpmconsole.x509.other_files import ASK_FOR_PEM, CONVERT, der_kind, der_size, what_instead
from tpmconsole.x509.wrapping import body, decoded, tokens, unwrapped, whole_base64, whole_hex

MAX_BYTES = 1024 * 1024
MAX_CERTIFICATES = 500
_MAX_DEPTH = 3  # PEM in base64 in JSON in base64: no CA nests deeper
_MAX_TOKENS = 4 * MAX_CERTIFICATES  # that may be certificates

# Base64 has no hyphen: matching up to the next hyphen takes linear time for any input.
_PEM = re.compile(rb"-----BEGIN ([A-Z0-9 #]{1,40})-----([^-]*)-----END \1-----")
_READ = {Content.CERTIFICATE: "a PEM certificate", Content.PKCS7: "the PKCS #7 block"}
_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/=_-]")
# What may follow DER: a line end that an editor added, the end-of-file mark of DOS, block padding.
_PADDING = re.compile(rb"[\0\t\n\r\x1a ]*")

_AS_A_WHOLE = "copy it again, every line from BEGIN to END"


def read_bundle(data: bytes) -> list[x509.Certificate]:
    """Return the certificates in a file, in file order and without duplicates.

    Reads PEM (any number, with text around it, CRLF), DER (any number) and PKCS #7 as PEM or DER.
    Each of these may also be in UTF-16, base64, JSON, an e-mail, a web page or an environment file.

    Args:
        data: the file's content, at most 1 MB.

    Raises:
        ConsoleError: the file holds no certificate. The error says what it holds instead.
    """
    if len(data) > MAX_BYTES:
        cause = f"it has {len(data)} bytes; certificates have a few thousand"
        raise _unreadable(cause, "check that this is the right file")
    with warnings.catch_warnings():
        # cryptography warns about what a later release will reject; users cannot change that.
        warnings.simplefilter("ignore")
        found = _found(data, 0)
        if not found:
            raise _unreadable(*what_instead(as_utf8(data)))
        if len(found) > MAX_CERTIFICATES:
            cause = f"it holds more than {MAX_CERTIFICATES} certificates"
            raise _unreadable(cause, "remove what does not belong to this certificate's chain")
        for number, certificate in enumerate(found, 1):
            look_inside(certificate, f"certificate {number} of {len(found)}")
    return list(dict.fromkeys(found))


def _found(data: bytes, depth: int) -> list[x509.Certificate]:
    if found := _from_der(data):
        return found
    text = as_utf8(data)
    # Editors may put a mark or an empty line before DER; hex comes from xxd -p, which is common.
    for der in (text.lstrip(), whole_hex(text)):
        if der and (found := _from_der(der)):
            return found
    damage = None
    # Try the text unchanged first: unwrapping could damage a text that is not wrapped.
    for one in dict.fromkeys((text, unwrapped(text))):
        try:
            found = _from_pem(one) or _from_base64(one, depth)
        except ConsoleError as error:
            damage = error
            continue
        if found:
            return found
    if damage is not None:
        raise damage
    return []


def _from_pem(text: bytes) -> list[x509.Certificate]:
    found: list[x509.Certificate] = []
    for block in _PEM.finditer(text):
        kind = content(block[1].decode("ascii"))
        if kind is Content.TRUSTED_CERTIFICATE:  # it may say what it is not trusted for
            raise _unreadable(f"a block in it is {kind}", CONVERT)
        if kind in _READ:
            found += _from_block(_READ[kind], body(block[2]))
        if len(found) > MAX_CERTIFICATES:
            break
    return found


def _from_block(what: str, coded: bytes) -> list[x509.Certificate]:
    """Return the certificates in a block. Windows and Java also label PKCS #7 as CERTIFICATE."""
    wrong = _NOT_BASE64.search(coded)
    if wrong:
        shown = short(wrong[0].decode("latin-1"), 8)
        raise _damaged(what, f"it contains the character '{shown}'")
    try:
        der = decoded(coded)
    except ValueError as error:
        raise _damaged(what, "its padding (=) is not at the end") from error
    found = _from_der(der)
    if not found:
        raise _damaged(what, _why_not(der))
    return found


def _from_base64(text: bytes, depth: int) -> list[x509.Certificate]:
    """DER (as EST sends it: RFC 7030, 4.2.3) or PEM (as Kubernetes keeps it) in base64."""
    if depth == _MAX_DEPTH:
        return []
    inside = whole_base64(text)
    if inside is not None and (found := _found(inside, depth + 1)):
        return found
    found = []
    # Whole PEM blocks have been read already: any base64 left in them is not a certificate.
    for one in islice(tokens(_PEM.sub(b"\n", text)), _MAX_TOKENS):
        found += _from_der(one, whole=False) if one[:1] == b"0" else _found(one, depth + 1)
        if len(found) > MAX_CERTIFICATES:
            break
    return found


def _from_der(data: bytes, *, whole: bool = True) -> list[x509.Certificate]:
    """Read certificates and PKCS #7 structures that follow one another.

    Args:
        whole: if true, nothing else may follow them; if false, only the first one is read.
    """
    found: list[x509.Certificate] = []
    at = 0
    while data[at : at + 1] == b"0" and len(found) <= MAX_CERTIFICATES:
        size = der_size(data[at : at + 16])
        end = len(data) if size is None else at + size
        more = _first_of(data[at:end])
        found += more
        if not more or not whole:
            break
        at = _following(data, end)
    if found and whole and at < len(data) and len(found) <= MAX_CERTIFICATES:
        cause = f"{len(data) - at} bytes after certificate {len(found)} are not a certificate"
        raise _unreadable(cause, "copy it again as a binary file, or ask the CA for PEM")
    return found


def _following(data: bytes, end: int) -> int:
    padding = _PADDING.match(data, end)
    return padding.end() if padding else end


def _first_of(der: bytes) -> list[x509.Certificate]:
    readers: tuple[Callable[[bytes], list[x509.Certificate]], ...] = (
        lambda one: [x509.load_der_x509_certificate(one)],
        pkcs7.load_der_pkcs7_certificates,
    )
    for read in readers:
        try:
            return read(der)
        except Exception:  # noqa: BLE001, S112 - any exception means: not in this format
            continue
    return []


def _why_not(der: bytes) -> str:
    """Say why the bytes of a block are not a certificate."""
    if not der:
        return "it is empty"
    size = der_size(der)
    if size is not None and size > len(der) and der[0] == 0x30:
        return f"it has {len(der)} of {size} bytes"
    kind = der_kind(der)
    return "its ASN.1 cannot be decoded" if kind is Content.OTHER else f"it contains {kind}"


# Every part that other code reads later.
_PARTS: tuple[tuple[str, Callable[[x509.Certificate], object]], ...] = (
    ("version", lambda one: one.version),
    ("serial number", lambda one: one.serial_number),
    ("subject", lambda one: (one.subject, one.subject.rfc4514_string())),
    ("issuer", lambda one: (one.issuer, one.issuer.rfc4514_string())),
    ("dates", lambda one: (one.not_valid_before_utc, one.not_valid_after_utc)),
    ("public key", lambda one: one.public_key()),
    ("extensions", lambda one: one.extensions),
)


def look_inside(certificate: x509.Certificate, which: str) -> None:
    """Parse every part now, so that damage is found here and not when a part is read later.

    Raises:
        ConsoleError: a part cannot be read.
    """
    for part, read in _PARTS:
        try:
            read(certificate)
        except x509.DuplicateExtension as error:
            raise _unreadable(f"{which} has an extension twice", ASK_FOR_PEM) from error
        except Exception as error:
            cause = f"{which} is damaged or unusual: its {part} cannot be read"
            raise _unreadable(cause, ASK_FOR_PEM) from error


def _damaged(what: str, why: str) -> ConsoleError:
    return _unreadable(f"{what} in it is damaged ({why})", _AS_A_WHOLE)


def _unreadable(cause: str, remedy: str) -> ConsoleError:
    return ConsoleError("Certificate not read", cause, remedy)
