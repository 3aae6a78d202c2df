"""A salted HMAC session with a TPM (Part 1, 17.6 and 21), implemented here instead of by the TSS.

The TSS can do this too, but it takes 2 ms of processor time per command (libtss2-esys 3.2.1 with
OpenSSL 3.0), four times what a simulated TPM needs to sign, and it keeps the last password in
memory that it never zeroes.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from struct import Struct
from struct import error as StructError

from cryptography.hazmat.decrepit.ciphers.modes import CFB
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from tpm2_pytss import TPMT_PUBLIC, TSS2_Exception
from tpm2_pytss.internal.crypto import _generate_seed

from tpmconsole.secret import Password
from tpmconsole.tpm.response_texts import RSP_AUTH_FAILED

Send = Callable[[bytes], bytes]

HEADER = Struct(">HII")  # tag, size, command or response code (Part 1, 18)
_SIZE, _LONG = Struct(">H"), Struct(">I")
_SESSIONS, _NO_SESSIONS = 0x8002, 0x8001
_START_AUTH_SESSION = 0x176
_RH_NULL = 0x40000007
_SE_HMAC = b"\0"
# TPMT_SYM_DEF: AES, 128 bits, CFB; then SHA-256.
_AES_128_CFB, _SHA256 = bytes.fromhex("000600800043"), bytes.fromhex("000b")
NEEDED = (0x0006, 0x0043, 0x000B)  # TPM_ALG_AES, TPM_ALG_CFB, TPM_ALG_SHA256
_NONCE_BYTES = 32
# TPMA_SESSION, Part 2, 8.4.
_CONTINUE, _DECRYPT, _ENCRYPT = 1 << 0, 1 << 5, 1 << 6
HIDES_ANSWER, HIDES_BOTH = _ENCRYPT, _DECRYPT | _ENCRYPT


@dataclass(frozen=True, slots=True)
class Entity:
    """What a command is about.

    Attributes:
        handle: its handle.
        name: its Name (Part 1, 16); of a hierarchy, the handle.
    """

    handle: int
    name: bytes


@dataclass(frozen=True, slots=True)
class Command:
    """A command whose first entity is authorised.

    Attributes:
        code: TPM_CC.
        entities: its handles.
        parameters: all of them; encrypted in place, so a hidden first one is overwritten.
        hides: whether to encrypt the answer's first parameter, or also the command's; an
            encrypted parameter must be a sized buffer (Part 1, 21.1).
        gives_handle: whether the answer begins with a handle.
        more: the authorisations of further entities, as they are sent; those in the answer are
            not checked.
    """

    code: int
    entities: Sequence[Entity]
    parameters: bytearray
    hides: int = 0
    gives_handle: bool = False
    more: bytes = b""


class HmacSession:
    """An open session.

    Args:
        handle: its handle.
        key: the session key (Part 1, 17.6.8).
        nonce: the TPM's last nonce.
    """

    def __init__(self, handle: int, key: bytes, nonce: bytes) -> None:
        self.handle = handle
        self._key = key
        self._nonce = nonce

    @classmethod
    def start(cls, send: Send, handle: int, public: TPMT_PUBLIC) -> HmacSession:
        """Start a session that is bound to no entity: TPM2_StartAuthSession (Part 3, 11.1).

        Args:
            handle: of a loaded storage key; the salt is encrypted to it.
            public: that key's public area.
        """
        salt, encrypted = _generate_seed(public, b"SECRET\0")
        ours = os.urandom(_NONCE_BYTES)
        command = (
            _LONG.pack(handle)
            + _LONG.pack(_RH_NULL)
            + sized(ours)
            + sized(encrypted)
            + _SE_HMAC
            + _AES_128_CFB
            + _SHA256
        )
        size = HEADER.size + len(command)
        response = send(HEADER.pack(_NO_SESSIONS, size, _START_AUTH_SESSION) + command)
        with _Reader(response, HEADER.size) as reader:
            number, theirs = reader.long(), reader.sized()
        return cls(number, _kdfa(salt, b"ATH", theirs, ours), theirs)

    def run(self, send: Send, command: Command, password: Password | None) -> tuple[int, bytes]:
        """Send a command; returns the answer's handle, or zero, and its parameters.

        Raises:
            TSS2_Exception: the TPM refuses, or the answer is not from the TPM.
        """
        secret = bytearray(len(self._key) + _length(password))
        view = memoryview(secret)
        view[: len(self._key)] = self._key
        view[len(self._key) :] = memoryview(password or b"")[: _length(password)]
        try:
            return self._run(send, command, secret)
        finally:
            secret[:] = bytes(len(secret))

    def _run(self, send: Send, command: Command, secret: bytearray) -> tuple[int, bytes]:
        ours = os.urandom(_NONCE_BYTES)
        attributes = bytes([_CONTINUE | command.hides])
        if command.hides & _DECRYPT:
            key = _kdfa(secret, b"CFB", ours, self._nonce)
            _crypt(key, command.parameters, encrypt=True)
        code, parameters = _LONG.pack(command.code), bytes(command.parameters)
        names = b"".join(one.name for one in command.entities)
        proof = hmac.digest(
            secret,
            sha256(code + names + parameters).digest() + ours + self._nonce + attributes,
            "sha256",
        )
        area = _LONG.pack(self.handle) + sized(ours) + attributes + sized(proof) + command.more
        handles = b"".join(_LONG.pack(one.handle) for one in command.entities)
        body = handles + _LONG.pack(len(area)) + area + parameters
        response = send(HEADER.pack(_SESSIONS, HEADER.size + len(body), command.code) + body)
        return self._checked(response, command, secret, ours)

    def _checked(
        self, response: bytes, command: Command, secret: bytearray, ours: bytes
    ) -> tuple[int, bytes]:
        """Decode a response after checking that it comes from the TPM.

        Raises:
            TSS2_Exception: it does not, or it was changed.
        """
        with _Reader(response, HEADER.size) as reader:
            handle = reader.long() if command.gives_handle else 0
            parameters = reader.take(reader.long())
            theirs, attributes, proof = reader.sized(), reader.take(1), reader.sized()
        # The response code is zero here: error responses have no session (Part 1, 17.6.5).
        digest = sha256(bytes(4) + _LONG.pack(command.code) + parameters).digest()
        good = hmac.digest(secret, digest + theirs + ours + attributes, "sha256")
        if not hmac.compare_digest(good, proof):
            raise TSS2_Exception(RSP_AUTH_FAILED)
        self._nonce = theirs
        if command.hides & _ENCRYPT:
            clear = bytearray(parameters)
            _crypt(_kdfa(secret, b"CFB", theirs, ours), clear, encrypt=False)
            parameters = bytes(clear)
        return handle, parameters


def sized(data: bytes) -> bytes:
    """Data as a TPM2B: with its size in front."""
    return _SIZE.pack(len(data)) + data


def unsized(data: bytes) -> tuple[bytes, bytes]:
    """Split off a TPM2B: its bytes, and what comes after it."""
    (size,) = _SIZE.unpack_from(data)
    return data[2 : 2 + size], data[2 + size :]


class _Reader:
    """Decodes a response; one that is too short is not the TPM's."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data, self._at = data, at

    def __enter__(self) -> _Reader:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, StructError):
            raise TSS2_Exception(RSP_AUTH_FAILED) from error

    def take(self, size: int) -> bytes:
        taken = self._data[self._at : self._at + size]
        if len(taken) != size:
            raise StructError
        self._at += size
        return taken

    def long(self) -> int:
        return int(_LONG.unpack(self.take(4))[0])

    def sized(self) -> bytes:
        return self.take(_SIZE.unpack(self.take(2))[0])


def _length(password: Password | None) -> int:
    """A password's length without zeros at its end (Part 1, 17.6.4.3)."""
    length = len(password or b"")
    while length and password is not None and not password[length - 1]:
        length -= 1
    return length


def _kdfa(key: bytes | bytearray, label: bytes, newer: bytes, older: bytes) -> bytes:
    """KDFa for as many bits as SHA-256 has, so in one round (Part 1, 11.4.10.2)."""
    return hmac.digest(
        key, _LONG.pack(1) + label + b"\0" + newer + older + _LONG.pack(256), "sha256"
    )


def _crypt(key: bytes, parameters: bytearray, *, encrypt: bool) -> None:
    """Encrypt or decrypt the first parameter in place, except for its size (Part 1, 21.3)."""
    (size,) = _SIZE.unpack_from(parameters)
    cipher = Cipher(AES(key[:16]), CFB(key[16:]))
    context = cipher.encryptor() if encrypt else cipher.decryptor()
    first = memoryview(parameters)[2 : 2 + size]
    done = context.update(first) + context.finalize()
    first[:] = done
