"""Python programs that a test starts: on their own, or as a user without rights."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
NOBODY = 65534

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")

# After its imports: the interpreter and its library may be in a home that nobody may enter.
_BECOME_NOBODY = f"""
import grp, os, pwd
from pathlib import Path
import cryptography.hazmat.primitives.asymmetric.ec, cryptography.hazmat.primitives.serialization
import cryptography.x509
from tpmconsole.errors import ConsoleError
from tpmconsole.cli.next_steps import say
from tpmconsole.settings import Settings
from tpmconsole.board import Board
from tpmconsole.board.doctor import Surroundings, device, examine, probes
from tpmconsole.system import dbus
from tpmconsole.tpm import simulator, tcti
os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})
"""


def python(code: str, environment: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """Start a Python program that can import the package."""
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=PROJECT,
        env=environment,
    )


def finished(process: subprocess.Popen[str]) -> str:
    """What a program printed, once it has ended well."""
    output, errors = process.communicate(timeout=20)
    assert process.returncode == 0, errors
    return output.strip()


def as_nobody(code: str) -> str:
    """Run a program as the user nobody; of our modules it has those that choose a TPM."""
    return finished(python(_BECOME_NOBODY + code, {"PATH": "/usr/bin"}))
