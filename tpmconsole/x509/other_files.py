"""Say what a file without a certificate contains instead, and what to do about it."""

from __future__ import annotations

import re

from tpmconsole.system.der_kinds import ID_PKCS7, label_of
from tpmconsole.system.pem_labels import Content, content
from tpmconsole.x509.wrapping import unwrapped, whole_base64

ASK_FOR_PEM = "ask the CA for the certificate as PEM (with its chain) or PKCS #7"

_PEM_BEGIN = re.compile(rb"-----BEGIN ([A-Z0-9 #]{1,40})-----")
_NO_KEY = "keep it secret; only the certificate is needed: a file that says BEGIN CERTIFICATE"
_SENT_BACK = "send it to the CA, which sends the certificate back"
CONVERT = "convert it: openssl x509 -in FILE -out certificate.pem"
_CUT_OFF = "its certificate has a BEGIN line but no matching END: it is cut off"
_COPY_AGAIN = "copy it again, to the last line"
_PKCS12 = "it is PKCS #12 (.p12, .pfx), which has its own private key"
_ONLY_KEY = "ask the CA to sign this device's request: only the TPM's key is used"
_INSTEAD = {
    Content.PRIVATE_KEY: (f"it is {Content.PRIVATE_KEY}", _NO_KEY),
    Content.REQUEST: (f"it is {Content.REQUEST}, not a certificate", _SENT_BACK),
    Content.PUBLIC_KEY: (f"it is {Content.PUBLIC_KEY}, not a certificate", _SENT_BACK),
    Content.CRL: (f"it is {Content.CRL}, not a certificate", ASK_FOR_PEM),
    Content.TRUSTED_CERTIFICATE: (f"it is {Content.TRUSTED_CERTIFICATE}", CONVERT),
    Content.CERTIFICATE: (_CUT_OFF, _COPY_AGAIN),
    Content.PKCS7: (_CUT_OFF, _COPY_AGAIN),
    Content.PKCS12: (_PKCS12, _ONLY_KEY),
}
_MAGICS = (
    (b"PK\x03\x04", "it is a zip archive", "unpack it and use the certificate in it"),
    (b"\x1f\x8b", "it is gzip data", "unpack it and use the certificate in it"),
    (b"\xfe\xed\xfe\xed", "it is a Java key store", ASK_FOR_PEM),
    (b"\xce\xce\xce\xce", "it is a Java key store", ASK_FOR_PEM),
    (b"ssh-", "it is an SSH public key, not a certificate", ASK_FOR_PEM),
    (b"ecdsa-sha2-", "it is an SSH public key, not a certificate", ASK_FOR_PEM),
)
# DER that a program has read as text (UTF-8 or Latin-1) and saved again.
_DESTROYED = re.compile(rb"0(?:\xef\xbf\xbd|\xc2[\x80-\x84])")
_SIGNED_DATA = 2
_Answer = tuple[str, str]


def what_instead(text: bytes) -> _Answer:
    """Return the cause and the remedy for a file without certificates."""
    if not text.strip():
        return "it is empty", "copy it again"
    inside = whole_base64(text)
    for one in (text, unwrapped(text), *([inside] if inside else [])):
        if (known := _known(one)) is not None:
            return known
    if re.search(rb"<(!doctype html|html|head|body)", text[:4096].lower()):
        return "it is a web page", "download the certificate itself, not the page about it"
    return "there is no certificate in it", ASK_FOR_PEM


def _known(text: bytes) -> _Answer | None:
    for begin in _PEM_BEGIN.finditer(text):
        kind = content(begin[1].decode("ascii"))
        if kind in _INSTEAD:
            return _INSTEAD[kind]
    for magic, cause, remedy in _MAGICS:
        if text.startswith(magic):
            return cause, remedy
    if _DESTROYED.match(text):
        cause = "it was binary (DER) and was saved as text, which destroyed it"
        return cause, "copy it again as a binary file, or ask the CA for PEM"
    if text[:1] == b"0" and not text[:64].isascii():
        return _what_der(text)
    return None


def _what_der(data: bytes) -> _Answer:
    kind = der_kind(data)
    if kind is Content.PKCS7:
        signed = data[data.find(ID_PKCS7) + len(ID_PKCS7)] == _SIGNED_DATA
        cause = "without a certificate in it" if signed else "of a kind that holds no certificates"
        return f"it is PKCS #7 {cause}", ASK_FOR_PEM
    if kind in _INSTEAD:
        return _INSTEAD[kind]
    total = der_size(data)
    if total is not None and total > len(data):
        cause = f"it is binary (DER) but not a certificate: it has {len(data)} of {total} bytes"
        return cause, "copy it again, or ask the CA for PEM"
    return "it is binary (DER) but not a certificate", ASK_FOR_PEM


def der_kind(data: bytes) -> Content:
    """The kind of content that DER holds; OTHER if it is not a known kind."""
    return content(label_of(data) or "")


def der_size(data: bytes) -> int | None:
    """The size in bytes that an ASN.1 element states; None if it states no size (BER)."""
    if len(data) < 2 or data[1] == 0x80:
        return None
    size = data[1] & 0x7F if data[1] & 0x80 else 0
    return 2 + size + (int.from_bytes(data[2 : 2 + min(size, 8)], "big") if size else data[1])
