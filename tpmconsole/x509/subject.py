"""Parse the subject of a request from text, check it, and convert it to text."""

from __future__ import annotations

import re
from collections.abc import Mapping

from cryptography import x509
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID, ObjectIdentifier

from tpmconsole.errors import ConsoleError, usage_error
from tpmconsole.text import printable
from tpmconsole.x509.request_spec import PRINTABLE, UTF8
from tpmconsole.x509.subject_forms import as_rfc4514, escaped

SUBJECT_CHARACTERS = 2048

# Name, OID and maximum length in characters: X.520 as in RFC 5280, appendix A.1.
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
# Names that other programs use: Windows (E, S), Java, and OpenSSL's long names.
_ALIASES = {
    "E": NameOID.EMAIL_ADDRESS,
    "EMAIL": NameOID.EMAIL_ADDRESS,
    "S": NameOID.STATE_OR_PROVINCE_NAME,
    "commonName": NameOID.COMMON_NAME,
    "organizationName": NameOID.ORGANIZATION_NAME,
    "organizationalUnitName": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "countryName": NameOID.COUNTRY_NAME,
    "stateOrProvinceName": NameOID.STATE_OR_PROVINCE_NAME,
    "localityName": NameOID.LOCALITY_NAME,
    "streetAddress": NameOID.STREET_ADDRESS,
    "domainComponent": NameOID.DOMAIN_COMPONENT,
    "userId": NameOID.USER_ID,
}
_NAMES = {oid: name for name, oid, _ in _FIELDS}
_BOUNDS = {oid: bound for _, oid, bound in _FIELDS}
# The case of field names does not matter: RFC 4512, 2.5.
_CALLED = {name: oid for name, oid, _ in _FIELDS} | _ALIASES
_ANY_CASE = {
    form: oid for name, oid in _CALLED.items() for form in (name, name.lower(), name.upper())
}
_MAY_REPEAT = (NameOID.ORGANIZATIONAL_UNIT_NAME, NameOID.DOMAIN_COMPONENT)
# X.520 fixes the string type of these.
_FIXED_TYPE = (
    NameOID.COUNTRY_NAME,
    NameOID.SERIAL_NUMBER,
    NameOID.DOMAIN_COMPONENT,
    NameOID.EMAIL_ADDRESS,
)
_ASCII_ONLY = (NameOID.DOMAIN_COMPONENT, NameOID.EMAIL_ADDRESS)
# X.680, 41.4: what a PrintableString holds.
_PRINTABLE_STRING = re.compile(r"[A-Za-z0-9 '()+,./:=?-]*")
_BLANKS_AFTER_COMMA = re.compile(r"(?<!\\),\s+(?=[A-Za-z0-9.]+\s*=)")
_EXAMPLE = "write it as CN=gateway-1,O=Example,C=DE"
# The fields of a form, starting with the most specific, in the order of RFC 4514.
FORM_FIELDS = ("CN", "serialNumber", "OU", "O", "L", "ST", "C")


def parse_subject(text: str, string_type: str = UTF8) -> x509.Name:
    """Parse a distinguished name in RFC 4514's form or one of OpenSSL's (see ``subject_forms``).

    Args:
        string_type: ``utf8`` or ``printable``, for the fields that may have either.

    Raises:
        ConsoleError: it is not valid or empty, or a field is too long or holds a wrong character.
    """
    if len(text) > SUBJECT_CHARACTERS:
        cause = f"it has {len(text)} characters, more than {SUBJECT_CHARACTERS}"
        raise _bad_subject(cause, "shorten it")
    tidy = _BLANKS_AFTER_COMMA.sub(",", as_rfc4514(text))
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
    return _printable_name(name) if string_type == PRINTABLE else name


def _printable_name(name: x509.Name) -> x509.Name:
    """Encode a name with PrintableString in place of UTF8String."""
    return x509.Name(
        x509.RelativeDistinguishedName(map(_printable_field, rdn)) for rdn in name.rdns
    )


def _printable_field(attribute: x509.NameAttribute[str | bytes]) -> x509.NameAttribute[str | bytes]:
    # cryptography has no public name for the type, and no other way to read it.
    if attribute._type is not _ASN1Type.UTF8String:
        return attribute
    value = str(attribute.value)
    if not _PRINTABLE_STRING.fullmatch(value):
        odd = next(one for one in value if not _PRINTABLE_STRING.fullmatch(one))
        cause = (
            f"{field_name(attribute.oid)} holds '{printable(odd)}', not allowed in PrintableString"
        )
        raise _bad_subject(cause, "leave it out, or use UTF-8 as the string type")
    return x509.NameAttribute(attribute.oid, value, _ASN1Type.PrintableString)


def string_type_of(name: x509.Name) -> str:
    """Return ``printable`` if each field that is free to be UTF-8 is a PrintableString."""
    free = [one._type for one in name if one.oid not in _FIXED_TYPE]
    return PRINTABLE if free and set(free) == {_ASN1Type.PrintableString} else UTF8


def openssl_text(name: x509.Name) -> str:
    """Format a name in encoding order, as OpenSSL prints it: ``C = DE, O = Example, CN = a``."""
    return ", ".join(
        " + ".join(f"{field_name(one.oid)} = {escaped(str(one.value))}" for one in rdn)
        for rdn in name.rdns
    )


def subject_text(name: x509.Name) -> str:
    """Format the whole name so that ``parse_subject`` can read it; not made safe to show."""
    return name.rfc4514_string({oid: short for short, oid, _ in _FIELDS})


def subject_of_fields(values: Mapping[str, str]) -> str:
    """Make an RFC 4514 string from the fields of a form, without the empty ones."""
    given = ((field, values.get(field, "")) for field in FORM_FIELDS)
    return ",".join(f"{field}={escaped(value)}" for field, value in given if value)


def fields_of_subject(name: x509.Name) -> dict[str, str] | None:
    """Split a name into the fields of a form; None if it has something that the form has not.

    The form's order counts too: a subject in another order keeps it.
    """
    values: dict[str, str] = {}
    if len(list(name)) > len(name.rdns):  # multi-valued (CN=a+OU=b)
        return None
    for attribute in name:
        field = field_name(attribute.oid)
        if field not in FORM_FIELDS or field in values:
            return None
        values[field] = str(attribute.value)
    forms = [field for field in reversed(FORM_FIELDS) if field in values]
    return values if list(values) == forms else None


def field_name(oid: ObjectIdentifier) -> str:
    """The name of a field, such as ``CN``; the dotted number if it does not have a name."""
    return _NAMES.get(oid, oid.dotted_string)


def _check_field(oid: ObjectIdentifier, value: str) -> None:
    field, bound = field_name(oid), _BOUNDS.get(oid, SUBJECT_CHARACTERS)
    if not value.strip():
        raise _bad_subject(f"{field} is empty", f"give it a value or leave {field} out")
    if not value.isprintable():
        raise _bad_subject(f"{field} contains a control character", "leave it out")
    if oid == NameOID.COUNTRY_NAME and not re.fullmatch(r"[A-Z]{2}", value):
        cause = f"C is '{printable(value, 40)}', not a country's two capital letters"
        raise _bad_subject(cause, "write it as C=DE (ISO 3166)")
    if len(value) > bound:
        cause = f"{field} has {len(value)} characters, more than {bound}"
        raise _bad_subject(cause, "shorten it")
    if oid == NameOID.SERIAL_NUMBER and not _PRINTABLE_STRING.fullmatch(value):
        cause = "serialNumber allows only letters, digits, spaces and '()+,-./:=?"
        raise _bad_subject(cause, "leave other characters out")
    if oid in _ASCII_ONLY and not value.isascii():
        raise _bad_subject(f"{field} allows only ASCII", "write its ASCII form (xn--...)")


def _why_not(text: str) -> ConsoleError:
    """Find the part that is wrong: the RFC 4514 parser does not say which it is."""
    for part in re.split(r"(?<!\\)[,+]", text):
        field, equals, value = part.partition("=")
        shown = printable(part.strip(), 60)
        if not equals:
            cause = f"'{shown}' is not FIELD=value"
            return _bad_subject(cause, rf"{_EXAMPLE}; a comma in a value is written \,")
        if field not in _ANY_CASE and not re.fullmatch(r"\d+(\.\d+)+", field):
            cause = f"there is no field '{printable(field, 40)}'"
            return _bad_subject(cause, f"use {', '.join(_NAMES.values())}")
        if field.lower() == "c" and len(value) != 2:
            cause = f"C is '{printable(value, 40)}', not a country's two capital letters"
            return _bad_subject(cause, "write it as C=DE (ISO 3166)")
        if not value:
            return _bad_subject(f"{field} is empty", f"give it a value or leave {field} out")
        if field.lower() == "cn" and len(value) > 64:
            return _bad_subject(f"CN has {len(value)} characters, more than 64", "shorten it")
    return _bad_subject(
        "it contains a special character",
        r"put a backslash before each of , + \" \ < > ; in a value",
    )


def _bad_subject(cause: str, remedy: str) -> ConsoleError:
    return usage_error("Subject not usable", cause, remedy)
