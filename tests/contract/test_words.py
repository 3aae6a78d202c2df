"""The check for banned phrases finds each of them, and no sentence that says it better."""

from __future__ import annotations

from pathlib import Path

import pytest
from tools import words

PLAIN = (
    "There is no TPM. It is no longer used, and no more than two sessions run.",
    "The technician was told to wait. Who may open the device?",
    "There are no keys, and a key that is no better is not used.",
    "See where the file is kept, and `where it has` one.",
    "The user is told that the TPM is locked.",
    "The path is None if there is no file.",
)


@pytest.mark.parametrize("phrase", words.phrases(), ids=lambda one: one.example)
def test_a_phrase_is_found_in_its_example(phrase: words.Phrase) -> None:
    assert phrase.pattern.search(phrase.example)


def test_no_replacement_is_itself_banned() -> None:
    assert not [one.instead for one in words.phrases() if list(words.search(one.instead))]


@pytest.mark.parametrize("sentence", PLAIN)
def test_plain_english_is_left_alone(sentence: str) -> None:
    assert not list(words.search(sentence))


def test_a_phrase_is_found_over_the_end_of_a_line_and_at_its_line(tmp_path: Path) -> None:
    path = tmp_path / "some.py"
    path.write_text(
        '"""Plain.\n\nThe handle is\nnone."""\n'
        "# A comment, and the key is\n# none.\n"
        "cause = f'{1} is no {2}'  # and this is none\n"
        "theirs = 'it is none'  # words: quoted\n"
        "pattern = r'\\bnone\\b'\n"
    )
    assert [(one.line, one.words) for one in words.check(path)] == [
        (3, "is none"),
        (5, "is none"),
        (7, "is no {}"),
        (7, "is none"),
    ]


def test_code_in_a_document_is_not_prose(tmp_path: Path) -> None:
    path = tmp_path / "some.md"
    path.write_text("It is `is none`.\n\n```\nis none\n```\n\nThe key is none.\n")
    assert [(one.line, one.words) for one in words.check(path)] == [(7, "is none")]


def test_the_documents_are_checked() -> None:
    names = {path.name for path in words.files(words.DOCUMENTS)}
    assert {"README.md", "CHANGELOG.md", "SECURITY.md", "Makefile", "run"} <= names


def test_the_package_and_its_tests_are_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(words, "ROOT", tmp_path)
    for name in ("tpmconsole/x509/judge.py", "tests/ui/test_keys.py", "README.md"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('"The key is none."\n')
    assert words.main([]) == 1
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == [
        "README.md",
        "tests/ui/test_keys.py",
        "tpmconsole/x509/judge.py",
    ]
    assert words.main([str(tmp_path / "tests")]) == 1
    assert capsys.readouterr().out.startswith("tests/ui/test_keys.py:1: 'is none'")
    (tmp_path / "tests/ui/test_keys.py").unlink()
    assert words.main([str(tmp_path / "tests")]) == 0
