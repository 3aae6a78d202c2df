"""Next steps in the words of each front end; the layers below contain no such words."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.pki import DAY, NOW, ca, leaf

import tpmconsole
from tpmconsole.cli import next_steps as cli
from tpmconsole.cli.main import build_parser
from tpmconsole.errors import Action, ConsoleError, NextStep
from tpmconsole.ui import next_steps as ui
from tpmconsole.ui.pages.provision.steps import verdict_facts
from tpmconsole.x509.checks import check_dates
from tpmconsole.x509.judge import Judgement

PACKAGE = Path(tpmconsole.__file__).parent
# What looks like a front end's word and is meant; each file with its reason.
MEANT = {
    "board/consoles.py": "a unit's ExecStart is a command",
    "settings.py": "names the option that a setting came from, which status --json tells",
    "session/tls/engine.py": "names the option that chose the engine, which session show tells",
    "tpm/simulator/maker.py": "the command line of swtpm_setup, and of what it calls",
    "tpm/simulator/programs.py": "the command lines of swtpm and tpm2-abrmd",
    "system/systemd.py": "systemctl's own options",
    "session/service.py": "a unit's ExecStart is a command",
    "session/process/__main__.py": "what a unit's ExecStart says to the session's process",
}
OTHERS = re.compile(r"hwclock --systohc|remount|no screen can be shown|the screen needs ")


@pytest.mark.parametrize("action", Action)
def test_each_front_end_has_words_for_every_action(action: Action) -> None:
    step = NextStep(action, "thing", "do so: {}")
    command, key = cli.say(step), ui.say(step)
    assert command.startswith("do so: ")
    assert key.startswith("do so: ")
    assert command != key
    assert "{}" not in command + key + str(step)
    assert not re.search(r"\btpmconsole [a-z]", key)
    assert not re.search(r"\bpage \d", command)


@pytest.mark.parametrize("action", Action)
def test_what_a_command_line_says_parses(action: Action) -> None:
    words = cli.command(NextStep(action, "1.2" if action is Action.ALLOW_TLS else "name"))
    if words.startswith("tpmconsole "):
        arguments = [word for word in words.split()[1:] if word != "or"]
        if arguments[:2] == ["import", "--check"]:
            arguments += ["name", "FILE"]
        build_parser().parse_args([word.replace("SHA-256", "00") for word in arguments])


def test_an_error_survives_its_way_between_processes() -> None:
    step = NextStep(Action.RELOAD, "server-1", "then {}")
    error = ConsoleError.from_json(ConsoleError("a", "b", step).to_json())
    assert error.remedy == step
    assert cli.worded({"list": [error.to_json()]})["list"][0] == {
        "title": "a",
        "cause": "b",
        "remedy": "then tpmconsole session reload server-1",
        "code": 1,
    }


@pytest.mark.parametrize("odd", [1, {}, {"action": "no such"}, {"action": [], "subject": 1}])
def test_a_step_that_is_none_leaves_its_sentence(odd: object) -> None:
    data = {"title": "a", "cause": "b", "remedy": "c", "code": 1, "next": odd}
    assert ConsoleError.from_json(data).remedy == "c"


def test_no_word_of_a_front_end_stands_below_them() -> None:
    commands = "|".join(COMMANDS)
    words = re.compile(
        rf"\btpmconsole ({commands})\b|\bpage \d|\b([Ss]creen|Overview)\b|(?<![\w-])--[a-z]"
    )
    found = [
        f"{path}: {text}"
        for path, text in _texts()
        if path not in MEANT and words.search(text) and not OTHERS.search(text)
    ]
    assert not found


COMMANDS = (
    *("status", "selftest", "lockout", "keys", "create", "persist", "evict", "forget", "request"),
    *(
        "attest",
        "import",
        "renew",
        "trust",
        "demo-ca",
        "session",
        "doctor",
        "report",
        "tour",
        "simulator",
    ),
)


def _texts() -> Iterator[tuple[str, str]]:
    """Every text below the front ends, except docstrings, with its module."""
    for path in sorted(PACKAGE.rglob("*.py")):
        name = str(path.relative_to(PACKAGE))
        if name.startswith(("cli/", "ui/")):
            continue
        tree = ast.parse(path.read_text())
        alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            text = node.value if isinstance(node, ast.Constant) else None
            if isinstance(text, str) and id(node) not in alone:
                yield name, text


def test_a_first_certificate_that_has_expired_leads_to_keys_that_work() -> None:
    old = leaf(ca("Root"), begin=NOW - 9 * DAY, end=NOW - DAY).certificate
    facts = verdict_facts(Judgement((check_dates(old, NOW),), None, ()), [], "")
    text = " ".join(getattr(fact, "text", "") for fact in facts)
    assert "w on page 3, or if it is the first one, send the request again" in text
    assert "tpmconsole" not in text
