"""What every command answers with --json: its names in their order, their types, fixed words."""

from __future__ import annotations

import json

import pytest
from support.contract_walk import HALVES, STEPS, Step, Taken, walk
from support.golden import as_json, check, check_complete

# Other tests' golden files.
OTHERS = ("exit-codes", "state-running", "state-ended", "state-contents")


@pytest.fixture(scope="module")
def answers() -> dict[str, Taken]:
    return walk(HALVES, "--json")


def _data(step: Step, output: str) -> object:
    """What was printed, as data; where it cannot be understood, as it is."""
    try:
        if step.stream:
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
        "lines" if step.stream else "answer": answer,
    }
    check(f"{step.name}.json", as_json(found))


def test_every_golden_file_is_of_a_step() -> None:
    others = {f"{name}.json" for name in OTHERS}
    check_complete(".json", {f"{step.name}.json" for step in STEPS} | others)
