"""Passwords pass through our processes' memory: none of them may leave a copy of it behind.

Wiped is what Python lets us wipe. The processes that talk to the TPM get their secrets as bytes of
their own, never as JSON. When a job ends they wipe them, and what the TSS keeps of them
(``tpm.wire``, ``tpm.jobs.authorisation``); one that has wrapped a key made elsewhere holds copies
that nobody can wipe, and ends. What Python does not let us wipe: the ``str`` that a password was
while it was typed, and the ``bytes`` that were read from a file or made of that ``str``. They are
in the console's process, and in a session's where OpenSSL's provider wants them; nobody refers to
them longer than is needed, and their memory is used again, but not zeroed before.
"""

from __future__ import annotations

import ctypes
import resource
from typing import NoReturn, TypeAlias

_PR_SET_DUMPABLE = 4


def leave_no_core() -> None:
    """No core dump of this process, and nobody of the same user may attach to it.

    RLIMIT_CORE, which programs that we start inherit, keeps files from being written; only
    PR_SET_DUMPABLE keeps the kernel from handing the memory to a crash collector (core(5)), and
    another program of this user from reading it (ptrace(2)). It also makes most files of
    ``/proc/self`` root's: read those before.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


class Secret(bytearray):
    """A password or a private key: its memory is zeroed when it is wiped, or nobody needs it.

    It shows nothing, and does not travel by accident: neither pickle nor JSON takes it. Its length
    never changes, for that might leave a copy where it was.
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
    with memoryview(data) as whole:  # a slice of the data itself would be a copy that stays
        return Secret(whole[:end])


# One that may be wiped, or not: see above.
Password: TypeAlias = bytes | Secret
