"""Which module may import which: every module of the package belongs to a layer.

The layers and their arrows are those of CONTRIBUTING's picture. An import inside a function and one
under ``TYPE_CHECKING`` count as one at the top of a module does.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "tpmconsole"

# The modules that lie at the top of the package; there are no others.
FLAT = {
    "errors",
    "finding",
    "options",
    "settings",
    "secret",
    "text",
    "inputs",
    "clock",
    "logs",
    "versions",
}
# What a layer may import besides itself.
ALLOWED: dict[str, set[str]] = {
    "flat": set(),
    "system": {"flat"},
    "tpm": {"flat", "system"},
    "x509": {"flat", "system"},
    "identity": {"flat", "system", "x509"},
    "enrol": {"flat", "system", "tpm", "x509"},
    "session": {"flat", "system", "tpm"},
    "board": {"flat", "system", "tpm", "x509", "identity", "enrol", "session"},
    "cli": {"flat", "system", "board"},
    "ui": {"flat", "system", "board"},
    "fleet": set(),  # runs where the CA is, without tpmconsole
    "": {"flat", "system", "cli", "ui"},  # __main__: chooses the front end
}
# What the front ends may know of the libraries: the data that the functions of board/ hand over.
TYPES = {
    "tpm.model",
    "tpm.auth",
    "tpm.handles",
    "session.spec",
    "session.status",
    "session.events",
    "identity.identity",
    "identity.summary",
    "x509.judge",
    "x509.request_spec",
}
# An import that is meant although the table above forbids it, with the reason.
EXCEPTIONS: dict[tuple[str, str], str] = {
    ("logs", "system.files"): "the log file is made private and bounded as every file of ours is",
    ("logs", "system.rates"): "its lines have the rate limits that a session's have",
    ("settings", "system.owners"): "root takes no settings that another user could have written",
}
# Modules that import each other, with the reason. Each is a knot that is still to be cut.
CIRCLES: dict[frozenset[str], str] = {}
# Only these load the TSS, and they run in child processes.
TSS_USERS = "tpm.worker."


def _name(path: Path) -> str:
    """A module's dotted name below the package; empty for the package itself."""
    name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    return "" if name == "__init__" else name.removesuffix(".__init__")


MODULES = {_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def _layer(module: str) -> str:
    room = module.split(".", maxsplit=1)[0]
    if room in FLAT:
        return "flat"
    return "" if room == "__main__" else room


@cache
def _imports(module: str) -> frozenset[str]:
    """Every module that one imports, wherever in it; ours without the package's name."""
    return frozenset(_each_import(module))


def _each_import(module: str) -> Iterator[str]:
    path = MODULES[module]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (_ours(alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:  # bridge.py stands alone, and so names its neighbour
                base = ".".join(["tpmconsole", *module.split(".")[: -node.level], base])
            for alias in node.names:
                whole = _ours(f"{base}.{alias.name}")
                yield whole if whole in MODULES else _ours(base)


def _ours(name: str) -> str:
    return name.removeprefix("tpmconsole.") if name != "tpmconsole" else ""


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_module_imports_downwards_only(module: str) -> None:
    layer = _layer(module)
    assert layer in ALLOWED, f"{module} belongs to no layer"
    for name in _imports(module):
        if name not in MODULES:
            top = name.split(".", maxsplit=1)[0]
            assert top not in ("textual", "rich") or layer == "ui", name
            assert top != "tpm2_pytss" or module.startswith(TSS_USERS), name
        elif name and _layer(name) != layer and (module, name) not in EXCEPTIONS:
            types = layer in ("cli", "ui") and name in TYPES
            assert types or _layer(name) in ALLOWED[layer], f"{module} imports {name}"


def test_no_exception_is_left_that_nobody_needs() -> None:
    assert all(name in _imports(module) for module, name in EXCEPTIONS)
    assert set(CIRCLES) <= set(_circles())


def test_no_modules_import_each_other_without_a_reason() -> None:
    found = [sorted(circle) for circle in _circles() if circle not in CIRCLES]
    assert not found


def _circles() -> list[frozenset[str]]:
    """The strongly connected components with more than one module."""
    reach = {module: _reached(module) for module in MODULES}
    return list(
        {
            frozenset(circle)
            for module in MODULES
            if len(circle := {other for other in reach[module] if module in reach[other]}) > 1
        }
    )


def _reached(module: str) -> set[str]:
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        for name in _imports(waiting.pop()) & MODULES.keys():
            if name and name not in seen:
                seen.add(name)
                waiting.append(name)
    return seen


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
        ("tpmconsole.session.process.__main__", ("textual", "tpm2_pytss")),
        ("tpmconsole.tpm.keyfile", ("textual", "tpm2_pytss")),
        ("tpmconsole.x509.judge", ("textual", "tpm2_pytss", "psutil")),
        ("tpmconsole.board.attestation", ("textual", "tpm2_pytss", "psutil")),
        ("tpmconsole.enrol.sealing", ("textual", "tpm2_pytss", "psutil")),
        ("tpmconsole.enrol.judge", ("textual", "tpm2_pytss", "psutil")),
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
