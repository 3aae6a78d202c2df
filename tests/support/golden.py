"""Golden files: what the program once answered, without what differs from run to run.

``GOLDEN=write`` in the environment writes them anew instead of comparing with them. Read the
difference before you commit it (``git diff tests/contract/golden``): scripts rely on every line.

The masks, in short:

- a path of this run is named after what it is: ``<state>``, ``<files>``, ``<python>`` …;
- times, dates, hashes, serial numbers, PEM blocks, ports, process numbers, durations and the
  versions of programs are replaced by their kind, in every text;
- a value whose name is in ``VOLATILE`` keeps its JSON type only;
- of what the doctor finds out about the board (``BOARD_PROBES``) only the probe's name stays;
- in a text in which something was masked, columns are two spaces apart, for their widths follow
  what was masked; but not in a line that begins with four spaces, such as a diagram's.

Everything else is compared as it is, the order of names in an object included.
"""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[1] / "contract" / "golden"
WRITE = os.environ.get("GOLDEN") == "write"

Rules = Sequence[tuple[str, str]]

# These differ from run to run; they are there or null, and of the same type.
VOLATILE = frozenset(
    (
        *("pid", "signer_pid", "start_time", "age_s", "cpu_percent", "rss_bytes"),
        *("ms", "last", "median", "p95", "clock_ms", "time_ms"),
        *("firmware", "revision", "group", "port"),
    )
)
# These differ from board to board, and are null or empty on some.
OF_THE_BOARD = frozenset(("memory", "serial", "system", "version", "module_version", "user", "log"))
# Lists of one kind of thing, of which there are more or fewer.
LISTS = frozenset(("recent", "algorithms", "curves"))
# Objects from a name that may be any to one kind of thing.
NUMBERS_BY_NAME = frozenset(("pids",))

BOARD_PROBES = (
    *("driver", "device", "permission", "manager", "clock", "entropy", "openssl", "module"),
    *("engine", "openssl.cnf", "environment", "disk", "privilege", "terminal", "versions"),
    "packages",
)

# Whether other users may go where the program is depends on where that is,
# and what root is told concerns nobody else.
_HINTS = (
    r"(?:(?:the user \S+|other users) (?:may not|cannot) (?:enter|read|run)"
    r"|note: \S+ runs as root,) .*"
)
_PROGRAMS = "OpenSSL|Python|cryptography|h11|psutil|textual|tpm2-openssl|tpm2-pytss|tpmconsole"

# In this order. ``^`` and ``$`` are the ends of a line.
RULES: Rules = (
    (r"-----BEGIN ([A-Z0-9 ]+)-----[A-Za-z0-9+/=\s]+-----END \1-----", r"<PEM \1>"),
    (
        rf"^(?:OK|WARN|FAIL|SKIPPED) +({'|'.join(map(re.escape, BOARD_PROBES))})  .*"
        r"(?:\n {20} (?:seen|try): .*)*",
        r"<state>  \1  <text>",
    ),
    (rf"^{_HINTS}\n", ""),
    (r"^(Firmware|Algorithms|Curves|PCR banks) .*", r"\1  <text>"),
    (r"firmware [\d.]+, specification 2\.0 rev [\d.]+", "firmware <text>"),
    (r"^(== log)\n(?:.*\n)*", r"\1\n<text>\n"),
    (r"^(host|serial|system|version): .*", r"\1: <text>"),
    (r'("user": )"[^"]*"', r'\1"<text>"'),
    (r"^(ProtectHome)=.*", r"\1=<text>"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:\+00:00|Z)", "<time>"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d(?::\d\d)? UTC", "<time>"),
    (r"\d{4}-\d\d-\d\d", "<date>"),
    (r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "<uuid>"),
    (r"\b[0-9a-f]{32,}\b", "<hex>"),
    (r"\b[0-9a-f]{4}(?: [0-9a-f]{4}){3} \.\.\.", "<hex>"),
    (r"(127\.0\.0\.1|localhost):[1-9]\d{3,4}\b", r"\1:<port>"),
    (r"\b\d+(?:\.\d+)? ms\b", "<n> ms"),
    (r"\b(process|dbus-daemon|swtpm|tpm2-abrmd) \d+", r"\1 <n>"),
    (rf"\b({_PROGRAMS}) \d[\w.+]*(?: \d+ [A-Z][a-z]{{2}} \d{{4}})?", r"\1 <version>"),
    # A session's figures, a label and its value.
    (r"^(pid|signer_pid|start_time|cpu_percent|rss_bytes) +[\d.]+$", r"\1  <n>"),
    (r"^(handshake_ms) +last [\d.]+, median [\d.]+, p95 [\d.]+, recent [\d. ]+$", r"\1  <n>"),
    (r"^(group) +[^-\s]\S*$", r"\1  <text>"),
)
_NOT_INDENTED = re.compile(r"^(?! {4}).*", re.MULTILINE)
_COLUMNS = re.compile(r"(?<=\S) {2,}(?=\S)")


class Mask:
    """Puts the kind of a thing in the place of what differs from run to run.

    Args:
        names: what stands for a text of this run, such as a path.
    """

    def __init__(self, names: Mapping[str, str]) -> None:
        # The longest first: a path may begin with another one.
        self._names = sorted(names.items(), key=lambda one: -len(one[0]))

    def text(self, text: str, rules: Rules = ()) -> str:
        """A text for people.

        Args:
            rules: more of them, which come first.
        """
        masked = self._masked(text, rules)
        if masked == text:
            return text
        return _NOT_INDENTED.sub(lambda line: _COLUMNS.sub("  ", line[0]), masked)

    def data(self, value: Any, volatile: frozenset[str] = frozenset(), rules: Rules = ()) -> Any:
        """A JSON value.

        Args:
            volatile: more names of values whose type alone counts.
            rules: more of them, for the texts in it.
        """

        typed = VOLATILE | volatile

        def look(one: Any, name: str = "") -> Any:
            if name in OF_THE_BOARD:
                return ["<text>"] if isinstance(one, list) else "<text>"
            if isinstance(one, dict):
                return look_into(one, name)
            if isinstance(one, list):
                if name in LISTS:
                    return sorted({_kind(item) for item in one})
                return [look(item) for item in one if not _is_hint(item)]
            if name in typed:
                return _kind(one)
            return self._masked(one, rules) if isinstance(one, str) else one

        def look_into(one: dict[str, Any], name: str) -> dict[str, Any]:
            if name in NUMBERS_BY_NAME:
                return {key: _kind(number) for key, number in one.items()}
            return _of_the_board(one) or {key: look(item, key) for key, item in one.items()}

        return look(value)

    def _masked(self, text: str, rules: Rules) -> str:
        for there, words in self._names:
            text = text.replace(there, words)
        for pattern, words in (*rules, *RULES):
            text = re.sub(pattern, words, text, flags=re.MULTILINE)
        return text


def _kind(value: Any) -> Any:
    """The JSON type of a value, in a word; what has no other value stays."""
    if isinstance(value, str):
        return "<text>"
    if isinstance(value, float):
        return "<decimal>"
    if isinstance(value, int) and not isinstance(value, bool):
        return "<integer>"
    return value


def _of_the_board(finding: dict[str, Any]) -> dict[str, Any] | None:
    """A finding of the doctor's about the board, masked; None for any other object."""
    if finding.get("probe") not in BOARD_PROBES:
        return None
    kept = {name: _kind(one) for name, one in finding.items()} | {"probe": finding["probe"]}
    return {name: ["<text>"] if isinstance(one, list) else one for name, one in kept.items()}


def _is_hint(item: object) -> bool:
    return isinstance(item, str) and re.fullmatch(_HINTS, item) is not None


def as_json(value: object) -> str:
    """A value as a golden file has it."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def check(name: str, found: str) -> None:
    """Compare a text with its golden file, or write that anew.

    Args:
        name: the file's name.
        found: what the program answers now, masked.
    """
    path = FOLDER / name
    if WRITE:
        FOLDER.mkdir(exist_ok=True)
        path.write_text(found, encoding="utf-8")
        return
    kept = path.read_text(encoding="utf-8") if path.exists() else ""
    if found != kept:
        lines = difflib.unified_diff(
            kept.splitlines(), found.splitlines(), f"golden/{name}", "now", lineterm=""
        )
        pytest.fail("\n".join(lines), pytrace=False)


def check_complete(ending: str, names: set[str]) -> None:
    """Fail where the folder has a file that nobody compares with any more."""
    there = {path.name for path in FOLDER.glob(f"*{ending}")}
    assert there - names == set(), "remove these: nothing writes them any more"
