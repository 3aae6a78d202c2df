"""Checks a board's request against the inventory, at the CA, before the CA signs anything.

A board can request anything. Every name and usage in its request is compared with the host's
variables, and its key with the first one that the CA saw from this host. A request for anything
else is refused, with what was requested and what the inventory says. The certificate is then made
from the inventory's values: only the public key comes from the request.

If the CA takes attested requests alone, the request and what the inventory says about the host's
chip are written down for `tpmconsole attest`, which checks the rest.

It runs on the CA's machine, which does not need tpmconsole: ansible-core includes cryptography.
"""

from __future__ import annotations

import csv
import hashlib
import io
import ipaddress
import os
import re
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

# The fields that `tpmconsole request --subject` accepts. OpenSSL silently leaves out fields that it
# has no name for, so others are refused.
FIELDS = {
    "CN": NameOID.COMMON_NAME,
    "O": NameOID.ORGANIZATION_NAME,
    "OU": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "C": NameOID.COUNTRY_NAME,
    "ST": NameOID.STATE_OR_PROVINCE_NAME,
    "L": NameOID.LOCALITY_NAME,
    "STREET": NameOID.STREET_ADDRESS,
    "DC": NameOID.DOMAIN_COMPONENT,
    "UID": NameOID.USER_ID,
    "serialNumber": NameOID.SERIAL_NUMBER,
    "emailAddress": NameOID.EMAIL_ADDRESS,
}
_ANY_CASE = {
    form: oid for name, oid in FIELDS.items() for form in (name, name.lower(), name.upper())
}
_SHORT = {oid: name for name, oid in FIELDS.items()}
_BLANKS_AFTER_COMMA = re.compile(r"(?<!\\),\s+(?=[A-Za-z0-9.]+\s*=)")

ALTERNATIVE_NAMES: dict[str, Callable[[str], x509.GeneralName]] = {
    "dns": x509.DNSName,
    "ip": lambda text: x509.IPAddress(ipaddress.ip_address(text.strip("[]"))),
    "uri": x509.UniformResourceIdentifier,
    "email": x509.RFC822Name,
}
_KINDS = {
    x509.DNSName: "dns",
    x509.IPAddress: "ip",
    x509.UniformResourceIdentifier: "uri",
    x509.RFC822Name: "email",
}

PURPOSES = {
    ExtendedKeyUsageOID.SERVER_AUTH: "serverAuth",
    ExtendedKeyUsageOID.CLIENT_AUTH: "clientAuth",
}
ROLES = {
    "server": ("serverAuth",),
    "client": ("clientAuth",),
    "both": ("clientAuth", "serverAuth"),
}
_KEY_USAGES = (
    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"),
    *("key_agreement", "key_cert_sign", "crl_sign"),
)
_COMPARED = {
    ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
    ExtensionOID.KEY_USAGE,
    ExtensionOID.EXTENDED_KEY_USAGE,
    ExtensionOID.BASIC_CONSTRAINTS,
}

NOTHING = "nothing"
KEY = "public key"
_SHOWN = 400
_ATTESTED_CHARACTERS = 256 * 1024

Facts = dict[str, tuple[str, ...]]
Difference = dict[str, str]


class Refused(Exception):
    """The request or the inventory is not usable, and why."""


def said(subject: x509.Name, names: Iterable[x509.GeneralName], role: str) -> Facts:
    """The contents of a host's certificate according to the inventory."""
    return {
        "subject": (_subject_text(subject),),
        "alternative names": _sorted(map(_name_text, names)),
        "key usages": ("digitalSignature",),
        "extended key usages": ROLES[role],
        "basic constraints": ("no CA",),
        "other extensions": (),
    }


def asked(request: x509.CertificateSigningRequest) -> Facts:
    """The contents of the certificate that a request asks for, in the same form.

    Raises:
        Refused: its subject or its extensions do not parse.
    """
    try:
        subject = _subject_text(request.subject)
        extensions = {one.oid: one.value for one in request.extensions}
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise Refused(f"the board's request cannot be read: {error}") from error
    names: Any = extensions.get(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, ())
    usage: Any = extensions.get(ExtensionOID.KEY_USAGE)
    purposes: Any = extensions.get(ExtensionOID.EXTENDED_KEY_USAGE, ())
    constraints: Any = extensions.get(ExtensionOID.BASIC_CONSTRAINTS)
    return {
        "subject": (subject,),
        "alternative names": _sorted(map(_name_text, names)),
        "key usages": _usages(usage),
        "extended key usages": _sorted(PURPOSES.get(one, one.dotted_string) for one in purposes),
        "basic constraints": ("CA:TRUE" if constraints and constraints.ca else "no CA",),
        "other extensions": _sorted(one.dotted_string for one in extensions.keys() - _COMPARED),
    }


def parse_request(pem: str) -> x509.CertificateSigningRequest:
    """Parse a request that was signed with the key it is for.

    Raises:
        Refused: it is not a request, or its signature does not match: the board has not shown that
            it has the key.
    """
    try:
        request = x509.load_pem_x509_csr(pem.encode())
        valid = request.is_signature_valid
        request.public_key()
    except (ValueError, x509.InvalidVersion, UnsupportedAlgorithm) as error:
        raise Refused(f"the board's request cannot be read: {error}") from error
    if not valid:
        raise Refused("the request is not signed with the key that it is for")
    return request


def parse_subject(text: str) -> x509.Name:
    """Parse a distinguished name as in the inventory: CN=gateway-1,O=Example.

    Raises:
        Refused: it does not parse, or has a field that is not in FIELDS.
    """
    tidy = _BLANKS_AFTER_COMMA.sub(",", text.strip())
    try:
        name = x509.Name.from_rfc4514_string(tidy, _ANY_CASE)
    except ValueError as error:
        raise Refused(f"the inventory's subject '{text}' does not parse: {error}") from error
    unknown = [one.oid.dotted_string for one in name if one.oid not in _SHORT]
    if unknown or not list(name):
        raise Refused(
            f"the inventory's subject '{text}' is empty, or has fields besides {[*FIELDS]}"
        )
    return name


def parse_names(texts: Iterable[str]) -> list[x509.GeneralName]:
    """Parse alternative names as in the inventory: dns:gateway-1, ip:192.0.2.7.

    Raises:
        Refused: one of them does not parse.
    """
    names = []
    for text in dict.fromkeys(texts):
        kind, _, value = text.strip().partition(":")
        try:
            names.append(ALTERNATIVE_NAMES[kind.lower()](value))
        except (KeyError, ValueError) as error:
            raise Refused(
                f"the inventory's alternative name '{text}' does not parse: {error}"
            ) from error
    return names


def openssl_subject(name: x509.Name) -> str:
    """The name for `openssl ca -subj`; fields by number, which means the same everywhere."""
    return "".join(
        "/"
        + "+".join(
            # These have a special meaning there: without escaping, a value could start a field.
            f"{one.oid.dotted_string}=" + re.sub(r"[\\/+]", r"\\\g<0>", str(one.value))
            for one in part
        )
        for part in name.rdns
    )


def configuration(template: str, role: str, names: list[x509.GeneralName]) -> str:
    """The CA's configuration with a host's alternative names in the section of its role.

    They are DER-encoded: in OpenSSL's own notation, a comma in a name would start another.
    """
    if not names:
        return template
    encoded = x509.SubjectAlternativeName(names).public_bytes().hex()
    return f"{template}\n\n[{role}]\nsubjectAltName = DER:{encoded}\n"


def key_sha256(request: x509.CertificateSigningRequest) -> str:
    """SHA-256 of the SubjectPublicKeyInfo, as `tpmconsole` and other tools show it."""
    key = request.public_key()
    return hashlib.sha256(
        key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    ).hexdigest()


def differences(wish: Facts, inventory: Facts) -> list[Difference]:
    """The differences between what a request asks for and what the inventory says."""
    return [
        {
            "what": what,
            "asked": ", ".join(wish[what]) or NOTHING,
            "inventory": ", ".join(inventory[what]) or NOTHING,
        }
        for what in inventory
        if wish[what] != inventory[what]
    ]


def judge_key(sha256: str, record: Path, accepted: str) -> list[Difference]:
    """Check that a host's key is the one it had before, or one that the operator has named.

    A host's first key is accepted unless the operator names one: nothing is known about it yet.

    Raises:
        Refused: what the operator named is not a SHA-256.
    """
    wanted = accepted.strip().lower().replace(":", "")
    if wanted and not re.fullmatch(r"[0-9a-f]{64}", wanted):
        raise Refused(f"tpmconsole_accept_new_key is '{accepted}', not a SHA-256 in hexadecimal")
    # A damaged record is not a reason to accept any key: it is compared as it is.
    known = record.read_text(errors="replace").strip() if record.exists() else None
    if sha256 in (known, wanted) or (known is None and not wanted):
        return []
    words = [] if known is None else [f"SHA-256 {known} ({record})"]
    words += [f"SHA-256 {wanted} (tpmconsole_accept_new_key)"] if wanted else []
    return [{"what": KEY, "asked": f"SHA-256 {sha256}", "inventory": " or ".join(words)}]


def message(host: str, found: list[Difference]) -> str:
    """The message that lists every difference, with both values."""
    words = [f"The request of {host} is not what the inventory says; nothing was signed."]
    words += [
        f"{one['what']}: the board asks for {one['asked']}, "
        f"the {'CA knows' if one['what'] == KEY else 'inventory says'} {one['inventory']}."
        for one in found
    ]
    if any(one["what"] == KEY for one in found):
        words.append(
            "If the board should have a new key, compare its SHA-256 there and set it for "
            "this host as tpmconsole_accept_new_key."
        )
    return " ".join(words)


def chip_lines(chips: Iterable[str], subject: x509.Name, names: Iterable[x509.GeneralName]) -> str:
    """The inventory of one host's chip, as `tpmconsole attest check` reads it.

    Raises:
        Refused: there is no chip, or what the inventory says is no SHA-256.
    """
    prints = [one.strip().lower().replace(":", "") for one in chips]
    common = [str(one.value) for one in subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if not prints:
        raise Refused(
            "tpmconsole_chip is empty: the CA takes only keys of chips that the inventory names; "
            "set it, or tpmconsole_attested to false"
        )
    for one in prints:
        if not re.fullmatch(r"[0-9a-f]{64}", one):
            raise Refused(f"tpmconsole_chip is '{one}', and no SHA-256 in hexadecimal")
    if len(common) != 1:
        raise Refused("tpmconsole_subject needs one CN: a chip is known by it")
    text = io.StringIO()
    also = " ".join(map(_name_text, names))
    csv.writer(text, lineterminator="\n").writerows([one, common[0], also] for one in prints)
    return text.getvalue()


def write(path: Path, text: str) -> bool:
    """Write a file, completely or not at all, and return whether that changed it."""
    if path.exists() and path.read_text() == text:
        return False
    path.parent.mkdir(exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink()
        raise
    return True


def run(given: dict[str, Any]) -> dict[str, Any]:
    """Check the request, pin its key, and prepare what `openssl ca` needs.

    Raises:
        Refused: the request or the inventory is not usable.
    """
    folder, host, role = Path(given["ca"]), given["host"], given["role"]
    subject, names = parse_subject(given["subject"]), parse_names(given["san"])
    request = parse_request(given["request"])
    sha256, record = key_sha256(request), folder / "keys" / f"{host}.sha256"
    found = differences(asked(request), said(subject, names, role))
    found += judge_key(sha256, record, given["accept_new_key"])
    if found:
        shown = [{what: _shown(text) for what, text in one.items()} for one in found]
        return {"failed": True, "msg": message(host, shown), "differences": shown}

    place = folder / "requests" / host
    more = []
    if given["attested"]:
        if len(given["request"]) > _ATTESTED_CHARACTERS:
            raise Refused("the board sent more than any attested request has")
        more = [
            write(Path(f"{place}.attested"), given["request"]),
            write(Path(f"{place}.chips"), chip_lines(given["chip"], subject, names)),
        ]

    # Encoded again, so that OpenSSL reads exactly what was checked here and nothing else.
    pem = request.public_bytes(Encoding.PEM).decode()
    paths = [Path(f"{place}.csr"), Path(f"{place}.cnf")]
    template = Path(given["config"]).read_text()
    # Write all of them, whether or not an earlier one changed.
    changed = [
        write(record, f"{sha256}\n"),
        write(paths[0], pem),
        write(paths[1], configuration(template, role, names)),
        *more,
    ]
    # The request's hash is in the name: only a new request gets a new certificate.
    mark = hashlib.sha256(pem.encode()).hexdigest()[:16]
    return {
        "changed": any(changed),
        "request": str(paths[0]),
        "config": str(paths[1]),
        "subject": openssl_subject(subject),
        "issued": str(folder / "issued" / f"{host}-{mark}.pem"),
        "attested": f"{place}.attested",
        "chips": f"{place}.chips",
        "sealed": str(folder / "requests" / f"{host}-{mark}.sealed"),
        "key": sha256,
    }


def _subject_text(name: x509.Name) -> str:
    # Several fields in one place (CN=a+UID=b) are a set: their order has no meaning.
    parts = [sorted(part, key=lambda one: one.oid.dotted_string) for part in name.rdns]
    ordered = x509.Name(map(x509.RelativeDistinguishedName, parts))
    return ordered.rfc4514_string(_SHORT) or NOTHING


def _name_text(name: x509.GeneralName) -> str:
    kind = _KINDS.get(type(name))
    return f"{kind}:{name.value}" if kind else f"other:{name.value!r}"


def _usages(usage: x509.KeyUsage | None) -> tuple[str, ...]:
    # cryptography's digital_signature is digitalSignature everywhere else.
    return tuple(
        re.sub(r"_(.)", lambda found: found[1].upper(), one)
        for one in _KEY_USAGES
        if usage is not None and getattr(usage, one)
    )


def _sorted(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(texts))


def _shown(text: str) -> str:
    """A board's text made safe for a terminal, and shortened to a few lines."""
    safe = "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)
    return safe if len(safe) <= _SHOWN else f"{safe[:_SHOWN]}... ({len(safe)} characters)"


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "host": {"type": "str", "required": True},
            "request": {"type": "str", "required": True},
            "subject": {"type": "str", "required": True},
            "san": {"type": "list", "elements": "str", "required": True},
            "role": {"type": "str", "required": True, "choices": list(ROLES)},
            "ca": {"type": "path", "required": True},
            "config": {"type": "path", "required": True},
            "accept_new_key": {"type": "str", "default": "", "no_log": False},
            "attested": {"type": "bool", "default": False},
            "chip": {"type": "list", "elements": "str", "default": []},
        }
    )
    try:
        answer = run(module.params)
    except Refused as refused:
        answer = {"failed": True, "msg": _shown(f"{module.params['host']}: {refused}")}
    except OSError as error:
        answer = {"failed": True, "msg": f"The CA's folder: {error}"}
    if answer.get("failed"):
        module.fail_json(**answer)
    module.exit_json(**answer)


if __name__ == "__main__":
    main()
