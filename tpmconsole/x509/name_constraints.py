"""Check the names that a CA may certify (RFC 5280, 4.2.1.10), by OpenSSL's rules.

cryptography's verifier knows only DNS names and addresses, and refuses every other constraint.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.x509.oid import NameOID, ObjectIdentifier

from tpmconsole.x509 import der
from tpmconsole.x509.links import folded, is_self_issued
from tpmconsole.x509.names import extension, general_names, name_text, san_entry

# Names times constraints: OpenSSL gives up above this (its NAME_CHECK_MAX).
_MAX_COMPARED = 1 << 20
_EMAIL_ADDRESS = bytes.fromhex("2a864886f70d010901")  # 1.2.840.113549.1.9.1
_IA5_STRING = 0x16
_SMTP_UTF8 = ObjectIdentifier("1.3.6.1.5.5.7.8.9")  # RFC 9598
# A common name in the form of a host name: only then OpenSSL applies DNS constraints to it.
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})+")


class _UnclearError(ValueError):
    """A name or constraint that OpenSSL cannot compare and therefore refuses."""


def constraint_fault(chain: Sequence[x509.Certificate]) -> str | None:
    """Say what the constraints of a CA forbid in a chain; None if they allow everything.

    Args:
        chain: the leaf first, the anchor last.
    """
    for depth, certificate in enumerate(chain):
        # RFC 5280, 6.1.3 (b): they do not apply to a CA that only renews its own name.
        if depth and is_self_issued(certificate):
            continue
        for above in chain[depth + 1 :]:
            limits = extension(above, x509.NameConstraints)
            fault = limits and _fault(certificate, limits, leaf=not depth)
            if fault:
                return (
                    f"the name constraints of the CA '{name_text(above.subject)}' do not allow "
                    f"'{name_text(certificate.subject)}': {fault}"
                )
    return None


def _fault(
    certificate: x509.Certificate, limits: x509.NameConstraints, *, leaf: bool
) -> str | None:
    permitted, excluded = limits.permitted_subtrees or [], limits.excluded_subtrees or []
    count = len(general_names(certificate)) + len(list(certificate.subject))
    if count * (len(permitted) + len(excluded)) > _MAX_COMPARED:
        return "there are too many names and constraints to compare"
    try:
        for name in _names(certificate, leaf=leaf):
            alike = [one for one in permitted if _comparable(name, one)]
            if alike and not any(_within(name, one) for one in alike):
                return f"{san_entry(name)} is not among the permitted names"
            if any(_within(name, one) for one in excluded if _comparable(name, one)):
                return f"{san_entry(name)} is excluded"
    except _UnclearError as error:
        return str(error)
    return None


def _names(certificate: x509.Certificate, *, leaf: bool) -> Iterator[x509.GeneralName]:
    """Everything that constraints apply to: the subject, its e-mail addresses and the SAN."""
    names = general_names(certificate)
    if list(certificate.subject):
        yield x509.DirectoryName(certificate.subject)
        for part in der.name_values(certificate.subject.public_bytes()):
            yield from (_address(tag, value) for oid, tag, value in part if oid == _EMAIL_ADDRESS)
    yield from names
    if leaf and not any(isinstance(one, x509.DNSName) for one in names):
        for common in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME):
            host = str(common.value).rstrip(".\0")
            if _HOST.fullmatch(host):
                yield x509.DNSName(host)


def _address(tag: int, value: bytes) -> x509.RFC822Name:
    if tag != _IA5_STRING or not value.isascii():
        raise _UnclearError("its subject has an e-mail address that is not an IA5String")
    return x509.RFC822Name(value.decode("ascii"))


def _comparable(name: x509.GeneralName, constraint: x509.GeneralName) -> bool:
    """Whether a constraint applies to this kind of name."""
    if isinstance(name, x509.OtherName):
        if name.type_id == _SMTP_UTF8 and isinstance(constraint, x509.RFC822Name):
            return True
        return isinstance(constraint, x509.OtherName) and name.type_id == constraint.type_id
    return isinstance(constraint, type(name))


def _within(name: x509.GeneralName, constraint: x509.GeneralName) -> bool:
    if isinstance(name, x509.DirectoryName) and isinstance(constraint, x509.DirectoryName):
        base = folded(constraint.value)
        return folded(name.value)[: len(base)] == base
    if isinstance(name, x509.IPAddress):
        network = constraint.value
        return name.value.version == network.version and name.value in network
    if isinstance(name, x509.DNSName):
        return _below(name.value, constraint.value)
    if isinstance(name, x509.RFC822Name):
        return _of_mail(name.value, constraint.value)
    if isinstance(name, x509.UniformResourceIdentifier):
        return _host_in(_host_of(name.value), constraint.value)
    raise _UnclearError(
        f"it constrains names of a kind that cannot be compared ({san_entry(name)})"
    )


def _below(name: str, base: str) -> bool:
    """Whether a DNS name is the constraint's name, or ends in it after a dot."""
    name, base = name.lower(), base.lower()
    if not base or name == base:
        return True
    return name.endswith(base if base.startswith(".") else f".{base}")


def _of_mail(address: str, base: str) -> bool:
    """Whether an address matches a mailbox, a host or, with a dot before it, a domain."""
    local, at, host = address.rpartition("@")
    if not at:
        raise _UnclearError(f"email:{address} is not an e-mail address")
    box, both, domain = base.rpartition("@")
    if both and box and box != local:  # RFC 5280, 7.5: the case of the local part matters
        return False
    return _host_in(host, domain)


def _host_of(uri: str) -> str:
    """The host of a URI. Without one there is nothing to compare, as in OpenSSL."""
    parts = urlsplit(uri)
    if not parts.scheme or not parts.netloc:
        raise _UnclearError(f"uri:{uri} names no host")
    host = re.split(r"[:/]", uri.partition("//")[2], maxsplit=1)[0]
    if not host:
        raise _UnclearError(f"uri:{uri} names no host")
    return host


def _host_in(host: str, base: str) -> bool:
    host, base = host.lower(), base.lower()
    if base.startswith("."):
        return len(host) > len(base) and host.endswith(base)
    return host == base
