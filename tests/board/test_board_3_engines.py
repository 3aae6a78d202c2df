"""Both engines through the kernel's resource manager and through tpm2-abrmd, and which is chosen.

The provider needs tpm2-openssl 1.2, or tpm2-abrmd; the bridge needs neither.
"""

from __future__ import annotations

import pytest

from board.technician import Technician

pytestmark = pytest.mark.board

KERNEL, ABRMD = "device:/dev/tpmrm0", "tabrmd:bus_type=system"


@pytest.fixture
def abrmd(technician: Technician) -> None:
    """tpm2-abrmd on the system's bus, holding /dev/tpm0."""
    technician.machine.root("systemctl start tpm2-abrmd; systemctl is-active tpm2-abrmd")


@pytest.fixture
def kernel_only(technician: Technician) -> None:
    """No resource manager but the kernel's."""
    technician.machine.root("systemctl stop tpm2-abrmd; ! systemctl is-active tpm2-abrmd")


@pytest.fixture(autouse=True)
def provisioned(technician: Technician) -> None:
    technician.provision("gateway")
    technician.provision("pump", "--algorithm rsa-2048")


def _handshakes(technician: Technician, port: int, tcti: str, engine: str) -> str:
    """An EC server and an RSA client with an engine, TLS 1.3; the engine that they used."""
    technician.line.shell(f"export TPMCONSOLE_TCTI={tcti}")
    try:
        server = technician.start_server("gateway", port, f"--engine {engine}")
        facts = technician.talk("pump", port, f"--engine {engine}", 2)
        used = technician.command(f"session stop {server}")["engine"]
        assert facts["engine"] == used
        return str(used)
    finally:
        technician.line.shell("unset TPMCONSOLE_TCTI")


@pytest.mark.usefixtures("kernel_only")
def test_the_engine_chosen_by_itself_works(technician: Technician, release: str) -> None:
    expected = {"trixie": "provider", "bookworm": "bridge"}[release]
    assert _handshakes(technician, 8470, KERNEL, "auto") == expected


@pytest.mark.usefixtures("kernel_only")
def test_the_bridge_works_through_the_kernels_resource_manager(technician: Technician) -> None:
    assert _handshakes(technician, 8471, KERNEL, "bridge") == "bridge"


@pytest.mark.usefixtures("abrmd")
def test_the_bridge_works_while_tpm2_abrmd_holds_the_chip(technician: Technician) -> None:
    assert _handshakes(technician, 8472, KERNEL, "bridge") == "bridge"
    assert _handshakes(technician, 8473, ABRMD, "bridge") == "bridge"


@pytest.mark.usefixtures("abrmd")
def test_the_provider_works_through_tpm2_abrmd(technician: Technician) -> None:
    assert _handshakes(technician, 8474, ABRMD, "provider") == "provider"


@pytest.mark.usefixtures("kernel_only")
def test_the_provider_works_through_the_kernels_resource_manager(
    technician: Technician, release: str
) -> None:
    if release == "bookworm":
        pytest.skip("tpm2-openssl 1.1.1 cannot: the kernel keeps no session for it")
    assert _handshakes(technician, 8475, KERNEL, "provider") == "provider"
