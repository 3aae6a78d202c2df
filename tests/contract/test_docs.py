"""The documents and the code name the same things: whatever one names, the other has.

Commands, options, settings, JSON fields, exit codes, probes, pages, targets, files and modules.
"""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from contract.test_imports import ALLOWED, FLAT, MODULES
from tools import manual, page_keys

from tpmconsole.board.doctor.probes import PROBES
from tpmconsole.cli.main import build_parser
from tpmconsole.errors import ExitCode
from tpmconsole.settings import TCTI_VARIABLES, KioskRules
from tpmconsole.ui.pages.names import PAGES
from tpmconsole.x509.request_template import default_spec

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).with_name("golden")
MANUAL = ROOT / "tpmconsole/share/manual"
README, CONTRIBUTING = ROOT / "README.md", ROOT / "CONTRIBUTING.md"
FLEET = ROOT / "tpmconsole/fleet/README.md"
WRITTEN = (
    README,
    CONTRIBUTING,
    FLEET,
    *(MANUAL / f"{name}.md" for name in ("console", "settings", "formats")),
)
_FENCED = re.compile(r"^```\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`([^`\n]+)`")
# What belongs to other programs: of apt-get, pip, usermod and the like.
_COMMAND = re.compile(r"(?:^|[\s(])tpmconsole ((?:--?[a-z]|[a-z])[^#|\n]*)")


def code_of(path: Path) -> list[str]:
    """What a document quotes as code: in backticks, and the lines of its blocks."""
    text = path.read_text("utf-8")
    lines = [line for block in _FENCED.findall(text) for line in block.splitlines()]
    return lines + _CODE.findall(_FENCED.sub("", text))


def section(path: Path, heading: str) -> str:
    """The text below a heading of a document."""
    found = re.search(
        rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", path.read_text("utf-8"), re.M | re.S
    )
    assert found, f"{path.name} has no section '{heading}'"
    return found[1]


@cache
def options() -> frozenset[str]:
    """Every option of the command line."""
    parser = build_parser()
    parsers = [parser, *manual.leaves(parser)]
    return frozenset(name for one in parsers for act in one._actions for name in act.option_strings)


@cache
def commands() -> frozenset[str]:
    """Every command, as it is typed: ``session start server``."""
    leaves = manual.leaves(build_parser())
    return frozenset(leaf.prog.removeprefix("tpmconsole ") for leaf in leaves)


def command_lines(path: Path) -> Iterator[str]:
    """The command lines that a document shows."""
    for code in code_of(path):
        yield from (line.strip() for line in _COMMAND.findall(f" {code}"))


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.name)
def test_a_command_in_a_document_exists(path: Path) -> None:
    names = {name for command in commands() for name in _prefixes(command)}
    for line in command_lines(path):
        words = shlex.split(line)
        while words and words[0].startswith("--"):  # options before the command
            assert words[0] in options(), line
            words = words[1:]
        if not words or words[0] == "COMMAND":
            continue
        assert words[0] in names, f"{path.name}: tpmconsole {line}"


def _prefixes(command: str) -> Iterator[str]:
    words = command.split()
    yield from (" ".join(words[: count + 1]) for count in range(len(words)))


def test_a_whole_command_line_in_the_readme_parses() -> None:
    parser = build_parser()
    lines = [line for line in command_lines(README) if line.split()[0] in {"status", "create"}]
    blocks = [block for block in _FENCED.findall(README.read_text("utf-8")) if "status" in block]
    lines += _COMMAND.findall("\n".join(blocks))
    assert len(lines) >= 6
    for line in lines:
        parser.parse_args(shlex.split(line))


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.name)
def test_an_option_in_a_document_exists(path: Path) -> None:
    ours = [code for code in code_of(path) if not _of_others(code)]
    named = {option for code in ours for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", code)}
    assert named <= options()


def _of_others(code: str) -> bool:
    programs = ("apt-get", "pip", "python3", "usermod", "ansible", "pytest", "pre-commit")
    return any(re.search(rf"(^|/|\s){program}\b", code) for program in programs)


def test_no_command_and_no_option_is_missing_from_the_manual() -> None:
    page = (MANUAL / "commands.md").read_text("utf-8")
    assert {f"## {command}" for command in commands()} <= set(page.splitlines())
    roff = (ROOT / "tpmconsole/share/man/man1/tpmconsole.1").read_text("utf-8").replace("\\", "")
    missing = {name for name in options() if name.startswith("--") and name not in roff}
    assert missing == {"--help"}  # its short form is in the synopsis


def test_exit_codes() -> None:
    named = re.findall(r"^`(\d)`$", section(MANUAL / "console.md", "Exit status"), re.M)
    assert [int(code) for code in named] == sorted(ExitCode)
    listed = re.search(r"Exit codes: (.*?)\. Passwords", README.read_text("utf-8"), re.S)
    assert listed
    assert re.findall(r"\b(\d) ", listed[1]) == named


def _terms(text: str) -> list[str]:
    """What a list of definitions defines."""
    lines = text.splitlines()
    return [
        name
        for line, below in pairwise(lines)
        if below.startswith(": ")
        for name in _CODE.findall(line)
    ]


def test_settings() -> None:
    page = MANUAL / "settings.md"
    source = (ROOT / "tpmconsole/settings.py").read_text("utf-8")
    read = set(re.findall(r'options\.get\("(\w+)"', source)) - {"kiosk"}
    assert set(_terms(section(page, "Settings"))) == read
    kiosk = _terms(section(page, "The table [kiosk]"))
    assert set(kiosk) == set(KioskRules.__dataclass_fields__)
    example = tomllib.loads(_FENCED.findall(section(page, "Example"))[0])
    KioskRules.of(example["kiosk"] and example)
    default_spec(example["request"], hostname="board", serial="1")
    assert set(_terms(section(page, "The table [request]"))) == set(example["request"])
    assert set(example) - {"kiosk", "request"} <= read


def test_environment_variables() -> None:
    named = set(_terms(section(MANUAL / "console.md", "Environment")))
    source = (ROOT / "tpmconsole/settings.py").read_text("utf-8")
    read = set(re.findall(r'env\.get\("(\w+)"', source)) | set(TCTI_VARIABLES)
    assert named == read


@cache
def fields() -> frozenset[str]:
    """Every field of every JSON answer and of the files in the state directory."""
    found: set[str] = set()
    for path in GOLDEN.glob("*.json"):
        data = json.loads(path.read_text("utf-8"))
        if path.name == "exit-codes.json":
            parts = [one["answer"] for one in data.values()]
        elif path.name == "state-contents.json":
            parts = list(data.values())
        elif path.name.startswith("state-"):
            continue
        else:
            parts = [data["answer"] if "answer" in data else data["lines"]]
        for part in parts:
            found |= set(_names(part))
    # PCRs by bank and number, and a variable: values more than fields.
    return frozenset(name for name in found if not re.fullmatch(r"\d+|sha\d+|[A-Z_]+", name))


def _names(data: Any) -> Iterator[str]:
    if isinstance(data, dict):
        yield from data
        data = list(data.values())
    if isinstance(data, list):
        for one in data:
            yield from _names(one)


def test_no_json_field_is_missing_from_the_manual() -> None:
    named = set(_CODE.findall((MANUAL / "formats.md").read_text("utf-8")))
    assert fields() - named == set()


def test_a_json_field_of_the_manual_exists() -> None:
    page = (MANUAL / "formats.md").read_text("utf-8")
    answers = re.sub(r"^## Files in the state directory\n.*", "", page, flags=re.M | re.S)
    events = set(_terms(section(MANUAL / "formats.md", "session events")))
    terms = {name for name in _terms(answers) if re.fullmatch(r"[a-z][a-z0-9_]+", name)} - events
    assert terms <= fields()


def test_events() -> None:
    sources = [path.read_text("utf-8") for path in (ROOT / "tpmconsole/session").rglob("*.py")]
    found = {
        name for text in sources for name in re.findall(r'\.(?:event|write)\(\s*"(\w+)"', text)
    }
    assert set(_terms(section(MANUAL / "formats.md", "session events"))) == found


def test_probes_of_the_readme_exist() -> None:
    rows = re.findall(
        r"^\|[^|]*\| ([^|]*) \|[^|]*\|$", section(README, "When something is wrong"), re.M
    )
    named = {name for row in rows[2:] for name in row.split(", ")}
    assert named <= {probe.name for probe in PROBES}
    assert len(named) > 10


def test_pages_of_the_readme() -> None:
    rows = re.findall(r"^\| `(\d)` `F\1` \| (\w+) \|", section(README, "Screens"), re.M)
    assert rows == [(str(number), page.title) for number, page in enumerate(PAGES, 1)]


def test_keys_of_the_readme() -> None:
    rows = re.findall(r"^\| `\d` `F\d` \| \w+ \| (.*) \|$", section(README, "Screens"), re.M)
    for page, text in zip(PAGES, rows, strict=True):
        known = {name for key in page_keys.keys_of(page) for name in key.names}
        named = re.findall(r"\([^()]*?`([^`]+)`\)", text) + re.findall(r"\(`(\w)`", text)
        assert set(named) <= known, page.title
    known = {name for key in page_keys.keys_everywhere() for name in key.names}
    assert {"?", "^L", "q"} <= known


def test_no_page_is_without_its_keys() -> None:
    text = (MANUAL / "keys.md").read_text("utf-8")
    for number, page in enumerate(PAGES, 1):
        keys = page_keys.keys_of(page)
        assert len(keys) >= 5, page.title
        assert f"## Keys on page {number}, {page.title}\n" in text


@pytest.mark.parametrize("path", [README, CONTRIBUTING, FLEET], ids=lambda path: path.name)
def test_a_file_that_a_document_names_is_there(path: Path) -> None:
    quoted = [code for code in _CODE.findall(path.read_text("utf-8")) if "/" in code or "." in code]
    names = [
        code for code in quoted if re.fullmatch(r"[\w./-]+(\.py|\.md|\.toml|\.tcss|\.tsv|/)", code)
    ]
    places = (ROOT, ROOT / "tpmconsole", path.parent, ROOT / "tests/board/doctor")
    missing = [
        name
        for name in names
        if not name.startswith("/") and not any((p / name).exists() for p in places)
    ]
    links = re.findall(r"\]\((?!http|#)([^)#]+)", path.read_text("utf-8"))
    missing += [link for link in links if not (path.parent / link).exists()]
    assert [name for name in missing if name not in _NOT_FILES] == []


# What lies on a board or is written by a reader.
_NOT_FILES = {
    "identities/NAME/",
    "tpmconsole.toml",
    "/opt/tpmconsole/",
    "inventory.yml",
    "tpmconsole/ui/pages/NAME.py",
}


def test_links_within_a_document_have_their_heading() -> None:
    for path in (README, CONTRIBUTING):
        text = path.read_text("utf-8")
        headings = {
            re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
            for heading in re.findall(r"^#+ (.*)$", text, re.M)
        }
        assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= headings


def test_names_in_code_that_contributing_gives() -> None:
    """``NAME`` in ``file``: the file has the name."""
    text = CONTRIBUTING.read_text("utf-8")
    pairs = re.findall(r"`([A-Z]\w+(?:, [A-Z]\w+)*)`(?: and `[A-Z]\w+`)* in `([\w/.]+\.py)`", text)
    assert len(pairs) >= 8
    for names, file in pairs:
        source = (ROOT / file).read_text("utf-8")
        for name in names.split(", "):
            assert re.search(rf"\b{name}\b", source), f"{name} in {file}"


def test_make_targets() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z][\w-]*):", makefile, re.M))
    phony = set(re.findall(r"^\.PHONY: ([\w-]+)$", makefile, re.M))
    assert targets == phony
    named = {name for path in WRITTEN for code in code_of(path) for name in _made(code)}
    assert named - targets == set()
    listed = {
        name for code in _CODE.findall(section(CONTRIBUTING, "All targets")) for name in _made(code)
    }
    assert targets - listed == set()


def _made(code: str) -> list[str]:
    return re.findall(r"^make (?:\w+=\S+ )*([a-z][\w-]*)", code)


def test_the_picture_shows_every_layer() -> None:
    picture = _FENCED.findall(section(CONTRIBUTING, "Architecture"))[0]
    words = set(re.findall(r"[a-z0-9_]+", picture))
    assert (set(ALLOWED) - {"", "flat", "fleet"}) | FLAT <= words
    assert set(picture.splitlines()[-1].split()) == FLAT


def test_packages_that_contributing_recommends_have_reasons() -> None:
    for name in re.findall(
        r"^\| `(tpmconsole/[\w/]+/__init__)\.py`", CONTRIBUTING.read_text(), re.M
    ):
        module = name.removeprefix("tpmconsole/").removesuffix("/__init__").replace("/", ".")
        assert len(MODULES[module].read_text().split('"""')[1].splitlines()) >= 6, module


def test_the_hooks_run_what_make_lint_runs() -> None:
    recipe = re.search(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text("utf-8"), re.M)
    assert recipe
    commands = [line.strip("\t@").replace("$(BIN)", ".venv/bin") for line in recipe[1].splitlines()]
    hooks = (ROOT / ".pre-commit-config.yaml").read_text("utf-8")
    entries = [entry.strip() for entry in re.findall(r"entry: (.*)$", hooks, re.M)]
    assert [re.sub(r'^sh -c "(.*)"$', r"\1", entry) for entry in entries] == commands


@pytest.mark.parametrize(("path", "most"), [(README, 12_000), (CONTRIBUTING, 16_000)])
def test_a_document_is_short(path: Path, most: int) -> None:
    assert len(path.read_bytes()) <= most
