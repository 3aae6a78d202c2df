"""What goes wrong on a board: the line, the permissions, the driver, the power."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from emulated.technician import STATE, Program, Technician

pytestmark = pytest.mark.board

ENTER, RIGHT = "\r", "\x1b[C"
GETTY = "/etc/systemd/system/serial-getty@ttyS0.service.d/zz-board.conf"

# The driver that the chip's device belongs to, remembered where the device goes.
DEVICE = "d=$(readlink -f /sys/class/tpm/tpm*/device)"
UNBIND = f"{DEVICE}; basename $d >/run/chip; readlink -f $d/driver >/run/driver"
UNBIND += "; cat /run/chip >$(cat /run/driver)/unbind; udevadm settle"
BIND = "cat /run/chip >$(cat /run/driver)/bind; udevadm settle; ls /dev | grep tpmrm"

COUNTER = "/run/imports"
IMPORT_FOR_EVER = Path(__file__).with_name("import_for_ever.py")

TPM2_TOOLS = """set -e; cd
for n in 1 2 3; do
  tpm2_createprimary -Q -C o -g sha256 -G ecc -c p.ctx
  tpm2_create -Q -C p.ctx -G ecc -u k.pub -r k.priv
  tpm2_load -Q -C p.ctx -u k.pub -r k.priv -c k.ctx
  tpm2_sign -Q -c k.ctx -g sha256 -o k.sig /etc/hostname
done"""


class TestWhileSessionsRun:
    """A server with an EC key and a client with an RSA key, talking all the time."""

    @pytest.fixture(scope="class")
    def sessions(self, technician: Technician) -> Iterator[tuple[str, str]]:
        """The server's and the client's."""
        technician.provision("gateway")
        technician.provision("pump", "--algorithm rsa-2048")
        server = technician.start_server("gateway", 8450)
        client = str(technician.start_client("pump", 8450)["id"])
        yield server, client
        for one in (client, server):
            technician.stop(one)

    def test_the_console_and_tpm2_tools_use_the_chip_too(
        self, technician: Technician, sessions: tuple[str, str]
    ) -> None:
        technician.open_console()
        technician.line.send("t")
        technician.machine.as_user(TPM2_TOOLS)
        technician.line.until("full, 20")
        technician.line.press("4", lambda: technician.line.text.count("RUNNING") >= 2)
        technician.leave_console()
        goes_on(technician, sessions[1])

    def test_a_line_that_hangs_up_while_a_key_is_made_leaves_them_alone(
        self, technician: Technician, sessions: tuple[str, str]
    ) -> None:
        line, machine = technician.line, technician.machine
        technician.open_console()
        line.press("2", "WHERE")
        line.press("c", "New key in the TPM")
        line.press("unfinished", "unfinished")
        line.press(ENTER + RIGHT * 3, "RSA 3072")
        with machine.slow_chip():
            technician.enter_until("making an RSA 3072", "New key in the TPM")
            technician.hang_up()
            assert "unfinished" not in machine.root(f"ls -A {STATE}/identities")

        goes_on(technician, sessions[1])
        # A worker inside the driver ends when the chip has answered, killed or not.
        line.until(lambda: not workers_of_consoles(technician))
        assert len(technician.programs("session.process")) == 2, technician.programs("")
        assert not technician.programs("bin/tpmconsole"), technician.programs("")
        names = machine.root(f"ls -A {STATE}/identities").split()
        assert all(not name.startswith(".") for name in names), names
        technician.open_console()
        line.press("4", lambda: line.text.count("RUNNING") >= 2)
        technician.leave_console()


def goes_on(technician: Technician, client: str) -> None:
    """Wait until a client has sent more messages than it has now."""
    facts = technician.session(client)
    assert facts["state"] == "running", facts
    technician.session_until(client, lambda one: one["messages"] > facts["messages"])


def workers_of_consoles(technician: Technician) -> list[Program]:
    """The processes that hold the TPM and are no session's."""
    sessions = [one.pid for one in technician.programs("session.process")]
    workers = technician.programs("tpmconsole.tpm.worker")
    return [one for one in workers if one.parent not in sessions and one.pid not in sessions]


def test_a_user_outside_the_group_is_told_the_group(technician: Technician) -> None:
    line, machine = technician.line, technician.machine
    change = "systemctl daemon-reload; systemctl restart serial-getty@ttyS0"
    position = len(line.output)
    machine.root(f"sed -i s/technician/visitor/ {GETTY}; {change}")
    try:
        line.until(lambda: b"visitor@board" in line.output[position:])
        line.settle()
        code, text = line.shell("tpmconsole status 2>&1")
        assert code == 3
        assert "only its group tss may open it" in text
        assert "usermod -aG tss visitor" in text
        technician.open_console()
        line.until("group tss")
        assert "NO TPM" in line.text
        assert "SIMULATED" not in line.text
    finally:
        position = len(line.output)
        machine.root(f"sed -i s/visitor/technician/ {GETTY}; {change}")
        technician.logged_in_after(position)


def test_a_driver_that_goes_and_comes_back_is_named_and_recovered(technician: Technician) -> None:
    machine = technician.machine
    machine.root("systemctl start tpm2-abrmd")  # keeps the device that goes
    technician.open_console()
    unbound(technician, "driver has lost")
    # As long as somebody keeps that, the chip has another number.
    assert machine.root("ls /dev | grep tpmrm").strip() == "tpmrm1"
    # With nobody to stand in for the driver; the number is the kernel's affair: IMA may keep one.
    machine.root("systemctl stop tpm2-abrmd")
    unbound(technician, "not there")
    technician.leave_console()
    device = machine.root("ls /dev | grep tpmrm").strip()
    assert technician.command("status")["tcti"] == f"device:/dev/{device}"


def unbound(technician: Technician, words: str) -> None:
    """Take the driver away under an open console, and bring it back."""
    line, machine = technician.line, technician.machine
    machine.root(UNBIND)
    assert machine.root("ls /dev | grep -c tpm || true").strip() == "0"
    try:
        line.press("r", words)
        assert "NO TPM" in line.text
    finally:
        machine.root(BIND)
    line.press("r", lambda: "PASSED" in line.text and "NO TPM" not in line.text)


def test_a_power_cut_in_an_import_loses_and_halves_nothing(technician: Technician) -> None:
    machine = technician.machine
    technician.provision("gateway")
    technician.command(
        "request gateway --subject CN=gateway --san dns:localhost --role both --out gateway.csr"
    )
    technician.line.shell("cp gateway.pem old.pem")
    technician.certify("gateway")
    technician.line.shell("mv gateway.pem new.pem; mv old.pem gateway.pem; sync")
    home = "/home/technician"
    key = machine.root(f"sha256sum <{STATE}/identities/gateway/key.pem")
    possible = {machine.root(f"sha256sum <{home}/{name}.pem") for name in ("gateway", "new")}
    assert len(possible) == 2
    machine.root(f"cat >{home}/loop.py <<'END'\n{IMPORT_FOR_EVER.read_text()}END\nsync")
    machine.root(f"touch {COUNTER}; chmod 666 {COUNTER}")
    arguments = f"{STATE}/identities gateway.pem new.pem ca.pem {COUNTER}"
    technician.line.send(f"/opt/tpmconsole/bin/python loop.py {arguments}\r")
    technician.line.until(lambda: int(machine.root(f"cat {COUNTER}").strip() or 0) >= 20)
    machine.cut_power()

    technician.switch_on()  # a technician is logged in again
    folder = f"{STATE}/identities/gateway"
    assert machine.root(f"sha256sum <{folder}/key.pem") == key
    assert machine.root(f"sha256sum <{folder}/certificate.pem") in possible
    assert machine.root(f"cmp {folder}/trust.pem {home}/ca.pem") == ""
    server = technician.start_server("gateway", 8460)
    technician.talk("gateway", 8460)
    technician.stop(server)
    assert technician.command("import gateway new.pem --trust ca.pem")["installed"]
    left = machine.root(f"ls -A {folder}").split()
    assert not [name for name in left if name.startswith(".") and "tmp" in name], left
