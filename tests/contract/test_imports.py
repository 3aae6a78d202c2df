"""Imports go downwards only, and only child processes load the TSS."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "tpmconsole"
BELOW = {
    "settings",
    "errors",
    "logs",
    "files",
    "audit",
    "text",
    "words",
    "clock",
    "memory",
    "units",
}
# What a room may import besides itself and what lies below every room.
ALLOWED = {
    "tpm": set[str](),
    "identity": set[str](),
    "session": {"tpm"},
    "tour": {"tpm", "identity", "session", "board"},
    "ui": {
        *("tour", "kiosk"),
        *("tpm", "identity", "session", "board", "keyring", "provision", "inputs", "disks", "tidy"),
        *("doctor", "report", "answers", "keyguard", "keyproof", "keyuse", "watch", "listing"),
        "forgetting",
    },
}
TSS_USERS = {"tpm/worker.py"}


def _imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def _modules() -> list[str]:
    return sorted(str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("module", _modules())
def test_a_module_imports_downwards_only(module: str) -> None:
    room = module.split("/", maxsplit=1)[0]
    names = _imports(PACKAGE / module)
    if room in ALLOWED:
        ours = {name.split(".")[1] for name in names if name.startswith("tpmconsole.")}
        assert ours <= {room} | BELOW | ALLOWED[room]
    if room != "ui":
        assert not any(name.split(".")[0] in ("textual", "rich") for name in names)
    if module not in TSS_USERS and not module.startswith("tpm/jobs/"):
        assert not any(name.split(".")[0] == "tpm2_pytss" for name in names)


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("tpmconsole.cli.main", ("textual", "tpm2_pytss", "cryptography", "psutil")),
        ("tpmconsole.ui.app", ("tpm2_pytss", "cryptography", "psutil")),
        ("tpmconsole.board.doctor", ("textual", "tpm2_pytss")),
        ("tpmconsole.board.report", ("textual", "tpm2_pytss")),
        ("tpmconsole.identity.store", ("textual", "tpm2_pytss", "psutil")),
        ("tpmconsole.session.manager", ("textual", "tpm2_pytss")),
        ("tpmconsole.tpm.client", ("textual", "tpm2_pytss", "cryptography")),
        ("tpmconsole.session.process", ("textual", "tpm2_pytss")),
        ("tpmconsole.tpm.keyfile", ("textual", "tpm2_pytss")),
    ],
)
def test_importing_a_room_loads_nothing_it_does_not_need(
    module: str, absent: tuple[str, ...]
) -> None:
    code = f"import sys, {module}; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent
    )
    assert not set(absent) & set(done.stdout.split())
