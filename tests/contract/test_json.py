"""What every command answers with --json: its names in their order, their types, fixed words."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.contract_walk import HALVES, STEPS, Step, Taken, walk
from support.golden import as_json, check, check_complete
from support.schema import faults

import tpmconsole
from tpmconsole.cli.json_schema import answers as json_answers
from tpmconsole.cli.json_schema import described, schema_of
from tpmconsole.cli.main import build_parser

# Other tests' golden files.
OTHERS = ("exit-codes", "state-running", "state-ended", "state-contents")


@pytest.fixture(scope="module")
def answers() -> dict[str, Taken]:
    return walk(HALVES, "--json")


def _data(step: Step, output: str) -> object:
    """Parse what was printed; if it is not valid, return it unchanged."""
    try:
        if step.follows:
            return [json.loads(line) for line in output.splitlines()]
        return json.loads(output)
    except ValueError:
        return {"no JSON": output}


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_an_answer_in_json(answers: dict[str, Taken], step: Step) -> None:
    taken = answers[step.name]
    assert taken.errors == ""
    answer = taken.mask.data(_data(step, taken.output), step.volatile, step.rules)
    found = {
        "command": step.command,
        "exit": taken.exit_code,
        "lines" if step.follows else "answer": answer,
    }
    check(f"{step.name}.json", as_json(found))


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_an_answer_is_as_its_schema_says(answers: dict[str, Taken], step: Step) -> None:
    """Every field is documented, and every one that must be there is."""
    data = _data(step, answers[step.name].output)
    given = re.sub(r"--tcti \S+", "", step.command)
    words = " ".join(word for word in given.split() if not word.startswith("-"))
    (command,) = [one for one in json_answers() if f"{words} ".startswith(f"{one} ")]
    schema = schema_of(command)
    if step.follows:
        assert isinstance(data, list)
        each = schema["properties"]["events"]["items"]
        assert [fault for line in data for fault in faults(line, each)] == []
    else:
        assert list(faults(data, schema)) == []


def test_the_manual_has_every_field() -> None:
    page = (Path(tpmconsole.__file__).parent / "share/manual/formats.md").read_text("utf-8")
    names = {one.name for fields in json_answers().values() for _, one in described(fields)}
    assert {name for name in names if f"`{name}`" not in page} == {"*"}


def test_every_command_has_a_schema() -> None:
    def commands(parser: argparse.ArgumentParser, words: str = "") -> Iterator[str]:
        below = [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]
        for name, inner in [pair for one in below for pair in one.choices.items()]:
            yield from commands(inner, f"{words} {name}")
        if not below:
            yield words.strip()

    assert set(commands(build_parser())) - {"json-schema"} == set(json_answers())
    assert list(faults({"simulated": 1, "running": True}, schema_of("simulator status"))) == [
        "$: pids is missing",
        "$: tcti is missing",
        "$: bus is missing",
        "$.simulated: 1 is not of type boolean",
    ]


def test_every_golden_file_is_of_a_step() -> None:
    others = {f"{name}.json" for name in OTHERS}
    check_complete(".json", {f"{step.name}.json" for step in STEPS} | others)
