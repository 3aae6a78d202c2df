"""Keys in a real (simulated) TPM, and for each test a world whose sessions end with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from support.pki import Ca, PublicKey
from support.setting import Setting
from support.world import TpmKeys, World

from tpmconsole.session.manager import SessionManager
from tpmconsole.tpm.auth import Auth
from tpmconsole.tpm.client import Tpm
from tpmconsole.tpm.model import Algorithm, KeyRef
from tpmconsole.tpm.simulator import Simulator

PASSWORD = b"open sesame"
HANDLE = 0x81000777


@pytest.fixture(scope="session")
def tpm_keys(
    shared_simulator: Simulator, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TpmKeys]:
    tpm = Tpm(shared_simulator.ensure, tmp_path_factory.mktemp("tpm") / "tpm.log")
    try:
        pems = {
            str(algorithm): tpm.create(algorithm)
            for algorithm in (Algorithm.EC_P256, Algorithm.EC_P384, Algorithm.RSA_2048)
        }
        # noda: a wrong password must not count, since tests share the TPM.
        pems["password"] = tpm.create(Algorithm.EC_P256, Auth(PASSWORD), noda=True)
        sources = {name: KeyRef(pem=pem) for name, pem in pems.items()}
        tpm.persist(tpm.create(Algorithm.EC_P256), HANDLE)
        sources["handle"] = KeyRef(handle=HANDLE)
        public: dict[str, PublicKey] = {}
        for name, source in sources.items():
            key = load_pem_public_key(tpm.public_pem(source))
            public[name] = key  # type: ignore[assignment]
        yield TpmKeys(shared_simulator.ensure(), sources, public)
        tpm.evict(HANDLE)
    finally:
        tpm.close()


@pytest.fixture
def world(tmp_path: Path, tpm_keys: TpmKeys) -> Iterator[World]:
    supervisor = SessionManager(tmp_path / "sessions", tmp_path / "console.log")
    yield World(tmp_path, tpm_keys, Ca.make("root"), supervisor)
    for facts in supervisor.list():
        supervisor.stop(facts.id)
    assert not supervisor.any_running()


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    return Setting(tmp_path)
