"""From a new board to mutual TLS, over the serial line. Each test builds on those before."""

from __future__ import annotations

import pytest

from emulated.line import Line
from emulated.technician import Technician

pytestmark = pytest.mark.board

ENTER, RIGHT = "\r", "\x1b[C"


def test_the_chip_is_found_passes_its_test_and_is_no_simulator(
    technician: Technician, figures: dict[str, str]
) -> None:
    line = technician.line
    figures["power on to the prompt"] = f"{technician.boot_s:.0f} s"
    figures["memory of the system without the console"] = f"{technician.machine.memory_mb():.0f} MB"
    size = technician.machine.root("du -sm /opt/tpmconsole").split()[0]
    figures["Python packages and the console on disk"] = f"{size} MB"
    assert line.shell("echo $TERM")[1] == "vt220\n"
    figures["first screen over serial, first start"] = f"{technician.open_console():.1f} s"
    assert "SIMULATED" not in line.text
    line.press("t", "full, 20")
    assert "PASSED" in line.text
    used = technician.machine.memory_mb()
    figures["memory of the system with the console open"] = f"{used:.0f} MB"
    technician.leave_console()
    status = technician.command("status")
    assert (status["tcti"], status["simulated"]) == ("device:/dev/tpmrm0", False)
    figures["first screen over serial, second start"] = f"{technician.open_console():.1f} s"
    technician.leave_console()


def test_a_key_is_made_requested_certified_and_imported_on_the_screen(
    technician: Technician,
) -> None:
    line = technician.line
    technician.make_ca()
    technician.open_console()
    line.press("3", "1 Key       NEXT")
    line.press("n", "New key in the TPM")
    line.press("gateway", "gateway")
    technician.enter_until("1 Key       DONE", "New key in the TPM")
    line.press("r", "Request for gateway")
    technician.enter_until("uri: or email", "Request for gateway")
    line.press("dns:localhost", "Names         dns:localhost")
    technician.enter_until("decides the key usages", "Request for gateway")
    line.press(RIGHT * 2, "< both >")
    technician.enter_until("Sign it in the TPM", "Request for gateway")
    line.press(ENTER, "Hand the request of gateway")
    line.press("f", "Write the request")
    line.press(ENTER, "Request written")
    line.press(ENTER, "2 Request   DONE")
    technician.leave_console()
    technician.certify("gateway")
    technician.open_console()
    line.press("3", "2 Request   DONE")
    line.press("i", "removable disks first")
    _choose(line, "gateway.pem", "no trust anchor is given")
    line.press("t", "The CA to trust")
    _choose(line, "ca.pem", "Compare each fingerprint")
    line.press("y", "y installs it")
    line.press("y", "5 Ready     DONE")
    technician.leave_console()


def _choose(line: Line, file: str, then: str) -> None:
    """Choose a file in the technician's home."""
    line.press("f", "everything")
    line.press("t", "Type its path")
    line.press(file, f"~/{file}")
    line.press(ENTER, then)


def test_server_and_client_talk_tls_1_3_and_1_2(
    technician: Technician, figures: dict[str, str]
) -> None:
    technician.provision("pump", "--algorithm rsa-2048")
    server = technician.start_server("gateway", 8443)
    for version in ("1.3", "1.2"):
        facts = technician.talk("pump", 8443, f"--min-tls {version} --max-tls {version}")
        assert facts["protocol_version"] == f"TLSv{version}"
        assert "CN=board" in facts["peer"]["subject"]
    facts = technician.stop(server)
    assert facts["messages"] == 6
    assert "pump" in facts["peer"]["subject"]
    figures[f"TLS handshake, {facts['engine']}"] = f"{facts['handshake_ms']['median']:.0f} ms"


def test_a_persistent_key_is_made_used_in_tls_and_evicted(technician: Technician) -> None:
    technician.provision("vault", "--handle 0x81000020")
    assert "0x81000020" in technician.machine.as_user("tpm2_getcap handles-persistent")
    server = technician.start_server("vault", 8444)
    facts = technician.talk("gateway", 8444)
    assert "vault" in facts["peer"]["subject"]
    assert technician.stop(server)["engine"] == "bridge"
    technician.command("evict 0x81000020 --yes")
    assert "0x81000020" not in technician.machine.as_user("tpm2_getcap handles-persistent")
