"""Certificates out of whatever a CA sent: PEM with text around it, DER or PKCS #7."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import pkcs7

from tpmconsole.errors import ConsoleError
from tpmconsole.system.pem_labels import Content, content
from tpmconsole.text import printable

MAX_BYTES = 1024 * 1024
MAX_CERTIFICATES = 500

# Base64 has no hyphen: "up to the next one" keeps this linear, whatever is thrown at it.
_PEM = re.compile(rb"-----BEGIN ([A-Z0-9 #]{1,40})-----([^-]*)-----END \1-----")
_PEM_BEGIN = re.compile(rb"-----BEGIN ([A-Z0-9 #]{1,40})-----")
_BASE64 = re.compile(rb"[A-Za-z0-9+/]+={0,2}")
_DER_SEQUENCE = 0x30

# What cryptography raises for data that is no certificate, or one it cannot handle.
_UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)

_ASK_FOR_PEM = "ask the CA for the certificate as PEM (with its chain) or PKCS #7"
_NO_KEY = "never hand it out; the certificate alone is needed: a file that says BEGIN CERTIFICATE"
_SENT_BACK = "send it to the CA; the certificate is what comes back"

_CONVERT = "convert it: openssl x509 -in FILE -out certificate.pem"
_CUT_OFF = "its certificate begins and has no matching end: it is cut off"
_COPY_AGAIN = "copy it again, to the last line"
_INSTEAD = {
    Content.PRIVATE_KEY: (f"it is {Content.PRIVATE_KEY}", _NO_KEY),
    Content.REQUEST: (f"it is {Content.REQUEST}, not a certificate", _SENT_BACK),
    Content.PUBLIC_KEY: (f"it is {Content.PUBLIC_KEY}, not a certificate", _SENT_BACK),
    Content.CRL: (f"it is {Content.CRL}, not a certificate", _ASK_FOR_PEM),
    Content.TRUSTED_CERTIFICATE: (f"it is {Content.TRUSTED_CERTIFICATE}", _CONVERT),
    Content.CERTIFICATE: (_CUT_OFF, _COPY_AGAIN),
    Content.PKCS7: (_CUT_OFF, _COPY_AGAIN),
}


def read_bundle(data: bytes) -> list[x509.Certificate]:
    """The certificates in a file, in its order, each only once.

    Reads PEM (any number, text around, CRLF, byte order mark), DER and PKCS #7 as PEM or DER.

    Args:
        data: the file's content, at most 1 MB.

    Raises:
        ConsoleError: there is no certificate in it; says what it is instead.
    """
    if len(data) > MAX_BYTES:
        cause = f"it has {len(data)} bytes; certificates have a few thousand"
        raise _unreadable(cause, "check that this is the right file")
    text = _as_bytes(data)
    found = _from_pem(text) or _from_der(data) or _from_base64(text)
    if not found:
        raise _unreadable(*_what_instead(text))
    if len(found) > MAX_CERTIFICATES:
        cause = f"it holds {len(found)} certificates, more than {MAX_CERTIFICATES}"
        raise _unreadable(cause, "leave out what does not belong to this certificate's chain")
    for number, certificate in enumerate(found, 1):
        look_inside(certificate, f"certificate {number} of {len(found)}")
    return list(dict.fromkeys(found))


def _as_bytes(data: bytes) -> bytes:
    """Text saved as UTF-16 (Windows' editors do) as ASCII; everything else as it is."""
    for mark, encoding in ((b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")):
        if data.startswith(mark):
            return data[2:].decode(encoding, "replace").encode("ascii", "replace")
    return data


def _from_pem(text: bytes) -> list[x509.Certificate]:
    found: list[x509.Certificate] = []
    for block in _PEM.finditer(text):
        kind = content(block[1].decode("ascii"))
        if kind is Content.CERTIFICATE:
            pem = _pem(b"CERTIFICATE", block[2])
            found += _load("a PEM certificate", _load_one_pem, pem)
        elif kind is Content.PKCS7:
            pem = _pem(b"PKCS7", block[2])
            found += _load("the PKCS #7 block", pkcs7.load_pem_pkcs7_certificates, pem)
    return found


def _pem(label: bytes, block: bytes) -> bytes:
    """The block on lines of its own, without indentation and without the quote marks of a mail."""
    lines = (line.strip(b" \t\r>") for line in block.splitlines())
    body = b"\n".join(line for line in lines if line)
    return b"-----BEGIN %s-----\n%s\n-----END %s-----\n" % (label, body, label)


def _load_one_pem(pem: bytes) -> list[x509.Certificate]:
    return [x509.load_pem_x509_certificate(pem)]


def _from_der(data: bytes) -> list[x509.Certificate]:
    if not data or data[0] != _DER_SEQUENCE:
        return []
    try:
        return [x509.load_der_x509_certificate(data)]
    except _UNREADABLE:
        pass  # a DER sequence can be many things: the next best guess is PKCS #7
    try:
        return pkcs7.load_der_pkcs7_certificates(data)
    except _UNREADABLE:
        return []


def _from_base64(text: bytes) -> list[x509.Certificate]:
    """DER in base64 without the lines that make it PEM, as EST sends it (RFC 7030, 4.2.3)."""
    compact = b"".join(text.split())
    if not _BASE64.fullmatch(compact):
        return []
    try:
        return _from_der(base64.b64decode(compact))
    except ValueError:
        return []


def _load(
    what: str, load: Callable[[bytes], list[x509.Certificate]], pem: bytes
) -> list[x509.Certificate]:
    try:
        return load(pem)
    except _UNREADABLE as error:
        cause = f"{what} in it is damaged ({printable(str(error), 120)})"
        raise _unreadable(cause, "copy it again, every line from BEGIN to END") from error


def look_inside(certificate: x509.Certificate, which: str) -> None:
    """Have every part parsed now, so that nobody who reads one later meets damage.

    Raises:
        ConsoleError: a part cannot be read.
    """
    try:
        _ = certificate.subject, certificate.issuer, certificate.extensions
        _ = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        certificate.public_key()
    except _UNREADABLE as error:
        cause = f"{which} is damaged or unusual ({printable(str(error), 120)})"
        raise _unreadable(cause, _ASK_FOR_PEM) from error


def _what_instead(text: bytes) -> tuple[str, str]:
    """What a file without certificates is, and what to do about it."""
    if not text.strip():
        return "it is empty", "copy it again"
    for begin in _PEM_BEGIN.finditer(text):
        kind = content(begin[1].decode("ascii"))
        if kind in _INSTEAD:
            return _INSTEAD[kind]
    if text[0] == _DER_SEQUENCE:
        return _what_der(text)
    if re.search(rb"<(!doctype html|html|head|body)", text[:4096].lower()):
        return "it is a web page", "download the certificate itself, not the page about it"
    return "there is no certificate in it", _ASK_FOR_PEM


def _what_der(data: bytes) -> tuple[str, str]:
    # PFX ::= SEQUENCE { version INTEGER (3), … (RFC 7292, 4): after the length, 02 01 03.
    if b"\x02\x01\x03" in data[2:9]:
        cause = "it is PKCS #12 (.p12, .pfx), which carries a private key of its own"
        return cause, "ask the CA to sign this device's request; the TPM's key is the only one"
    try:
        x509.load_der_x509_csr(data)
    except _UNREADABLE:
        return "it is no certificate, though binary (DER)", _ASK_FOR_PEM
    return _INSTEAD[Content.REQUEST]


def _unreadable(cause: str, remedy: str) -> ConsoleError:
    return ConsoleError("Certificate not read", cause, remedy)
