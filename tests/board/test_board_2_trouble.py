"""What goes wrong on a board: the line, the permissions, the driver, the power."""

from __future__ import annotations

from pathlib import Path

import pytest

from board.technician import PROMPT, STATE, Technician

pytestmark = pytest.mark.board

ENTER, ESCAPE, RIGHT = "\r", "\x1b", "\x1b[C"
GETTY = "/etc/systemd/system/serial-getty@ttyS0.service.d/tpmconsole.conf"

# The driver that the chip's device belongs to, remembered where the device goes.
DEVICE = "d=$(readlink -f /sys/class/tpm/tpm0/device)"
UNBIND = f"{DEVICE}; basename $d >/run/chip; readlink -f $d/driver >/run/driver"
UNBIND += "; cat /run/chip >$(cat /run/driver)/unbind; udevadm settle"
BIND = "cat /run/chip >$(cat /run/driver)/bind; udevadm settle"

COUNTER = "/run/imports"
IMPORT_FOR_EVER = Path(__file__).with_name("import_for_ever.py")


def test_a_line_that_hangs_up_while_a_key_is_made_leaves_the_session_alone(
    technician: Technician,
) -> None:
    line, machine = technician.line, technician.machine
    technician.provision("gateway")
    technician.provision("pump", "--algorithm rsa-2048")
    server = technician.start_server("gateway", 8450)
    client = technician.command(
        "session start client pump --connect localhost:8450 --interval 0.2"
    )["id"]
    technician.open_console()
    line.press("2", "WHERE")
    line.press("c", "New key in the TPM")
    line.press("unfinished", "unfinished")
    line.press(ENTER + RIGHT * 3, "rsa-3072")
    with machine.slow_chip():
        line.press(ENTER * 3, "making an rsa-3072")
        technician.hang_up()
        assert "unfinished" not in machine.root(f"ls -A {STATE}/identities")

    alive = technician.session(client)
    assert alive["state"] == "running", alive
    messages = alive["messages"]
    technician.session_until(client, lambda one: one["messages"] > messages)
    # A worker inside the driver ends when the chip has answered, killed or not.
    line.until(lambda: not technician.programs("tpmconsole.tpm.worker"))
    assert len(technician.programs("session.peer")) == 2, technician.programs("")
    assert not technician.programs("bin/tpmconsole"), technician.programs("")
    names = machine.root(f"ls -A {STATE}/identities").split()
    assert all(not name.startswith(".") for name in names), names
    technician.open_console()
    line.press("4", "RUNNING")
    technician.leave_console()
    for session in (client, server):
        assert technician.command(f"session stop {session}")["state"] == "stopped"


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
    line, machine = technician.line, technician.machine
    machine.root("systemctl stop tpm2-abrmd")
    technician.open_console()
    machine.root(UNBIND)
    assert machine.root("ls /dev | grep -c tpm || true").strip() == "0"
    try:
        line.press("r", "/dev/tpmrm0: not there")
        assert "NO TPM" in line.text
    finally:
        machine.root(BIND)
    line.press("r", "PASSED")
    assert "NO TPM" not in line.text
    technician.leave_console()
    assert technician.command("status")["tcti"] == "device:/dev/tpmrm0"


def test_a_chip_that_comes_back_with_the_next_number_is_found(technician: Technician) -> None:
    line, machine = technician.line, technician.machine
    machine.root("systemctl start tpm2-abrmd")  # keeps the device that goes
    technician.open_console()
    machine.root(UNBIND)
    try:
        line.press("r", "has lost its TPM")
        assert "NO TPM" in line.text
    finally:
        machine.root(BIND)
    assert machine.root("ls /dev | grep tpmrm").strip() == "tpmrm1"
    line.press("r", "PASSED")
    technician.leave_console()
    assert technician.command("status")["tcti"] == "device:/dev/tpmrm1"
    # Nobody has it any more: it gets its number back.
    machine.root(f"systemctl stop tpm2-abrmd; {UNBIND}; {BIND}; systemctl start tpm2-abrmd")
    assert technician.command("status")["tcti"] == "device:/dev/tpmrm0"


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

    technician.switch_on()
    folder = f"{STATE}/identities/gateway"
    assert machine.root(f"sha256sum <{folder}/key.pem") == key
    assert machine.root(f"sha256sum <{folder}/certificate.pem") in possible
    assert machine.root(f"cmp {folder}/trust.pem {home}/ca.pem") == ""
    server = technician.start_server("gateway", 8460)
    technician.talk("gateway", 8460)
    technician.command(f"session stop {server}")
    assert technician.command("import gateway new.pem --trust ca.pem")["installed"]
    left = machine.root(f"ls -A {folder}").split()
    assert not [name for name in left if name.startswith(".") and "tmp" in name], left


def test_after_the_power_cut_the_technician_is_at_a_prompt(technician: Technician) -> None:
    assert PROMPT in technician.line.output
    assert technician.line.shell("true")[0] == 0
