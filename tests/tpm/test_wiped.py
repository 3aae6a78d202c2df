"""What the worker's memory holds of a password when its job has ended: all of it is searched."""

from __future__ import annotations

import base64
import copy
import json
import os
import pickle
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from support.running import needs_root
from support.swtpm import SwtpmAlone
from tpm2_pytss import ESAPI, ESYS_TR

from tpmconsole.errors import ConsoleError
from tpmconsole.secret import Secret, first_line
from tpmconsole.tpm.auth import Auth
from tpmconsole.tpm.client import Tpm
from tpmconsole.tpm.model import Algorithm, KeyRef
from tpmconsole.tpm.signer import Signer

HANDLE = 0x81000010

KEY, WRONG, OWNER, LOCKOUT = (
    f"{name}-{name}-7f3a9".encode() for name in ("kEy", "wRg", "oWn", "lCk")
)


def disguises(secret: bytes) -> list[bytes]:
    """As it is, as a wide string, and as JSON between processes had it."""
    return [secret, secret.decode().encode("utf-32-le"), base64.b64encode(secret).rstrip(b"=")]


def memory(pid: int) -> Iterator[tuple[str, bytes]]:
    """Everything that a process can write to: its heap, stacks and mappings."""
    try:
        descriptor = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
    except PermissionError:
        pytest.skip("this container cannot read another process's memory (CAP_SYS_PTRACE)")
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            span, rights, *_ = line.split()
            if rights.startswith("rw"):
                first, last = (int(one, 16) for one in span.split("-"))
                file.seek(first)
                yield line, file.read(last - first)


def found(pid: int, *secrets: bytes) -> list[tuple[bytes, str]]:
    """Which of them are in a process' memory, and where."""
    looked_for = [one for secret in secrets for one in disguises(secret)]
    return [(one, where) for where, part in memory(pid) for one in looked_for if one in part]


def worker(tpm: Tpm) -> int:
    pid = tpm.worker_pid
    assert pid is not None
    return pid


def test_a_secret_shows_nothing_travels_nowhere_and_is_wiped() -> None:
    secret = Secret(KEY)
    assert KEY.decode() not in f"{secret} {secret!r} {Auth(secret)} {[secret]}"
    for way in (pickle.dumps, copy.copy, copy.deepcopy, json.dumps):
        with pytest.raises(TypeError):
            way(secret)
    view = memoryview(secret)
    secret.wipe()
    assert bytes(view) == bytes(len(KEY))


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\r", "\nsecond line\n", "\r\n\r\n"])
def test_a_password_s_file_may_come_from_any_system(end: str) -> None:
    data = f" a b\t{end}".encode()
    assert first_line(data) == first_line(Secret(data)) == b" a b\t"
    assert first_line(end.encode()) == b""


@needs_root
def test_the_worker_keeps_no_password(alone: SwtpmAlone, client: Callable[..., Tpm]) -> None:
    tpm = client(alone.ensure)
    pem = tpm.create(Algorithm.EC_P256, Auth(KEY))
    assert not found(worker(tpm), KEY)
    with ESAPI(alone.connection.tcti) as esapi:
        esapi.hierarchy_change_auth(ESYS_TR.OWNER, OWNER)
        esapi.hierarchy_change_auth(ESYS_TR.LOCKOUT, LOCKOUT)
    assert not tpm.check_key(KeyRef(pem), Auth(WRONG, owner=OWNER)).usable
    assert tpm.check_key(KeyRef(pem), Auth(KEY, owner=OWNER)).usable
    assert not found(worker(tpm), KEY, WRONG, OWNER)
    with pytest.raises(ConsoleError):
        tpm.persist(pem, HANDLE, Auth(owner=WRONG))
    tpm.persist(pem, HANDLE, Auth(owner=OWNER))
    tpm.evict(HANDLE, Auth(owner=OWNER))
    tpm.reset_lockout(LOCKOUT)
    assert not found(worker(tpm), OWNER, WRONG, LOCKOUT)
    # What does not hide is found: or nothing above could fail.
    assert found(worker(tpm), alone.connection.tcti.encode())


@needs_root
def test_a_session_s_worker_has_the_password_only_while_it_signs(
    alone: SwtpmAlone, client: Callable[..., Tpm], tmp_path: Path
) -> None:
    pem = client(alone.ensure).create(Algorithm.EC_P256, Auth(KEY))
    with Signer(alone.ensure, KeyRef(pem), Auth(KEY), log=tmp_path / "log") as signer:
        for _ in range(2):
            signer.sign(sha256(b"").digest(), "sha256", "ecdsa")
        assert signer.pid is not None
        assert not found(signer.pid, KEY)
