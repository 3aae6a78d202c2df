"""Make certificate signing requests for keys in the TPM, and renew certificates."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tpmconsole.board.keys import create_key
from tpmconsole.board.open_key import open_key
from tpmconsole.board.trust import add_anchors
from tpmconsole.errors import Action, ConsoleError, NextStep, usage_error
from tpmconsole.inputs import CERTIFICATE_BYTES
from tpmconsole.system.files import PUBLIC_FILE, read_bounded, write_out
from tpmconsole.tpm.auth import NO_AUTH, Auth

if TYPE_CHECKING:  # cryptography loads when first used: the first paint is waiting
    from tpmconsole.board import Board
    from tpmconsole.identity.identity import Identity
    from tpmconsole.system.disks import Disk
    from tpmconsole.x509.request_spec import Line, RequestSpec

log = logging.getLogger(__name__)


def default_spec(board: Board, role: str = "client") -> RequestSpec:
    """What a new request asks for: the template of tpmconsole.toml, or else a name for the board.

    Raises:
        ConsoleError: the template cannot be used.
    """
    from tpmconsole.system.hardware import host_name, serial_number
    from tpmconsole.x509.request_template import default_spec

    table = board.settings.options.get("request", {})
    if not isinstance(table, dict):
        raise usage_error(
            "Template not usable", "request in tpmconsole.toml is not a table", "write [request]"
        )
    return default_spec(table, hostname=host_name(), serial=serial_number(), role=role)


def last_spec(board: Board, name: str) -> RequestSpec | None:
    """What the last request of an identity asked for; None before the first.

    If the key was made for a renewal and has no request yet: what the renewal should ask for.
    """
    from tpmconsole.identity.identity import kept_request
    from tpmconsole.x509.request import spec_of

    identity = board.identities.get(name)
    request = kept_request(identity)
    if request is not None:
        return spec_of(request)
    return None if identity.renews is None else _wanted_of(board, identity.renews)


def _wanted_of(board: Board, name: str) -> RequestSpec | None:
    try:
        return renewal_spec(board, name)
    except ConsoleError:  # the identity has been removed since, or is damaged
        return None


def same_request(board: Board, name: str, spec: RequestSpec) -> bytes | None:
    """The kept request's PEM, if it asks for the same with the identity's present key.

    Raises:
        ConsoleError: the subject or a name does not parse, or the TPM does not answer.
    """
    from tpmconsole.identity.identity import kept_request, unless_damaged
    from tpmconsole.x509.names import key_fingerprint
    from tpmconsole.x509.request import canonical, spec_of
    from tpmconsole.x509.request_spec import UTF8

    identity = board.identities.get(name)
    request = unless_damaged(lambda: kept_request(identity))
    if request is None:
        return None
    asked = spec_of(request)
    # UTF-8 is only the default: any encoding will do. PrintableString was asked for.
    encoded = spec.string_type in (UTF8, asked.string_type)
    if not encoded or canonical(asked) != canonical(spec):
        return None
    mine = key_fingerprint(open_key(board, identity).public)
    return request_pem(board, name) if key_fingerprint(request.public_key()) == mine else None


def preview_request(board: Board, name: str, spec: RequestSpec) -> list[Line]:
    """What a request would ask for, and how it would be signed; signs nothing.

    Raises:
        ConsoleError: the subject or a name does not parse.
    """
    from tpmconsole.x509.request import preview

    identity = board.identities.get(name)
    key = open_key(board, identity)
    return preview(spec, key.public, key.scheme)


def make_request(
    board: Board,
    name: str,
    spec: RequestSpec,
    auth: Auth = NO_AUTH,
    out: Path | None = None,
) -> bytes:
    """Make the certificate signing request, signed in the TPM; returns its PEM.

    Args:
        out: also written here, and first: if that fails, the old request stays.

    Raises:
        ConsoleError: the subject or a name does not parse, the key's password is missing, or
            the TPM refused.
    """
    from cryptography.hazmat.primitives.serialization import Encoding

    from tpmconsole.x509.names import key_fingerprint
    from tpmconsole.x509.request import build

    identity = board.identities.get(name)
    with board.recording("request", identity=name, subject=spec.subject) as facts:
        identity.check_given(auth.key)
        key = open_key(board, identity)
        facts["key"] = key_fingerprint(key.public)
        private = key.private(board, auth)
        pem = build(private, spec, key.scheme).public_bytes(Encoding.PEM)
        if out is not None:
            write_out(out, pem, PUBLIC_FILE)
        board.identities.save_request(name, pem, spec.role, written_to(out) if out else None)
    return pem


def request_pem(board: Board, name: str) -> bytes:
    """The request that is kept.

    Raises:
        ConsoleError: there is none, or it cannot be read.
    """
    return read_bounded(board.identities.get(name).request, CERTIFICATE_BYTES)


def hand_over(board: Board, name: str, out: Path, disk: Disk | None = None) -> None:
    """Write the request to a disk for its CA, and wait until it is physically there.

    Args:
        disk: the removable disk that ``out`` is on; it must still be mounted.

    Raises:
        ConsoleError: it cannot be written there.
    """
    with board.recording("hand over", identity=name, file=str(out)):
        if (
            disk is not None and not disk.path.is_mount()
        ):  # otherwise it would be written to the board itself
            raise ConsoleError(
                "Disk is gone",
                f"{disk.device} is no longer mounted at {disk.path}",
                "plug it in and mount it again, then hand the request over",
            )
        write_out(out, request_pem(board, name), PUBLIC_FILE)
        try:
            board.identities.save_handed(name, written_to(out))
        except ConsoleError as error:  # the CA's copy is written anyway
            log.warning("not remembered that the request was handed over: %s", error)


def written_to(path: Path) -> str:
    """The place to remember for a request that was written to a file."""
    return f"written to {path.absolute()}"


def note_handed_over(board: Board, name: str, where: str) -> None:
    """Remember that the request went to its CA without a file.

    Args:
        where: such as "copied to the clipboard".

    Raises:
        ConsoleError: it cannot be kept.
    """
    with board.recording("hand over", identity=name, to=where):
        board.identities.save_handed(name, where)


def renew(
    board: Board,
    name: str,
    auth: Auth = NO_AUTH,
    *,
    new_name: str | None = None,
    out: Path | None = None,
) -> bytes:
    """Ask for the certificate's names and role again: with the same key, or with a new one.

    A new key is a new identity with the same trust anchors, without the demo CA if the TPM is a
    real one; the old identity stays as it is and keeps working until it is no longer needed.
    If an earlier call was interrupted after it made the key, the same call continues from there.

    Args:
        new_name: the new identity with the new key; None keeps the key.
        auth: as in ``request``; a new key's password is not an attempt.
        out: as in ``request``.

    Returns:
        The request's PEM.

    Raises:
        ConsoleError: there is no certificate yet, the name is taken, or the TPM refused.
    """
    identity = board.identities.get(name)
    spec = renewal_spec(board, name)
    if new_name is None:
        return make_request(board, name, spec, auth, out)
    from tpmconsole.tpm.model import Algorithm, algorithm_words

    try:
        algorithm = Algorithm(identity.algorithm)
    except ValueError as error:
        what = algorithm_words(identity.algorithm)
        raise ConsoleError(
            "No such key to make",
            f"the key of '{name}' is {what}, which tpmconsole does not make",
            NextStep(Action.CREATE, new_name, "make one: {}; then make a request for it"),
        ) from error
    if not _was_cut_off(board, new_name, name):
        create_key(board, new_name, algorithm, auth, renews=name)
    if anchors := _anchors_to_carry(board, identity):
        add_anchors(board, new_name, anchors)
    return make_request(board, new_name, spec, replace(auth, spend_last_attempt=True), out)


def _anchors_to_carry(board: Board, identity: Identity) -> bytes:
    """The trust anchors that a new key's identity gets too, as PEM; empty for none.

    The key of the demo CA is a file: anyone who has read it can impersonate any peer. On a real
    TPM, no identity inherits that trust unless the user asks for it.
    """
    from tpmconsole.x509.demo_ca import is_demo_root
    from tpmconsole.x509.names import pem

    if not identity.has_trust:
        return b""
    anchors = board.identities.trust_certificates(identity.name)
    if not board.connect().simulated:
        anchors = [one for one in anchors if not is_demo_root(one)]
    return pem(anchors)


def _was_cut_off(board: Board, new_name: str, name: str) -> bool:
    """Whether a renewal with a new key was interrupted after it made the key."""
    if new_name not in board.identities.names():
        return False
    new = board.identities.get(new_name)
    return new.renews == name and not new.has_request and not new.has_certificate


def renewal_spec(board: Board, name: str) -> RequestSpec:
    """What a renewal asks for: what the installed certificate says, not any request made since.

    Raises:
        ConsoleError: there is no certificate yet.
    """
    from tpmconsole.identity.identity import kept_certificate
    from tpmconsole.x509.request import spec_of

    certificate = kept_certificate(board.identities.get(name))
    if certificate is None:
        raise ConsoleError(
            "Nothing to renew",
            f"'{name}' has no certificate yet",
            NextStep(Action.REQUEST, name, "run: {}; then import what your CA sends"),
        )
    return spec_of(certificate)


# What a form and a command ask for


def asked_by(pem: bytes) -> RequestSpec:
    """What a request that was made asks for."""
    from cryptography import x509

    from tpmconsole.x509.request import spec_of

    return spec_of(x509.load_pem_x509_csr(pem))


def form_values(spec: RequestSpec) -> dict[str, str]:
    """The values of a form that asks for the same: a subject in fields, or in one line."""
    from tpmconsole.x509.subject import fields_of_subject, parse_subject

    fields = fields_of_subject(parse_subject(spec.subject))
    subject = {"subject": spec.subject} if fields is None else fields
    rest = {"san": " ".join(spec.san), "role": spec.role, "string_type": spec.string_type}
    return {**subject, **rest}


def spec_of_form(values: Mapping[str, str]) -> RequestSpec:
    """What a form with these values asks for."""
    from tpmconsole.x509.request_spec import RequestSpec
    from tpmconsole.x509.subject import subject_of_fields

    return RequestSpec(
        subject=values["subject"] or subject_of_fields(values),
        san=tuple(values["san"].replace(",", " ").split()),
        role=values["role"],
        string_type=values["string_type"],
    )


def check_subject_field(field: str, value: str) -> None:
    """Refuse a value that this field of a subject cannot have; any field may be empty.

    Raises:
        ConsoleError: it cannot.
    """
    from tpmconsole.x509.subject import parse_subject, subject_of_fields

    if value:
        parse_subject(subject_of_fields({field: value}))


def check_subject(spec: RequestSpec) -> None:
    """Refuse a subject that does not parse.

    Raises:
        ConsoleError: it does not.
    """
    from tpmconsole.x509.subject import parse_subject

    parse_subject(spec.subject, spec.string_type)


def check_san(spec: RequestSpec) -> None:
    """Refuse names that do not parse.

    Raises:
        ConsoleError: one does not.
    """
    from tpmconsole.x509.san import parse_san

    parse_san(spec.san)
