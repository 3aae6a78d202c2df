"""Both engines through the kernel's resource manager and through tpm2-abrmd, and which is chosen.

The provider needs tpm2-openssl 1.2, or tpm2-abrmd; the bridge needs neither. Each pair of sessions
tests two keys: the server has an EC key, the client an RSA key.
"""

from __future__ import annotations

from typing import NamedTuple

import pytest

from emulated.technician import Technician

pytestmark = pytest.mark.board

KERNEL, ABRMD = "device:/dev/tpmrm0", "tabrmd:bus_type=system"
BY_ITSELF = {"trixie": "provider", "bookworm": "bridge"}


@pytest.fixture
def abrmd(technician: Technician) -> None:
    """tpm2-abrmd on the system's bus, holding /dev/tpm0."""
    technician.machine.root("systemctl start tpm2-abrmd; systemctl is-active tpm2-abrmd")


@pytest.fixture
def kernel_only(technician: Technician) -> None:
    """Only the kernel's resource manager."""
    technician.machine.root("systemctl stop tpm2-abrmd; ! systemctl is-active tpm2-abrmd")


@pytest.fixture(autouse=True)
def provisioned(technician: Technician) -> None:
    technician.provision("gateway")
    technician.provision("pump", "--algorithm rsa-2048")


class Way(NamedTuple):
    """The path from OpenSSL to the chip."""

    engine: str
    tcti: str


def engines(technician: Technician, port: int, server: Way, client: Way) -> tuple[str, str]:
    """Return the engines of a server and a client that exchanged messages."""
    options = [f"--engine {way.engine}" for way in (server, client)]
    session = technician.start_server("gateway", port, options[0], server.tcti)
    facts = technician.talk("pump", port, options[1], client.tcti)
    return technician.stop(session)["engine"], facts["engine"]


@pytest.mark.usefixtures("kernel_only")
def test_the_engine_chosen_by_itself_works_and_so_does_the_bridge(
    technician: Technician, release: str
) -> None:
    chosen, bridge = Way("auto", KERNEL), Way("bridge", KERNEL)
    assert engines(technician, 8470, chosen, bridge) == (BY_ITSELF[release], "bridge")
    assert engines(technician, 8471, bridge, chosen) == ("bridge", BY_ITSELF[release])


@pytest.mark.usefixtures("kernel_only")
def test_a_provider_that_cannot_work_is_refused_and_says_what_it_needs(
    technician: Technician, release: str
) -> None:
    if BY_ITSELF[release] == "provider":
        pytest.skip("it works here, and the test above has proved it")
    arguments = "session start client pump --connect localhost:1 --engine provider"
    error = technician.command(arguments, code=1, tcti=KERNEL)["error"]
    assert "older than 1.2" in error["cause"]
    assert "tpm2-abrmd" in error["remedy"]


@pytest.mark.usefixtures("abrmd")
def test_the_bridge_works_while_tpm2_abrmd_holds_the_chip(technician: Technician) -> None:
    directly, through_it = Way("bridge", KERNEL), Way("bridge", ABRMD)
    assert engines(technician, 8472, directly, through_it) == ("bridge", "bridge")


@pytest.mark.usefixtures("abrmd")
def test_the_provider_works_through_tpm2_abrmd(technician: Technician) -> None:
    provider = Way("provider", ABRMD)
    assert engines(technician, 8473, provider, provider) == ("provider", "provider")
