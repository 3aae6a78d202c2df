"""Names and extensions: read out of a certificate, and a subject written for a request."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID, ObjectIdentifier

from tpmconsole.errors import ConsoleError, usage_error
from tpmconsole.text import printable

SAN_SHOWN = 100

_Extension = TypeVar("_Extension", bound=x509.ExtensionType)

# What RFC 4514 does not abbreviate but everybody does.
_SHORT = {NameOID.EMAIL_ADDRESS: "emailAddress", NameOID.SERIAL_NUMBER: "serialNumber"}

_SAN_KINDS: dict[
    type[x509.DNSName]
    | type[x509.IPAddress]
    | type[x509.UniformResourceIdentifier]
    | type[x509.RFC822Name],
    str,
] = {
    x509.DNSName: "dns",
    x509.IPAddress: "ip",
    x509.UniformResourceIdentifier: "uri",
    x509.RFC822Name: "email",
}

_NETSCAPE_TYPE = ObjectIdentifier("2.16.840.1.113730.1.1")

SUBJECT_CHARACTERS = 2048

# Name, OID and upper bound in characters: X.520 as in RFC 5280, appendix A.1.
_FIELDS: tuple[tuple[str, ObjectIdentifier, int], ...] = (
    ("CN", NameOID.COMMON_NAME, 64),
    ("O", NameOID.ORGANIZATION_NAME, 64),
    ("OU", NameOID.ORGANIZATIONAL_UNIT_NAME, 64),
    ("C", NameOID.COUNTRY_NAME, 2),
    ("ST", NameOID.STATE_OR_PROVINCE_NAME, 128),
    ("L", NameOID.LOCALITY_NAME, 128),
    ("STREET", NameOID.STREET_ADDRESS, 128),
    ("DC", NameOID.DOMAIN_COMPONENT, 63),
    ("UID", NameOID.USER_ID, 256),
    ("serialNumber", NameOID.SERIAL_NUMBER, 64),
    ("emailAddress", NameOID.EMAIL_ADDRESS, 255),
)
_NAMES = {oid: name for name, oid, _ in _FIELDS}
_BOUNDS = {oid: bound for _, oid, bound in _FIELDS}
# Field names are the same in upper and lower case: RFC 4512, 2.5.
_ANY_CASE = {form: oid for name, oid, _ in _FIELDS for form in (name, name.lower(), name.upper())}
_MAY_REPEAT = (NameOID.ORGANIZATIONAL_UNIT_NAME, NameOID.DOMAIN_COMPONENT)
_ASCII_ONLY = (NameOID.DOMAIN_COMPONENT, NameOID.EMAIL_ADDRESS)
# X.680, 41.4: what a PrintableString holds.
_PRINTABLE_STRING = re.compile(r"[A-Za-z0-9 '()+,./:=?-]*")
_BLANKS_AFTER_COMMA = re.compile(r"(?<!\\),\s+(?=[A-Za-z0-9.]+\s*=)")
_EXAMPLE = "write it as CN=gateway-1,O=Example,C=DE"
# What a form asks for one by one, from the most specific on, as RFC 4514 writes a name.
FORM_FIELDS = ("CN", "serialNumber", "OU", "O", "L", "ST", "C")
# RFC 4514, 2.4: what has a meaning of its own in a value; blanks and # have one at its ends only.
_SPECIAL = re.compile(r'[\\,+"<>;=]')


def name_text(name: x509.Name) -> str:
    """A distinguished name as RFC 4514 writes it; ``(no name)`` for an empty one."""
    return printable(name.rfc4514_string(_SHORT)) or "(no name)"


def san_entry(name: x509.GeneralName) -> str:
    """One subject alternative name as a request's ``--san`` writes it: ``dns:gateway.local``."""
    for kind, prefix in _SAN_KINDS.items():
        if isinstance(name, kind):
            return printable(f"{prefix}:{name.value}")
    if isinstance(name, x509.DirectoryName):
        return f"dir:{name_text(name.value)}"
    if isinstance(name, x509.RegisteredID):
        return f"rid:{name.value.dotted_string}"
    return "other"


def san_texts(names: Iterable[x509.GeneralName]) -> tuple[str, ...]:
    """The names as a request's ``--san`` takes them, whole; kinds that it cannot ask for are left
    out. Not made safe to show."""
    return tuple(
        f"{prefix}:{name.value}"
        for name in names
        for kind, prefix in _SAN_KINDS.items()
        if isinstance(name, kind)
    )


def san_entries(certificate: x509.Certificate | x509.CertificateSigningRequest) -> tuple[str, ...]:
    """All subject alternative names, at most 100 of them."""
    return tuple(san_entry(name) for name in general_names(certificate)[:SAN_SHOWN])


def general_names(
    certificate: x509.Certificate | x509.CertificateSigningRequest,
) -> list[x509.GeneralName]:
    """The subject alternative names; empty where the extension is missing."""
    return list(extension(certificate, x509.SubjectAlternativeName) or ())


def purposes(
    certificate: x509.Certificate | x509.CertificateSigningRequest,
) -> list[x509.ObjectIdentifier] | None:
    """The extended key usages; None where the extension is missing and all are allowed."""
    found = extension(certificate, x509.ExtendedKeyUsage)
    return None if found is None else list(found)


def key_usage(
    certificate: x509.Certificate | x509.CertificateSigningRequest,
) -> x509.KeyUsage | None:
    """The key usage; None where the extension is missing and all is allowed."""
    return extension(certificate, x509.KeyUsage)


def basic_constraints(certificate: x509.Certificate) -> x509.BasicConstraints | None:
    """The basic constraints, where there are any."""
    return extension(certificate, x509.BasicConstraints)


def extension(
    certificate: x509.Certificate | x509.CertificateSigningRequest, kind: type[_Extension]
) -> _Extension | None:
    """An extension's value, or None."""
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def netscape_type(certificate: x509.Certificate) -> int | None:
    """Netscape's certificate type, which OpenSSL still holds an end entity to; None without it.

    Its first bits, from the highest on: TLS client, TLS server.
    """
    for one in certificate.extensions:
        if one.oid == _NETSCAPE_TYPE and isinstance(one.value, x509.UnrecognizedExtension):
            bits = one.value.value[3:4]  # a BIT STRING: tag, length, unused bits
            return bits[0] if bits else 0
    return None


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 over the whole certificate, 64 lower-case hexadecimal digits."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def key_bytes(key: PublicKeyTypes) -> bytes:
    """A public key as its SubjectPublicKeyInfo in DER: the same for the same key."""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def key_fingerprint(key: PublicKeyTypes) -> str:
    """SHA-256 over the SubjectPublicKeyInfo in hex, as openssl and browsers do it."""
    return hashlib.sha256(key_bytes(key)).hexdigest()


def pem(certificates: Iterable[x509.Certificate]) -> bytes:
    """The certificates one after the other."""
    return b"".join(one.public_bytes(Encoding.PEM) for one in certificates)


def parse_subject(text: str) -> x509.Name:
    """A distinguished name in RFC 4514's form; blanks after commas are allowed.

    Raises:
        ConsoleError: it does not parse, is empty, or a field is too long or holds what it may not.
    """
    if len(text) > SUBJECT_CHARACTERS:
        cause = f"it has {len(text)} characters, more than {SUBJECT_CHARACTERS}"
        raise _bad_subject(cause, "shorten it")
    tidy = _BLANKS_AFTER_COMMA.sub(",", text.strip())
    if not tidy:
        raise _bad_subject("it is empty", _EXAMPLE)
    try:
        name = x509.Name.from_rfc4514_string(tidy, _ANY_CASE)
    except (ValueError, UnicodeError) as error:
        raise _why_not(tidy) from error
    seen: set[ObjectIdentifier] = set()
    for attribute in name:
        _check_field(attribute.oid, str(attribute.value))
        if attribute.oid in seen and attribute.oid not in _MAY_REPEAT:
            raise _bad_subject(f"{field_name(attribute.oid)} is given twice", "leave one out")
        seen.add(attribute.oid)
    return name


def subject_text(name: x509.Name) -> str:
    """A name as ``parse_subject`` reads it, whole; not made safe to show."""
    return name.rfc4514_string({oid: short for short, oid, _ in _FIELDS})


def subject_of_fields(values: Mapping[str, str]) -> str:
    """The RFC 4514 string of a form's fields; those that are empty are left out."""
    given = ((field, values.get(field, "")) for field in FORM_FIELDS)
    return ",".join(f"{field}={escaped(value)}" for field, value in given if value)


def fields_of_subject(name: x509.Name) -> dict[str, str] | None:
    """The form's fields of a name; None where it holds what a form has no field for."""
    values: dict[str, str] = {}
    if len(list(name)) > len(name.rdns):  # several in one place (CN=a+OU=b)
        return None
    for attribute in name:
        field = field_name(attribute.oid)
        if field not in FORM_FIELDS or field in values:
            return None
        values[field] = str(attribute.value)
    return values


def escaped(value: str) -> str:
    """A value as it stands in an RFC 4514 string (section 2.4)."""
    text = _SPECIAL.sub(lambda found: f"\\{found[0]}", value)
    if text.startswith(("#", " ")):
        text = f"\\{text}"
    if text.endswith(" ") and len(value) > 1:
        text = f"{text[:-1]}\\ "
    return text


def field_name(oid: ObjectIdentifier) -> str:
    """``CN``, ``O`` and so on; the number in dots of a field without a name."""
    return _NAMES.get(oid, oid.dotted_string)


def _check_field(oid: ObjectIdentifier, value: str) -> None:
    field, bound = field_name(oid), _BOUNDS.get(oid, SUBJECT_CHARACTERS)
    if not value.strip():
        raise _bad_subject(f"{field} is empty", f"give it a value or leave {field} out")
    if not value.isprintable():
        raise _bad_subject(f"{field} holds a control character", "leave it out")
    if oid == NameOID.COUNTRY_NAME and not re.fullmatch(r"[A-Z]{2}", value):
        cause = f"C is '{printable(value, 40)}', not a country's two capital letters"
        raise _bad_subject(cause, "write it as C=DE (ISO 3166)")
    if len(value) > bound:
        cause = f"{field} has {len(value)} characters, more than {bound}"
        raise _bad_subject(cause, "shorten it")
    if oid == NameOID.SERIAL_NUMBER and not _PRINTABLE_STRING.fullmatch(value):
        cause = "serialNumber is letters, digits, blanks and '()+,-./:=? only"
        raise _bad_subject(cause, "leave other characters out")
    if oid in _ASCII_ONLY and not value.isascii():
        raise _bad_subject(f"{field} is ASCII only", "write its ASCII form (xn--...)")


def _why_not(text: str) -> ConsoleError:  # noqa: PLR0911 - one return for each mistake
    """RFC 4514's parser says only no: find the part that it meant."""
    if text.startswith("/"):
        return _bad_subject("it begins with a slash, as OpenSSL writes subjects", _EXAMPLE)
    for part in re.split(r"(?<!\\)[,+]", text):
        field, equals, value = part.partition("=")
        shown = printable(part.strip(), 60)
        if not equals:
            cause = f"'{shown}' is not FIELD=value"
            return _bad_subject(cause, rf"{_EXAMPLE}; a comma in a value is written \,")
        if field not in _ANY_CASE and not re.fullmatch(r"\d+(\.\d+)+", field):
            cause = f"'{printable(field, 40)}' is no field"
            return _bad_subject(cause, f"use {', '.join(_NAMES.values())}")
        if field.lower() == "c" and len(value) != 2:
            cause = f"C is '{printable(value, 40)}', not a country's two capital letters"
            return _bad_subject(cause, "write it as C=DE (ISO 3166)")
        if not value:
            return _bad_subject(f"{field} is empty", f"give it a value or leave {field} out")
        if field.lower() == "cn" and len(value) > 64:
            return _bad_subject(f"CN has {len(value)} characters, more than 64", "shorten it")
    return _bad_subject(
        "a character in it has a meaning of its own",
        r"put a backslash before each of , + \" \ < > ; in a value",
    )


def _bad_subject(cause: str, remedy: str) -> ConsoleError:
    return usage_error("Subject not usable", cause, remedy)
