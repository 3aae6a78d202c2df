"""What every command prints for people, and its help."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.contract_walk import HALVES, STEPS, Place, Step, Taken, place, take, walk
from support.golden import check, check_complete

TOLD = [step for step in STEPS if step.told]


@pytest.fixture(scope="module")
def answers() -> dict[str, Taken]:
    return walk([[step for step in half if step.told] for half in HALVES])


def _shown(step: Step, taken: Taken) -> str:
    """A command and what it printed, as on a terminal."""
    errors = taken.mask.text(taken.errors, step.rules).splitlines()
    parts = [
        f"$ tpmconsole {step.command}\n",
        taken.mask.text(taken.output, step.rules),
        *(f"stderr: {line}\n" for line in errors),
        f"exit {taken.exit_code}\n",
    ]
    return "".join(parts)


@pytest.mark.parametrize("step", TOLD, ids=lambda step: step.name)
def test_an_answer_in_words(answers: dict[str, Taken], step: Step) -> None:
    check(f"{step.name}.txt", _shown(step, answers[step.name]))


@pytest.fixture(scope="module")
def anywhere() -> Iterator[Place]:
    """A place of which nothing is used."""
    with place() as made:
        yield made


def _listed(command: str, output: str) -> list[str]:
    """The commands below a command, as its help lists them."""
    if not re.search(r"^  (?:COMMAND|\{[a-z,-]+\})$", output, re.MULTILINE):
        return []
    names = re.findall(r"^    ([a-z-]+)  ", output, re.MULTILINE)
    return [f"{command} {name}".strip() for name in names]


def test_the_help_of_every_command(anywhere: Place) -> None:
    level, found = [""], []
    with ThreadPoolExecutor(2) as pool:
        while level:
            steps = [Step("help", f"{command} --help".strip()) for command in level]
            helps = list(pool.map(lambda step: take(anywhere, step), steps))
            found += [_shown(step, one) for step, one in zip(steps, helps, strict=True)]
            pairs = zip(level, helps, strict=True)
            level = [below for command, one in pairs for below in _listed(command, one.output)]
    check("help.txt", "\n".join(found))


def test_the_version(anywhere: Place) -> None:
    step = Step("version", "--version")
    check("version.txt", _shown(step, take(anywhere, step)))


def test_every_golden_text_is_of_a_step() -> None:
    more = {"help.txt", "version.txt"}
    check_complete(".txt", {f"{step.name}.txt" for step in TOLD} | more)
