"""Passwords pass through the memory of our processes, which must not leave copies behind.

We wipe what Python lets us wipe. The processes that talk to the TPM get their secrets as separate
bytes, never as JSON, and wipe them when a job ends (``tpm.worker.protocol``). Passwords bypass the
TSS, which never zeroes its copies (``tpm.worker.jobs.hmac_session``). A process that has wrapped a
key made elsewhere has copies that cannot be wiped, and ends. Python does not let us wipe the
``str`` that holds a password while it is typed, nor the ``bytes`` that were read from a file or
made from that ``str``. They are in the console's process, and in a session's if OpenSSL's provider
needs them; they are not referenced longer than necessary, and their memory is reused, but not
zeroed first.
"""

from __future__ import annotations

import ctypes
import resource
from typing import NoReturn, TypeAlias

_PR_SET_DUMPABLE = 4


def leave_no_core() -> None:
    """Allow no core dump of this process, and no other process of this user to attach to it.

    RLIMIT_CORE, which programs that we start inherit, prevents core files; only PR_SET_DUMPABLE
    keeps the kernel from handing the memory to a crash collector (core(5)), and another program of
    this user from reading it (ptrace(2)). It also makes root the owner of most files in
    ``/proc/self``: read those first.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


class Secret(bytearray):
    """A password or a private key: its memory is zeroed when it is wiped or no longer referenced.

    It is never shown, nor sent by accident: neither pickle nor JSON accepts it. Its length never
    changes, since that might leave a copy at the old address.
    """

    def wipe(self) -> None:
        """Zero it; its length stays."""
        self[:] = bytes(len(self))

    def __del__(self) -> None:
        self.wipe()

    def __repr__(self) -> str:
        return "Secret(...)"

    __str__ = __repr__

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a secret is neither copied nor pickled")


def first_line(data: Password) -> Secret:
    """The password in a file: its first line without its end, which is LF, or CR and LF."""
    end = data.find(b"\n")
    end = len(data) if end < 0 else end
    while end > 0 and data[end - 1] == ord("\r"):
        end -= 1
    with memoryview(data) as whole:  # a slice of the data itself would leave a copy behind
        return Secret(whole[:end])


# Only a Secret can be wiped: see above.
Password: TypeAlias = bytes | Secret
