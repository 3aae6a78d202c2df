"""Authorisation values on their way through the TSS, of which none stays in its memory.

The TSS keeps the value of each object that it knows, what the last key was made with, and the bytes
of the last command in the buffer that it sent them from. It zeroes none of them, and gives all back
to the allocator as they are.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from tpm2_pytss import (
    ESAPI,
    ESYS_TR,
    TPM2B_AUTH,
    TPM2B_SENSITIVE_CREATE,
    TPMS_SENSITIVE_CREATE,
)
from tpm2_pytss._libtpm2_pytss import ffi, lib

from tpmconsole.secret import Password

# TPM2B_SENSITIVE_DATA (Part 2, 11.1.14); no authorisation in a command lies behind so many bytes.
_COVER_BYTES = 256


@contextmanager
def authorised(esapi: ESAPI, handle: ESYS_TR, password: Password | None) -> Iterator[None]:
    """Let the TSS know an object's password for some commands; it would keep it for later ones."""
    if not password:  # as the TSS has it of everything whose password it was not told
        yield
        return
    value = TPM2B_AUTH(bytes(len(password)))
    value.buffer[:] = password
    try:
        esapi.tr_set_auth(handle, value)
    finally:
        value.buffer[:] = bytes(len(value))
    try:
        yield
    finally:
        esapi.tr_set_auth(handle, None)  # zeroes all of it


@contextmanager
def sensitive(esapi: ESAPI, password: Password | None) -> Iterator[TPM2B_SENSITIVE_CREATE]:
    """What a new key is made with, until it is made."""
    size = len(password or b"")
    made = TPM2B_SENSITIVE_CREATE(TPMS_SENSITIVE_CREATE(userAuth=bytes(size)))
    value = made.sensitive.userAuth.buffer
    value[:] = password or b""
    try:
        yield made
    finally:
        _wipe_copy(_address(esapi.context), made)
        value[:] = bytes(size)


def wipe(esapi: ESAPI) -> None:
    """Write over the last command in the TSS's buffer; the TPM is not asked."""
    system = ffi.new("TSS2_SYS_CONTEXT **")
    lib.Esys_GetSysContext(esapi.context, system)
    zeros = _COVER_BYTES.to_bytes(2, sys.byteorder) + bytes(_COVER_BYTES)
    _prepare()(_address(system[0]), zeros)


def _wipe_copy(block: int, made: TPM2B_SENSITIVE_CREATE) -> None:
    """Zero the copy in a block of the allocator's: all of it is the same, so it is no other."""
    libc, size = _libc(), ffi.sizeof(made._cdata[0])
    copy = libc.memmem(block, libc.malloc_usable_size(block), _address(made._cdata), size)
    if copy is not None:
        ctypes.memset(copy, 0, size)


def _address(pointer: Any) -> int:
    return int(ffi.cast("uintptr_t", pointer))


@cache
def _libc() -> Any:
    libc = ctypes.CDLL(None)
    libc.malloc_usable_size.restype = ctypes.c_size_t
    libc.malloc_usable_size.argtypes = [ctypes.c_void_p]
    libc.memmem.restype = ctypes.c_void_p
    libc.memmem.argtypes = [ctypes.c_void_p, ctypes.c_size_t] * 2
    return libc


@cache
def _prepare() -> Any:
    """Puts a command into the buffer without sending it: TPM2_StirRandom, of zeros."""
    function = ctypes.CDLL("libtss2-sys.so.1").Tss2_Sys_StirRandom_Prepare
    function.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    return function
