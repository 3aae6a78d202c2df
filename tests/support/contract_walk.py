"""A walk through every command, on simulated TPMs and state directories of its own."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.authority import Authority
from support.golden import Mask, Rules
from support.passwords import write_password
from support.shell import QuickShell
from support.waiting import assert_nothing_left, wait_until

PROJECT = Path(__file__).parents[2]

# Connects to the simulator as any program may, says so, and stays until its input ends.
_VISITOR = """
import socket, sys
line = socket.socket(socket.AF_UNIX)
line.connect(sys.argv[1])
print(flush=True)
sys.stdin.read()
"""


class Place:
    """A state directory, a folder of files to name on the command line, and two CAs.

    Attributes:
        shell: runs commands on the state directory.
        files: passwords, keys and certificates.
        words: what stands for a word in braces in a command.
        visitor: a foreign program that uses the TPM, while there is one.
    """

    def __init__(self, folder: Path) -> None:
        self.shell = QuickShell(folder / "state")
        # Wide, so that no version of Python breaks the lines of a help in its own way.
        self.shell.environment |= {"COLUMNS": "1000", "LANG": "C.UTF-8", "TERM": "dumb"}
        self.shell.environment.pop("DBUS_SESSION_BUS_ADDRESS", None)
        self.files = folder / "files"
        self.files.mkdir()
        self.authority = Authority(self.files / "ca")
        self.other = Authority(self.files / "other", "Other CA")
        self.visitor: subprocess.Popen[str] | None = None
        for name in ("right", "wrong", "owner"):
            write_password(self.files / name, f"{name}\n")
        self.words = {
            "files": str(self.files),
            "state": str(self.state),
            "ca": str(self.authority.root),
            "other-ca": str(self.other.root),
            "other-sha256": self.other.fingerprint(),
            "leaf": str(self.authority.folder / "leaf.pem"),
            "other-leaf": str(self.other.folder / "leaf.pem"),
        }

    @property
    def state(self) -> Path:
        return self.shell.state

    def mask(self) -> Mask:
        """A mask that knows the paths of this run."""
        return Mask(
            {
                str(self.state): "<state>",
                str(self.files): "<files>",
                str(self.state.parent): "<folder>",
                sys.executable: "<python>",
                sys.prefix: "<prefix>",
                str(PROJECT): "<project>",
            }
        )

    def run(self, command: str, *more: str, text: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command, whatever comes of it."""
        words = [
            re.sub(r"\{([a-z0-9-]+)\}", lambda found: self.words[found[1]], word)
            for word in command.split()
        ]
        return self.shell(*words, *more, text=text)

    def do(self, command: str) -> str:
        """Run a command that must succeed; what it printed."""
        done = self.run(command)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def learn_port(self, answer: str) -> None:
        """Take the port of the server that an answer tells of, for the commands after it."""
        if found := re.search(r"127\.0\.0\.1:([1-9]\d*)", answer):
            self.words["port"] = found[1]

    def wait_for(self, session: str, words: str) -> None:
        """Wait until a session has told of an event in these words."""
        wait_until(
            lambda: words in self.do(f"session events {session}"), f"{session} tells: {words}"
        )

    def bus(self) -> str:
        """The address of the simulator's message bus."""
        address: str = json.loads(self.run("simulator status --json").stdout)["bus"]
        return address


@contextmanager
def place() -> Iterator[Place]:
    """A new place; at the end nothing of it may run.

    Its path is short enough for the simulator's sockets.
    """
    folder = Path(tempfile.mkdtemp(prefix="tc-", dir="/tmp"))
    try:
        made = Place(folder)
        try:
            yield made
        finally:
            for session in (made.state / "sessions").glob("*-*"):
                made.run(f"session stop {session.name}")
            made.run("simulator stop --yes")
        assert_nothing_left(folder)
    finally:
        shutil.rmtree(folder)


Hook = Callable[[Place], None]


@dataclass(frozen=True)
class Step:
    """A command of the walk.

    Attributes:
        name: of its golden files.
        command: without ``--state`` and ``--json``; ``{word}`` is one of the place's words.
        before: makes what the command needs.
        after: ends what ``before`` began.
        text: its standard input.
        follows: with ``--json`` it answers one object per line.
        told: whether its text is compared, too; its JSON always is.
        volatile: more names of values whose type alone is compared.
        rules: more masks of its texts.
    """

    name: str
    command: str
    before: Hook | None = None
    after: Hook | None = None
    text: str = ""
    follows: bool = False
    told: bool = True
    volatile: frozenset[str] = frozenset()
    rules: Rules = ()


@dataclass(frozen=True)
class Taken:
    """What came of a step, and what masks it."""

    exit_code: int
    output: str
    errors: str
    mask: Mask


def take(walker: Place, step: Step, *more: str) -> Taken:
    """Take one step; what it needs and cannot have is told as its error, and the walk goes on.

    Args:
        more: further words of the command.
    """
    try:
        if step.before:
            step.before(walker)
        done = walker.run(step.command, *more, text=step.text)
    except (AssertionError, KeyError, OSError, ValueError, subprocess.SubprocessError) as error:
        return Taken(-1, "", f"not taken: {error}", walker.mask())
    finally:
        if step.after:
            step.after(walker)
    if step.name in ("session-start-server", "session-restart"):
        walker.learn_port(done.stdout)
    return Taken(done.returncode, done.stdout, done.stderr, walker.mask())


def walk(halves: Sequence[Sequence[Step]], *more: str) -> dict[str, Taken]:
    """Walk each half at a place of its own, side by side; every step by its name.

    Args:
        more: further words of every command.
    """

    def one(steps: Sequence[Step]) -> dict[str, Taken]:
        with place() as walker:
            return {step.name: take(walker, step, *more) for step in steps}

    with ThreadPoolExecutor(len(halves)) as pool:
        found = list(pool.map(one, halves))
    return {name: taken for half in found for name, taken in half.items()}


# What steps need


def _make_software_key(walker: Place) -> None:
    walker.authority.run(
        *("genpkey", "-algorithm", "EC", "-pkeyopt", "group:P-256"),
        *("-out", str(walker.files / "soft.pem")),
    )


def _forget_the_guest(walker: Place) -> None:
    """Its key stays at its handle."""
    walker.do("forget guest --yes")


def _fill_a_stick(walker: Place) -> None:
    """A folder with a key of the TPM, one of OpenSSL's, a damaged one, and something else."""
    folder = walker.files / "usb"
    folder.mkdir()
    shutil.copy(walker.state / "identities" / "gateway" / "key.pem", folder / "a.pem")
    shutil.copy(walker.files / "soft.pem", folder / "b.pem")
    (folder / "c.pem").write_text("-----BEGIN TSS2 PRIVATE KEY-----\nAAAA\n")
    (folder / "c.pem").chmod(0o644)
    (folder / "d.txt").write_text("nothing\n")


def _certify(walker: Place) -> None:
    walker.authority.sign(walker.files / "gateway.csr")


def _certify_elsewhere(walker: Place) -> None:
    walker.other.sign(walker.files / "gateway.csr", days=20)


def _certify_the_gateway(walker: Place) -> None:
    walker.do("--simulate create gateway")
    walker.do("--simulate create bare --algorithm ec-p384")
    walker.do(
        "--simulate request gateway --subject CN=gateway,O=Example --san dns:localhost"
        " --san ip:127.0.0.1 --role both"
    )
    walker.do("--simulate demo-ca sign gateway")


def _make_a_prover(walker: Place) -> None:
    walker.do("--simulate create prover")


def _certify_the_prover(walker: Place) -> None:
    walker.authority.sign(walker.files / "prover.csr")


def _open_trust(walker: Place) -> None:
    (walker.state / "identities" / "gateway" / "trust.pem").chmod(0o644)


def _take_the_bus(walker: Place) -> None:
    """Let commands reach the simulated TPM as if it were the board's own."""
    walker.shell.environment["DBUS_SESSION_BUS_ADDRESS"] = walker.bus()


def _start_pinging(walker: Place) -> None:
    walker.do(
        "--simulate session start client gateway --connect 127.0.0.1:{port} --protocol line"
        " --count 2 --interval 0.2 --engine bridge"
    )


def _await_the_doctor(walker: Place) -> None:
    """The server hears of his last knock a moment after he has gone."""
    walker.wait_for("server-2", "it sent no certificate")


def _visit(walker: Place) -> None:
    socket = walker.bus().partition("path=")[2].partition(",")[0]
    walker.visitor = subprocess.Popen(
        [sys.executable, "-c", _VISITOR, socket],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert walker.visitor.stdout is not None
    walker.visitor.stdout.readline()


def _leave(walker: Place) -> None:
    if walker.visitor is not None:
        walker.visitor.communicate(timeout=10)
        walker.visitor = None


_TO_THE_TPM = "--tcti tabrmd:bus_type=session"
_SERVER = "server gateway --listen 127.0.0.1:0 --engine bridge"
_REQUEST = "--subject CN=gateway,O=Example --san uri:urn:example:17 --role both"
_EVIDENCE = "{files}/prover.csr --makers {state}/simulator/maker"
# Figures that a session which runs writes down once a second.
_LIVE = frozenset(("messages", "bytes_in", "bytes_out"))
_TOUR: Rules = (
    # Lines are broken where a duration makes them too long.
    (r"\n {26}(?=\S)", " "),
    (r"\b\d+ bytes\b", "<n> bytes"),
    (r"\.\.\.(?: [0-9a-f]{2}){4,}", "<hex>"),
    (r"TPM 2\.0 revision [\d.]+", "TPM 2.0 revision <version>"),
)

KEYS_AND_CERTIFICATES = (
    # The TPM
    Step("simulator-status-stopped", "simulator status"),
    Step("keys-without-tpm", "--tcti device:/nonexistent keys"),
    Step("simulator-start", "simulator start"),
    Step("simulator-start-again", "simulator start", told=False),
    Step("simulator-status", "simulator status"),
    Step("selftest", "--simulate selftest"),
    Step("selftest-incremental", "--simulate selftest --incremental", told=False),
    Step("status", "--simulate status"),
    Step("lockout-reset", "--simulate lockout reset --yes"),
    # Keys
    Step("create", "--simulate create gateway"),
    Step("create-if-missing", "--simulate create gateway --if-missing", told=False),
    Step("create-rsa", "--simulate create sensor --algorithm rsa-2048", told=False),
    Step(
        "create-password",
        "--simulate create locked --algorithm ec-p384 --password-file {files}/right",
    ),
    Step(
        "create-no-lockout",
        "--simulate create careless --password-file {files}/right --no-lockout",
    ),
    Step("create-handle", "--simulate create fixed --handle 0x81000010"),
    Step(
        "create-from",
        "--simulate create guest --from {files}/soft.pem",
        before=_make_software_key,
    ),
    Step("keys", "--simulate keys"),
    Step("keys-paths", "--simulate keys {files}/usb", before=_fill_a_stick),
    Step("keys-prove", "--simulate keys --prove", told=False),
    Step("persist", "--simulate persist guest 0x81000011 --yes"),
    Step("evict", "--simulate evict 0x81000010 --yes"),
    # Certificates
    Step("request-preview", f"--simulate request gateway {_REQUEST} --preview"),
    Step(
        "request",
        f"--simulate request gateway {_REQUEST} --san dns:localhost --san ip:127.0.0.1"
        " --out {files}/gateway.csr",
    ),
    Step(
        "request-if-missing",
        f"--simulate request gateway {_REQUEST} --san ip:127.0.0.1 --san dns:localhost"
        " --if-missing",
        told=False,
    ),
    Step(
        "request-print",
        "--simulate request locked --subject CN=locked --role server --san dns:locked.local"
        " --password-file - --out -",
        text="right\n",
    ),
    Step("import-refused", "--simulate import gateway {leaf}", before=_certify),
    Step("import-check", "--simulate import gateway {leaf} --trust {ca} --check"),
    Step("import", "--simulate import gateway {leaf} --trust {ca}"),
    Step("import-again", "--simulate import gateway {leaf} --trust {ca}", told=False),
    Step(
        "import-warned",
        "--simulate import gateway {other-leaf} --trust {other-ca} --check",
        before=_certify_elsewhere,
        told=False,
    ),
    Step("renew", "--simulate renew gateway --out {files}/renewed.csr"),
    Step("renew-new-key", "--simulate renew gateway --new-key gateway-2", told=False),
    Step("demo-ca-sign", "--simulate demo-ca sign gateway"),
    Step("import-undo", "--simulate import gateway --undo"),
    Step("trust-add", "trust gateway --add {other-ca} --yes"),
    Step("trust-add-again", "trust gateway --add {other-ca}", told=False),
    Step("trust", "trust gateway"),
    Step("trust-remove", "trust gateway --remove {other-sha256} --yes"),
    Step("forget", "forget fixed --yes"),
    Step(
        "create-adopt",
        "--simulate create taken --from-handle 0x81000011",
        before=_forget_the_guest,
    ),
    # Proof
    Step(
        "request-attest",
        "--simulate request prover --subject CN=prover --attest --out {files}/prover.csr",
        before=_make_a_prover,
    ),
    Step("attest-check", f"attest check {_EVIDENCE}"),
    Step(
        "attest-seal",
        f"attest seal {_EVIDENCE} {{leaf}} --out {{files}}/sealed",
        before=_certify_the_prover,
    ),
    Step("attest-challenge", f"attest challenge {_EVIDENCE} --out {{files}}/q --keep {{files}}/k"),
    Step("attest-answer", "--simulate attest answer prover {files}/q --out {files}/a"),
    Step("attest-verify", "attest verify {files}/prover.csr {files}/a --keep {files}/k"),
    Step("import-sealed", "--simulate import prover {files}/sealed --trust {ca}", told=False),
)

SESSIONS_AND_SERVICE = (
    Step("session-list-none", "session list", before=_certify_the_gateway),
    Step("session-start-server", f"{_TO_THE_TPM} session start {_SERVER}", before=_take_the_bus),
    Step(
        "session-start-server-if-missing",
        f"{_TO_THE_TPM} session start {_SERVER} --if-missing",
        told=False,
    ),
    Step("session-list", "session list"),
    Step("session-show-server", "session show server-1"),
    Step("session-reload", f"{_TO_THE_TPM} session reload server-1"),
    Step("trust-add-outdated", "trust gateway --add {other-ca} --yes"),
    Step("session-restart", f"{_TO_THE_TPM} session restart server-1"),
    Step("session-events", "session events server-1"),
    Step("session-install", "session install server-1 --dry-run"),
    Step(
        "session-start-client",
        "--simulate session start client gateway --connect 127.0.0.1:{port}"
        " --interval 600 --engine bridge",
        volatile=_LIVE,
        rules=((r"(TLSv1\.3) +\d+$", r"\1  <n>"),),
    ),
    Step(
        "session-users",
        "--simulate session users",
        before=_visit,
        after=_leave,
        volatile=frozenset(("name", "tls")),
        rules=((r"^\d+ .*?(?=the simulator)", "<n>  <text>  "),),
    ),
    Step("session-stop", "session stop client-1"),
    Step("session-stop-again", "session stop client-1", told=False),
    Step("session-follow", "session events client-2 --follow", _start_pinging, follows=True),
    Step("session-show-client", "session show client-2"),
    Step("settings", "settings"),
    Step("doctor", "--simulate doctor --server 127.0.0.1:{port} --server 127.0.0.1:1"),
    Step("session-stop-server", "session stop server-2", before=_await_the_doctor),
    Step("session-list-ended", "session list"),
    Step("doctor-repair-nothing", "doctor --repair", told=False),
    Step("doctor-repair", "doctor --repair --yes", before=_open_trust),
    Step("report", "--simulate report", volatile=frozenset(("host",))),
    Step("install-kiosk", "--simulate install kiosk --dry-run"),
    Step(
        "install-kiosk-serial",
        "--tcti device:/dev/tpmrm0 install kiosk --tty ttyS0 --dry-run",
        told=False,
    ),
    Step("install-serial-console", "install serial-console --tty ttyS1 --baud 9600 --dry-run"),
    Step("completion-bash", "completion bash", volatile=frozenset(("script",))),
    Step("completion-zsh", "completion zsh", volatile=frozenset(("script",))),
    Step("tour", "--simulate tour", rules=_TOUR),
    Step("simulator-stop", "simulator stop"),
    Step("simulator-stop-again", "simulator stop", told=False),
)

HALVES = (KEYS_AND_CERTIFICATES, SESSIONS_AND_SERVICE)
STEPS = (*KEYS_AND_CERTIFICATES, *SESSIONS_AND_SERVICE)
