"""Passwords pass through our processes' memory: none of them may leave a copy of it behind."""

from __future__ import annotations

import ctypes
import resource

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
