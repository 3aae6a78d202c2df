"""What proves that a key is in this TPM: its maker's certificates, and what only it can open.

The maker leaves a certificate of each endorsement key in NV memory, and the template that makes the
key, where it is not the usual one (TCG EK Credential Profile, 2.2.1.4 and 2.2.1.5).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tpm2_pytss import (
    ESAPI,
    ESYS_TR,
    TPM2_PT,
    TPM2_PT_NV,
    TPM2B_DATA,
    TPM2B_PUBLIC,
    TPM2B_SENSITIVE_CREATE,
    TPML_PCR_SELECTION,
    TSS2_Exception,
)
from tpm2_pytss.utils import NoSuchIndex, create_ek_template

from tpmconsole.errors import Action, ConsoleError, ExitCode, NextStep
from tpmconsole.system.der_order import with_sorted_sets
from tpmconsole.tpm.auth import Auth
from tpmconsole.tpm.handles import ENDORSEMENT_FIRST, ENDORSEMENT_LAST
from tpmconsole.tpm.keyfile import public_area
from tpmconsole.tpm.responses import Code, base, is_from_tpm
from tpmconsole.tpm.worker.jobs import capability, public, salted
from tpmconsole.tpm.worker.jobs.context import Context
from tpmconsole.tpm.worker.jobs.hmac_session import HEADER, sized
from tpmconsole.tpm.worker.jobs.load_key import Persistent, hierarchy_password, persistent
from tpmconsole.tpm.worker.jobs.open_key import Access, LoadedKey, open_key, public_key_of
from tpmconsole.tpm.worker.jobs.primary_keys import flushed, released

_NV_FIRST = 0x01000000
# The kinds of endorsement key, as tpm2-pytss calls them, by the index of their certificate.
_KINDS = {
    0x01C00002: "EK-RSA2048",
    0x01C0000A: "EK-ECC256",
    0x01C00012: "EK-HIGH-RSA2048",
    0x01C00014: "EK-HIGH-ECC256",
    0x01C00016: "EK-HIGH-ECC384",
    0x01C00018: "EK-HIGH-ECC521",
    0x01C0001C: "EK-HIGH-RSA3072",
    0x01C0001E: "EK-HIGH-RSA4096",
}
# Where a maker leaves its CAs' certificates, one after the other (section 2.2.1.5.2).
_CHAIN = range(0x01C00100, 0x01C00200)
_CHAIN_CERTIFICATES = 8
_NV_BYTES = 1024  # to read at once where the TPM does not say; it takes at most so many
_START_AUTH_SESSION, _RH_NULL, _SE_POLICY, _NULL = 0x176, 0x40000007, b"\1", bytes.fromhex("0010")
_EMPTY_PASSWORD = bytes.fromhex("400000090000010000")
_NONCE_BYTES = 16
_OTHER = (
    "the key that this TPM makes is another: its endorsement seed was changed, or the certificate "
    "is another chip's"
)


class _Memory:
    """The TPM's NV memory; reads what is there, and sends nothing for what is not."""

    def __init__(self, esapi: ESAPI) -> None:
        self._esapi = esapi
        self.indices = frozenset(capability.handles(esapi, _NV_FIRST))
        fixed = capability.properties(esapi, TPM2_PT.FIXED)
        self._at_once = min(fixed.get(TPM2_PT_NV.BUFFER_MAX, _NV_BYTES), _NV_BYTES)

    def __call__(self, index: int) -> bytes:
        """What is kept at an index.

        Raises:
            NoSuchIndex: nothing is.
            TSS2_Exception: the TPM refuses.
        """
        if int(index) not in self.indices:
            raise NoSuchIndex(int(index))
        handle = self._esapi.tr_from_tpmpublic(int(index))
        with released(lambda: self._esapi.tr_close(handle)):
            about, _ = self._esapi.nv_read_public(handle)
            size, data = int(about.nvPublic.dataSize), b""
            while len(data) < size:
                more = min(self._at_once, size - len(data))
                data += bytes(self._esapi.nv_read(handle, more, len(data), auth_handle=handle))
        return data


def endorsement(context: Context, auth: Mapping[str, Any], prove: bool) -> dict[str, Any]:
    """The maker's certificates; with ``prove``, whether each is of a key that this TPM makes."""
    known = Auth.of(auth)

    def work(esapi: ESAPI) -> dict[str, Any]:
        memory = _Memory(esapi)
        found = []
        for index in sorted(memory.indices & _KINDS.keys()):
            der, problem = _certificate(memory, index)
            if prove and not problem:
                problem = _problem(esapi, memory, index, known)
            found.append({"index": index, "der": der, "problem": problem})
        return {"certificates": found, "chain": _chain(memory)}

    return context.run(work)


def _certificate(memory: _Memory, index: int) -> tuple[bytes, str]:
    """A certificate, and why it is none."""
    try:
        data = memory(index)
    except TSS2_Exception as error:
        if not is_from_tpm(int(error.rc)):
            raise
        return b"", f"the TPM does not give it out (0x{int(error.rc):x})"
    der = _first_der(data)
    try:
        _parsed(der).public_key()
    except (ValueError, x509.InvalidVersion, UnsupportedAlgorithm):
        return b"", f"the {len(data)} bytes there are no certificate"
    return der, ""


def _chain(memory: _Memory) -> list[bytes]:
    """The maker's CAs; they may go on from one index to the next."""
    data, found = b"", list[bytes]()
    for index in sorted(memory.indices.intersection(_CHAIN)):
        try:
            data += memory(index)
        except TSS2_Exception as error:
            if not is_from_tpm(int(error.rc)):
                raise
            break
    while len(found) < _CHAIN_CERTIFICATES and (der := _first_der(data)):
        found.append(der)
        data = data[len(der) :]
    return found


def _first_der(data: bytes) -> bytes:
    """The first SEQUENCE in it, without what fills the index up behind it; empty for none."""
    if data[:2] != b"\x30\x82":  # every certificate is longer than 255 bytes
        return b""
    end = 4 + int.from_bytes(data[2:4], "big")
    return data[:end] if end <= len(data) else b""


def _problem(esapi: ESAPI, memory: _Memory, index: int, auth: Auth) -> str:
    """Why a certificate proves nothing for this TPM; empty where it does."""
    der, _ = _certificate(memory, index)
    try:
        with _endorsement_key(esapi, memory, index, auth) as key:
            made = public_key_of(key.area)
    except TSS2_Exception as error:
        if not is_from_tpm(int(error.rc)) or base(int(error.rc)) not in (Code.VALUE, Code.CURVE):
            raise
        return f"this TPM does not make such a key (0x{int(error.rc):x})"
    theirs = _parsed(der).public_key()
    same = _spki(made) == _spki(theirs)
    return "" if same else _OTHER


def _parsed(der: bytes) -> x509.Certificate:
    """A certificate; some makers leave the parts of a name in an order that is not DER's."""
    try:
        return x509.load_der_x509_certificate(der)
    except ValueError:
        return x509.load_der_x509_certificate(with_sorted_sets(der))


def _spki(key: Any) -> bytes:
    spki: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return spki


@contextmanager
def _endorsement_key(esapi: ESAPI, memory: _Memory, index: int, auth: Auth) -> Iterator[Persistent]:
    """The endorsement key of a certificate: at a handle where it is there, or made.

    Raises:
        KeyUnusableError: the endorsement hierarchy has a password that is not the one given.
        TSS2_Exception: the TPM cannot make it.
    """
    _, template = create_ek_template(_KINDS[index], memory)
    at = _handle_of(esapi, template)
    if at is not None:
        with persistent(esapi, at) as found:
            yield found
        return
    endorser = ESYS_TR.ENDORSEMENT
    with hierarchy_password(esapi, endorser, auth.endorsement, "endorsement") as chip:
        if auth.endorsement:
            handle = chip.create_primary(endorser, template)
        else:
            handle, *_ = esapi.create_primary(
                primary_handle=endorser,
                in_sensitive=TPM2B_SENSITIVE_CREATE(),
                in_public=template,
                outside_info=TPM2B_DATA(),
                creation_pcr=TPML_PCR_SELECTION(),
            )
    with flushed(esapi, handle):
        yield Persistent(handle, public.area_at(esapi, esapi.entity(handle).handle))


def _handle_of(esapi: ESAPI, template: TPM2B_PUBLIC) -> int | None:
    """Where a key of just this template is kept: making an RSA key takes a chip many seconds."""
    wanted = _head(template)
    for handle in capability.handles(esapi, ENDORSEMENT_FIRST):
        if handle > ENDORSEMENT_LAST:
            break
        try:
            area, _ = public.read(esapi, handle)
        except ConsoleError:  # which concerns nobody here
            continue
        if area.startswith(wanted):
            return handle
    return None


def _head(template: TPM2B_PUBLIC) -> bytes:
    """A public area but for the key: its kind, attributes, policy and parameters."""
    area = template.publicArea
    encoded = bytes(area.marshal())
    unique = area.unique.rsa if area.type == public_area.RSA else area.unique.ecc
    return encoded[: len(encoded) - len(unique.marshal())]


def activate(
    context: Context, key: Mapping[str, Any], index: int, credential: bytes, secret: bytes
) -> bytes:
    """Open what was sealed for a key and an endorsement key of this TPM."""
    access = Access.of(key)

    def work(esapi: ESAPI) -> bytes:
        memory = _Memory(esapi)
        salted.commands(esapi)  # its session is opened while nothing else is in the TPM
        # The key first: its parent is out of the TPM again before the endorsement key comes.
        with (
            open_key(esapi, access) as opened,
            _endorsement_key(esapi, memory, index, access.auth) as endorser,
            _authorisation(esapi, endorser.area, access.auth) as second,
        ):
            return _activated(esapi, opened, endorser.handle, credential, secret, second)

    return context.run(work)


def _activated(
    esapi: ESAPI,
    opened: LoadedKey,
    handle: ESYS_TR,
    credential: bytes,
    secret: bytes,
    second: bytes,
) -> bytes:
    try:
        return opened.activate(handle, credential, secret, second)
    except TSS2_Exception as error:
        rc = int(error.rc)
        if not is_from_tpm(rc):
            raise
        if base(rc) == Code.AUTH_UNAVAILABLE:
            raise ConsoleError(
                "Key cannot prove itself",
                "it was made so that its password does not do for this (adminWithPolicy)",
                NextStep(Action.CREATE, text="make a new key: {}"),
                ExitCode.REFUSED,
                response_code=rc,
            ) from error
        if base(rc) == Code.FAILURE:
            # swtpm 0.7 says so of what it cannot decrypt, and is well. In failure mode, the next
            # command fails as well.
            esapi.get_random(8)
        elif base(rc) not in _SEALED_FOR_ANOTHER:
            raise
        raise _for_another(rc) from error


_SEALED_FOR_ANOTHER = (Code.INTEGRITY, Code.VALUE, Code.SIZE, Code.INSUFFICIENT, Code.SCHEME)


def _for_another(rc: int) -> ConsoleError:
    return ConsoleError(
        "Sealed for another",
        f"this TPM did not open it with this key (0x{rc:x}): it was sealed for another key or chip,"
        " or was changed on its way",
        "ask the CA to seal it for this key's own attested request",
        ExitCode.REFUSED,
        response_code=rc,
    )


@contextmanager
def _authorisation(esapi: ESAPI, area: public_area.PublicArea, auth: Auth) -> Iterator[bytes]:
    """What lets an endorsement key be used, as it is sent.

    Those of the low range take nothing but a policy session that knows the endorsement password;
    the others have a password of their own as well, which is empty.
    """
    if area.attributes & public_area.USER_WITH_AUTH:
        yield _EMPTY_PASSWORD
        return
    command = (
        _RH_NULL.to_bytes(4, "big") * 2
        + sized(os.urandom(_NONCE_BYTES))
        + sized(b"")
        + _SE_POLICY
        + _NULL
        + area.name_algorithm.to_bytes(2, "big")
    )
    header = HEADER.pack(0x8001, HEADER.size + len(command), _START_AUTH_SESSION)
    answer = esapi.send(header + command)
    number = int.from_bytes(answer[HEADER.size : HEADER.size + 4], "big")
    esapi.hold_session(number)
    with released(lambda: _flush(esapi, number)):
        with hierarchy_password(esapi, ESYS_TR.ENDORSEMENT, auth.endorsement, "endorsement"):
            salted.commands(esapi, auth.endorsement).policy_secret(ESYS_TR.ENDORSEMENT, number)
        # No nonce of ours, and no HMAC: the policy asks for none (Part 1, 19.6.5).
        yield number.to_bytes(4, "big") + sized(b"") + b"\1" + sized(b"")


def _flush(esapi: ESAPI, number: int) -> None:
    esapi.flush_session(number)
    esapi.forget(number)
