"""What the TSS keeps in its memory of a password after its command, found and zeroed.

It has no call for that, and frees blocks as they are. Nothing here relies on how its structures
are laid out: what is zeroed is found by what must be in it, and where it is not found, left alone.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from functools import cache
from typing import Any

from tpm2_pytss import TPM2B_SENSITIVE_CREATE
from tpm2_pytss._libtpm2_pytss import ffi, lib

# TPM2B_SENSITIVE_DATA (Part 2, 11.1.14); no authorisation in a command lies behind so many bytes.
_COVER_BYTES = 256
_KEY_BYTES = 32  # the session key's: as many as its hash, SHA-256, has (Part 1, 17.6.8)
_AUTH_BYTES = 64  # TPM2B_AUTH, Part 2, 10.4.5
_CONTEXT_WORDS = 32  # of the TSS's context in which the list of its objects begins


class Node:
    """The TSS's note of a session: session key and last password stand there as one HMAC key."""

    def __init__(self, address: int) -> None:
        self._address = address
        self._password: int | None = None

    def wipe(self) -> None:
        """Zero the last password; the TSS puts the next one there by itself."""
        if self._password is None:
            self._password = self._found()
        if self._password is not None:
            ctypes.memset(self._password, 0, _AUTH_BYTES)

    def _found(self) -> int | None:
        """Behind the session key where that stands for the second time; after the first use."""
        size, address = _libc().malloc_usable_size(self._address), self._address
        view = memoryview((ctypes.c_ubyte * size).from_address(address)).cast("B")
        sized = struct.pack("=H", _KEY_BYTES)
        for at in range(0, size - 2 * _KEY_BYTES - _AUTH_BYTES - 2, 2):
            key, rest = at + 2, at + 2 + _KEY_BYTES
            if view[at:key] != sized or not any(view[key:rest]):
                continue
            again = _libc().memmem(address + rest, size - rest, address + key, _KEY_BYTES)
            if again and again + _KEY_BYTES + _AUTH_BYTES <= address + size:
                return int(again) + _KEY_BYTES
        return None


def newest_node(context: Any, number: int) -> Node | None:
    """The note of the object that the TSS has just got: the first one in its list.

    Args:
        context: the TSS's.
        number: the object's, with which its note begins.
    """
    pointers = ctypes.cast(address_of(context), ctypes.POINTER(ctypes.c_size_t))
    for word in pointers[:_CONTEXT_WORDS]:
        if word and _peek(word) == number:
            return Node(word)
    return None


def _peek(address: int) -> int | None:
    """A number in our own memory; None where there is none, instead of a crash."""
    buffer = ctypes.c_uint32()
    here = _Piece(ctypes.addressof(buffer), ctypes.sizeof(buffer))
    there = _Piece(address, ctypes.sizeof(buffer))
    pieces = ctypes.byref(here), 1, ctypes.byref(there), 1
    read = _libc().process_vm_readv(os.getpid(), *pieces, 0)
    return buffer.value if read == ctypes.sizeof(buffer) else None


class _Piece(ctypes.Structure):
    """struct iovec, readv(2)."""

    _fields_ = (("base", ctypes.c_void_p), ("size", ctypes.c_size_t))


def wipe_buffer(context: Any) -> None:
    """Write over the last command in the TSS's buffer; the TPM is not asked."""
    system = ffi.new("TSS2_SYS_CONTEXT **")
    lib.Esys_GetSysContext(context, system)
    zeros = _COVER_BYTES.to_bytes(2, sys.byteorder) + bytes(_COVER_BYTES)
    _prepare()(address_of(system[0]), zeros)


def wipe_copy(context: Any, made: TPM2B_SENSITIVE_CREATE) -> None:
    """Zero the copy in the TSS's context: all of it is the same, so it is no other."""
    block = address_of(context)
    libc, size = _libc(), ffi.sizeof(made._cdata[0])
    copy = libc.memmem(block, libc.malloc_usable_size(block), address_of(made._cdata), size)
    if copy is not None:
        ctypes.memset(copy, 0, size)


def address_of(pointer: Any) -> int:
    return int(ffi.cast("uintptr_t", pointer))


@cache
def _libc() -> Any:
    libc = ctypes.CDLL(None)
    libc.malloc_usable_size.restype = ctypes.c_size_t
    libc.malloc_usable_size.argtypes = [ctypes.c_void_p]
    libc.memmem.restype = ctypes.c_void_p
    libc.memmem.argtypes = [ctypes.c_void_p, ctypes.c_size_t] * 2
    libc.process_vm_readv.restype = ctypes.c_ssize_t
    return libc


@cache
def _prepare() -> Any:
    """Puts a command into the buffer without sending it: TPM2_StirRandom, of zeros."""
    function = ctypes.CDLL("libtss2-sys.so.1").Tss2_Sys_StirRandom_Prepare
    function.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    return function
