"""What is kept in the state directory: which files, their modes, and the names in them."""

from __future__ import annotations

import json
import stat
import tomllib
from pathlib import Path
from typing import Any

import pytest
from support.contract_walk import Place, place
from support.golden import Mask, as_json, check

# What swtpm keeps is its own affair.
FOREIGN = Path("simulator", "tpm")
# How a file is called while it is being written, which a session does once a second.
UNFINISHED = ".tpmconsole-unfinished-"
KINDS = {stat.S_IFDIR: "folder", stat.S_IFREG: "file", stat.S_IFSOCK: "socket"}
CLIENT = (
    "--connect 127.0.0.1:{port} --protocol line --count 1 --engine bridge"
    " --password-file {files}/right"
)


@pytest.fixture(scope="module")
def kept() -> dict[str, Any]:
    """The tree while a server runs, and the tree and its files after everything has ended."""
    with place() as walker:
        walker.do("--simulate selftest")
        walker.do("--simulate create gateway --password-file {files}/right")
        walker.do("--simulate create fixed --handle 0x81000010")
        walker.do(
            "--simulate request gateway --subject CN=gateway,O=Example --san ip:127.0.0.1"
            " --role both --password-file {files}/right"
        )
        for _ in range(2):  # the second time there is a certificate to go back to
            walker.do("--simulate demo-ca sign gateway --password-file {files}/right")
        answer = walker.do(
            "--simulate session start server gateway --listen 127.0.0.1:0 --engine bridge"
            " --password-file {files}/right"
        )
        walker.learn_port(answer)
        walker.do(f"--simulate session start client gateway {CLIENT}")
        walker.do("session events client-1 --follow")
        walker.wait_for("server-1", "by the client")
        running = _tree(walker.state)
        walker.do("session stop server-1")
        walker.do("simulator stop")
        found = {"running": running, "ended": _tree(walker.state)}
        return found | _contents(walker, walker.mask())


def _tree(state: Path) -> list[str]:
    """Every file and folder with its mode, in the order of their paths."""
    return [
        _line(path, state)
        for path in sorted([state, *state.rglob("*")])
        if FOREIGN not in path.relative_to(state).parents and UNFINISHED not in path.name
    ]


def _line(path: Path, state: Path) -> str:
    mode = path.lstat().st_mode
    kind = KINDS.get(stat.S_IFMT(mode), "other")
    # Whoever may enter the folder may use a socket; its own mode depends on the umask.
    shown = "-" if kind == "socket" else f"{stat.S_IMODE(mode):04o}"
    return f"{shown} {kind} {path.relative_to(state)}"


def _contents(walker: Place, mask: Mask) -> dict[str, Any]:
    state = walker.state
    files: dict[str, Any] = {}
    for path in sorted(state.rglob("*")):
        if path.suffix == ".toml":
            files[str(path.relative_to(state))] = tomllib.loads(path.read_text())
        elif path.suffix == ".json":
            files[str(path.relative_to(state))] = json.loads(path.read_text())
        elif path.suffix == ".jsonl":
            lines = path.read_text().splitlines()
            files[str(path.relative_to(state))] = [json.loads(line) for line in lines]
    return {"contents": mask.data(files)}


@pytest.mark.parametrize("part", ["running", "ended", "contents"])
def test_what_is_kept(kept: dict[str, Any], part: str) -> None:
    check(f"state-{part}.json", as_json(kept[part]))


def test_nobody_else_may_look_at_it(kept: dict[str, Any]) -> None:
    modes = {line.split()[0] for line in (*kept["running"], *kept["ended"])}
    assert modes == {"0700", "0600", "-"}
