"""Under the board's systemd: a session as a service, a serial line's login, the kiosk, the clock.

Root installs, and logs in on the serial line by name and password. The tests build on one another.
"""

from __future__ import annotations

import json
import re
import statistics
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from emulated.line import PATIENCE_S, Line
from emulated.technician import BOOT_S, Technician

pytestmark = pytest.mark.board

HOME = "/home/technician"
KIOSK_STATE = "/var/lib/tpmconsole-kiosk"
PORT = 8480
SESSION = "tpmconsole-server-1.service"
EVENTS = "/var/lib/tpmconsole-server-1/events.jsonl"
KIOSK = "tpmconsole-kiosk.service"
GETTY = "serial-getty@ttyS0.service"
DROP_INS = f"/etc/systemd/system/{GETTY}.d"
AUTOLOGIN = f"{DROP_INS}/zz-board.conf"
PASSWORD = "of-the-board"

# A list of what the authority has revoked, as `openssl ca` keeps it.
REVOCATION = (
    "printf '[ca]\\ndefault_ca=d\\n[d]\\ndatabase=index.txt\\ndefault_md=sha256\\n"
    "default_crl_days=30\\ncrlnumber=crlnumber\\n' >crl.cnf; : >index.txt; echo 01 >crlnumber"
)
CA = "openssl ca -batch -config crl.cnf -keyfile ca.key -cert ca.pem"
CRL = f"{CA} -gencrl -out /etc/tpmconsole.crl"

F3, F8, F10 = "\x1bOR", "\x1b[19~", "\x1b[21~"
SECRET = F8 + F8 + "x" + F3 + "x"
LEAVE = json.dumps(["f8", "f8", "x", "f3", "x"])
COVER = "Press Enter to begin"
ALTERNATE_SCREEN = b"\x1b[?1049h"  # where a full-screen program begins (xterm's control sequences)
# What is on each of the first pages when its act is over; each needs another part of the simulator.
ACTS = ("as the chip reports", "INSIDE", "only this chip", "by the chip")
# Quit in all its ways, suspend, interrupt, end of input, the palette, and what a getty would hear.
NO_WAY_OUT = "q" + "\x03\x04\x11\x1a\x1c\x10" + F10 + "root"


def root(technician: Technician, arguments: str) -> Any:
    """Run a command of the console's as root; its JSON answer, be it a yes or a no."""
    command = f"tpmconsole {arguments} --json 2>/run/said || [ $? = 1 ]"
    return json.loads(technician.machine.root(command))


def facts(technician: Technician) -> dict[str, Any]:
    """The installed session's."""
    found: dict[str, Any] = root(technician, "session show server-1")
    return found


def until_running(technician: Technician, but: int | None = None) -> dict[str, Any]:
    """The installed session's facts when it runs, as another process than ``but``."""
    deadline = time.monotonic() + PATIENCE_S
    # Not by waiting on the line: who waits there keeps others from reading it.
    while (found := facts(technician))["state"] != "running" or found["pid"] == but:
        assert time.monotonic() < deadline, found
    return found


def sign(technician: Technician) -> None:
    """Have the authority certify root's ``gateway``, and import that."""
    technician.machine.root(
        f"cd {HOME}; openssl x509 -req -in /root/gateway.csr -CA ca.pem -CAkey ca.key"
        " -CAcreateserial -days 365 -copy_extensions copy -extfile ca.ext -out /root/gateway.pem"
    )
    arguments = f"import gateway /root/gateway.pem --trust {HOME}/ca.pem"
    assert root(technician, arguments)["installed"]


def show(technician: Technician, unit: str, *names: str) -> list[str]:
    """Properties of a unit."""
    wanted = " ".join(f"-p {name}" for name in names)
    lines = technician.machine.root(f"systemctl show {wanted} {unit}").splitlines()
    told = dict(line.split("=", 1) for line in lines)
    return [told[name] for name in names]


@pytest.fixture(scope="module")
def service(technician: Technician) -> dict[str, Any]:
    """Root's server, which systemd has started; what installing it answered."""
    technician.machine.root("systemctl stop tpm2-abrmd")
    technician.provision("pump", "--algorithm rsa-2048")
    technician.machine.root(f"cd {HOME}; {REVOCATION}; {CRL}; chmod 600 /etc/tpmconsole.crl")
    root(technician, "create gateway")
    request = "--subject CN=gateway --san dns:localhost --role both --out /root/gateway.csr"
    root(technician, f"request gateway {request}")
    sign(technician)
    listen = f"--listen localhost:{PORT} --crl /etc/tpmconsole.crl"
    assert root(technician, f"session start server gateway {listen}")["id"] == "server-1"
    root(technician, "session stop server-1")
    answer: dict[str, Any] = root(technician, "session install server-1")
    assert answer["changed"]
    technician.machine.root(answer["start"])
    until_running(technician)
    return answer


@pytest.mark.usefixtures("service")
def test_a_session_of_systemds_talks_is_reloaded_and_comes_back(
    technician: Technician, figures: dict[str, str]
) -> None:
    machine = technician.machine
    before = facts(technician)
    numbers = f"$(sed -n 's/^Uid:.//p' /proc/{before['pid']}/status)"
    user = int(machine.root(f"set -- {numbers}; echo $1"))
    assert 61184 <= user <= 65519, "systemd makes its user (systemd.exec(5), DynamicUser=)"
    old = technician.talk("pump", PORT)["peer"]["fingerprint"]
    open_one = technician.start_client("pump", PORT)["id"]

    # A renewed certificate, and a list that has the client's on it.
    sign(technician)
    machine.root(f"cd {HOME}; {CA} -revoke pump.pem; {CRL}; systemctl reload {SESSION}")
    machine.root(f"until grep '\"reloaded\"' {EVENTS}; do sleep 0.2; done")
    position = technician.session(open_one)["messages"]
    refused = technician.command(
        f"session start client pump --connect localhost:{PORT} --count 1 --retries 0", code=1
    )
    assert "revoked" in refused["error"]["cause"], refused
    goes_on = technician.session_until(open_one, lambda one: one["messages"] > position)
    assert goes_on["peer"]["fingerprint"] == old
    assert goes_on["handshakes"] == 1
    assert facts(technician)["pid"] == before["pid"]

    machine.root(f"cd {HOME}; : >index.txt; {CRL}")
    machine.root(f"kill -9 {before['pid']}")
    until_running(technician, but=before["pid"])
    assert technician.session_until(open_one, lambda one: one["handshakes"] > 1)
    technician.stop(open_one)
    assert technician.talk("pump", PORT)["peer"]["fingerprint"] != old
    exposure = machine.root(f"systemd-analyze security --no-pager {SESSION} | tail -1")
    figures["exposure of a session's unit (systemd-analyze)"] = exposure_in(exposure)


def exposure_in(text: str) -> str:
    """What systemd thinks of a unit: from 0, nothing is allowed, to 10, everything is."""
    found = re.search(r": (\d+\.\d) ", text)
    assert found, text
    return found[1]


@pytest.fixture
def by_name(technician: Technician) -> Iterator[int]:
    """The login as the README sets it up, which asks for a name; after which output it comes."""
    machine = technician.machine
    change = f"systemctl daemon-reload; systemctl restart {GETTY}"
    position = len(technician.line.output)
    machine.root(f"echo root:{PASSWORD} | chpasswd; mv {AUTOLOGIN} /run; {change}")
    yield position
    position = len(technician.line.output)
    machine.root(f"mv /run/zz-board.conf {DROP_INS}; {change}")
    technician.logged_in_after(position)


def _asked(line: Line, words: bytes, position: int) -> bool:
    return words in line.output[position:]


def log_in(line: Line, position: int) -> None:
    """Log root in where the line asks for it after a position in its output."""
    for asked, answer in ((b"login:", "root"), (b"Password:", PASSWORD)):
        line.until(partial(_asked, line, asked, position))
        line.send(f"{answer}\r")
    line.until(lambda: b"root@board" in line.output[position:])
    line.settle()


@pytest.mark.usefixtures("service")
def test_the_installed_login_leads_to_the_console_and_the_session_on_it(
    technician: Technician, by_name: int
) -> None:
    line, machine = technician.line, technician.machine
    installed = root(technician, "install serial-console --tty ttyS0 --baud 115200")
    assert not installed["changed"], "the README's last command has done it"
    log_in(line, by_name)
    assert line.shell("echo $TERM; stty speed")[1] == "vt220\n115200\n"
    technician.open_console()
    line.press("4", lambda: re.search(r"server-1 .*RUNNING", line.text))
    line.send("q")
    line.settle()
    # Undone: Debian's own login is there again.
    machine.root(installed["undo"])
    assert "--keep-baud" in machine.root(f"systemctl show -p ExecStart {GETTY}")
    position = len(line.output)
    machine.root(f"systemctl restart {GETTY}")
    log_in(line, position)
    assert line.shell("tty")[1] == "/dev/ttyS0\n"
    assert root(technician, "install serial-console --tty ttyS0 --baud 115200")["changed"]


@pytest.fixture
def kiosk(technician: Technician) -> Iterator[dict[str, Any]]:
    """The kiosk on the serial line, which systemd has started; what installing it answered."""
    machine = technician.machine
    rules = f"[kiosk]\nquiet_s = 600\nleave = {LEAVE}\n"
    machine.root(f"mkdir {KIOSK_STATE}; printf '{rules}' >{KIOSK_STATE}/tpmconsole.toml")
    answer = root(technician, "install kiosk --tty ttyS0")
    assert answer["changed"]
    machine.root(answer["start"])
    yield answer
    machine.root(f"systemctl disable --now {KIOSK}; systemctl start {GETTY}")


def kiosk_pid(technician: Technician) -> int:
    return int(show(technician, KIOSK, "MainPID")[0])


def begun(line: Line, position: int) -> bool:
    """Whether a kiosk has begun after a position in the line's output, and painted its first page.

    One that ends paints, too: systemd wakes up (SIGCONT) what it has told to end.
    """
    entered = line.output.find(ALTERNATE_SCREEN, position)
    return entered >= 0 and COVER.encode() in line.output[entered:] and COVER in line.text


@pytest.mark.usefixtures("service")
def test_the_kiosk_keeps_its_line_through_a_kill_and_a_restart_until_its_keys_come(
    technician: Technician, kiosk: dict[str, Any], figures: dict[str, str]
) -> None:
    line, machine = technician.line, technician.machine
    line.until(lambda: COVER in line.text and "SIMULATED" in line.text)
    pid = kiosk_pid(technician)
    assert "TERM=vt220" in machine.root(f"tr '\\0' '\\n' </proc/{pid}/environ").splitlines()
    assert show(technician, GETTY, "ActiveState") == ["inactive"]
    exposure = machine.root(f"systemd-analyze security --no-pager {KIOSK} | tail -1")
    figures["exposure of the kiosk's unit (systemd-analyze)"] = exposure_in(exposure)
    a_visitor_has_no_way_out(line)
    assert kiosk_pid(technician) == pid

    position = len(line.output)
    machine.root(f"kill -9 {pid}")
    line.until(lambda: begun(line, position))
    assert kiosk_pid(technician) != pid
    assert show(technician, KIOSK, "NRestarts") == ["1"]

    was = facts(technician)["pid"]
    position = len(line.output)
    machine.root("systemctl reboot --no-wall")
    line.until(lambda: begun(line, position), BOOT_S)
    assert b"@board" not in line.output[position:], "the login was there first"
    until_running(technician, but=was)

    position = len(line.output)
    line.send(SECRET)
    technician.logged_in_after(position)
    assert show(technician, KIOSK, "SubState", "Result") == ["dead", "success"]
    machine.root(kiosk["undo"])
    assert (
        machine.root("find / -xdev -name '*tpmconsole-kiosk*'; getent passwd | grep kiosk ||:")
        == ""
    )


def a_visitor_has_no_way_out(line: Line) -> None:
    """Press what ends other programs, then see the tour go on."""
    for key in NO_WAY_OUT:
        line.send(key)
    line.press("1", "Self-test")
    line.press("6", COVER)
    for seen in ACTS:
        line.press("\r", seen)
        line.settle()


def test_a_clock_that_was_lost_is_told_and_keys_are_answered(
    technician: Technician, figures: dict[str, str]
) -> None:
    line, machine = technician.line, technician.machine
    technician.provision("gateway")
    technician.open_console()
    before = seconds_to_turn_a_page(line)
    try:
        machine.root("date -s 1970-01-02")
        began = time.monotonic()
        line.until("not plausible")
        figures["a lost clock is told within"] = f"{time.monotonic() - began:.1f} s"
        after = seconds_to_turn_a_page(line)
        figures["a key answered, with the clock right and lost"] = f"{before:.2f}, {after:.2f} s"
        arguments = f"import gateway {HOME}/gateway.pem --check --json"
        judged = json.loads(machine.as_user(f"tpmconsole {arguments} || true"))
        told = [one["text"] for one in judged["verdicts"] if one["verdict"] != "ok"]
        assert any("clock not plausible" in text for text in told), judged
    finally:
        machine.root(f"date -s @{int(time.time())}")
    line.until(lambda: "NO CLOCK" not in line.text and "not plausible" not in line.text)
    technician.leave_console()


def seconds_to_turn_a_page(line: Line) -> float:
    """The median of some page keys, from the key to the page's first words on the terminal."""
    took = []
    for key, words in (("2", "WHERE"), ("1", "Self-test")) * 3:
        began = time.monotonic()
        line.press(key, words)
        took.append(time.monotonic() - began)
        line.settle()
    return statistics.median(took)


def test_an_undone_service_leaves_nothing(technician: Technician, service: dict[str, Any]) -> None:
    machine = technician.machine
    machine.root(service["undo"])
    assert show(technician, SESSION, "LoadState", "ActiveState") == ["not-found", "inactive"]
    assert (
        machine.root(
            "find /etc -name '*server-1*'; grep -lsz session[.]process /proc/[0-9]*/cmdline ||:"
        )
        == ""
    )
    assert facts(technician)["state"] == "stopped"
