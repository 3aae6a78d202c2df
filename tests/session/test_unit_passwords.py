"""A session under systemd whose key needs further passwords: they come as credentials."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from support.parent import key_below, make_parent
from support.pki import Ca
from support.swtpm import SwtpmAlone
from support.world import LOCAL, SoftwareServer, TpmKeys, World
from tpm2_pytss import ESAPI, ESYS_TR

from tpmconsole.errors import ExitCode
from tpmconsole.session.directory import SessionConfig, write_order
from tpmconsole.session.manager import SessionManager
from tpmconsole.session.service import CREDENTIALS, unit_of
from tpmconsole.session.spec import PasswordFiles, SessionSpec
from tpmconsole.session.status import SessionStatus
from tpmconsole.session.tls.engine import EngineChoice
from tpmconsole.system.files import make_private_folder
from tpmconsole.system.processes import boot_id
from tpmconsole.tpm.client import Tpm
from tpmconsole.tpm.model import Algorithm, Connection, KeyRef

PARENT = 0x81000005
ENGINE = EngineChoice("bridge", "test")


@pytest.fixture
def world(tmp_path: Path, alone: SwtpmAlone) -> World:
    """A TPM with an owner password, a key of the owner, and one below a parent with a password."""
    make_parent(alone.connection, PARENT)
    tpm = Tpm(alone.ensure, tmp_path / "tpm.log")
    try:
        pems = {
            "owner": tpm.create(Algorithm.EC_P256),
            "parent": key_below(alone.connection, PARENT),
        }
        public = {name: load_pem_public_key(tpm.public_pem(KeyRef(pems[name]))) for name in pems}
    finally:
        tpm.close()
    with ESAPI(alone.connection.tcti) as esapi:
        esapi.hierarchy_change_auth(ESYS_TR.OWNER, "owner")
    keys = TpmKeys(alone.connection, {name: KeyRef(pems[name]) for name in pems}, public)  # type: ignore[arg-type]
    return World(
        tmp_path, keys, Ca.make("root"), SessionManager(tmp_path / "sessions", tmp_path / "log")
    )


def run(folder: Path, credentials: Path, connection: Connection) -> int:
    """The session's process with a unit's standard input and environment; its exit code."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "tpmconsole.session.process", str(folder)],
        env={
            **os.environ,
            **connection.environment,
            "CREDENTIALS_DIRECTORY": str(credentials),
        },
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
        timeout=60,
    ).returncode


@pytest.mark.parametrize("needed", CREDENTIALS)
def test_the_process_takes_its_credentials(world: World, needed: str) -> None:
    credentials = make_private_folder(world.folder / "credentials")
    file = credentials / needed
    with SoftwareServer(world.software().context(server=True)) as server:
        spec = SessionSpec("client", needed, LOCAL, server.port, count=1, retries=0)
        order = SessionConfig(
            spec, world.credentials(needed), world.keys.connection, ENGINE, boot_id()
        )
        folder = make_private_folder(world.folder / "sessions" / "client-1")
        write_order(folder, order, SessionStatus("client-1", "client", needed, spec.address))
        # Without one, or with a wrong one, systemd must not start it again.
        assert run(folder, credentials, world.keys.connection) == ExitCode.REFUSED
        told = world.supervisor.show("client-1").last_error
        assert told is not None
        assert f"{needed} password" in str(told.remedy).replace("'s", "")
        file.write_bytes(b"wrong\n")
        assert run(folder, credentials, world.keys.connection) == ExitCode.REFUSED
        # Those two were attempts at the parent's; the last one is not sent without a confirmation.
        with ESAPI(world.keys.connection.tcti) as esapi:
            esapi.dictionary_attack_lock_reset(ESYS_TR.LOCKOUT)
        file.write_bytes(f"{needed}\r\nanother line\n".encode())
        assert run(folder, credentials, world.keys.connection) == ExitCode.YES
    assert server.connections == 1


def test_the_unit_names_a_file_for_each_password(world: World) -> None:
    spec = SessionSpec("server", "owner", LOCAL, 8443)
    device = Connection("device:/dev/tpmrm0", "test")
    order = SessionConfig(spec, world.credentials("owner"), device, ENGINE, boot_id())
    folder = world.folder / "sessions" / "server-1"

    def lines(passwords: PasswordFiles) -> list[str]:
        unit = unit_of(folder, order, passwords).unit
        assert unit is not None
        return unit.text().splitlines()

    asked = [line for line in lines(PasswordFiles()) if line.startswith("LoadCredential=")]
    assert not any(line.split("=")[1].startswith(CREDENTIALS) for line in asked)
    files = PasswordFiles(owner=Path("/etc/50% owner"), parent=Path("/etc/parent"))
    text = lines(files)
    assert "StandardInput=null" in text
    assert "LoadCredential=owner:/etc/50%% owner" in text
    assert "LoadCredential=parent:/etc/parent" in text
