"""The texts of response codes."""

from __future__ import annotations

import pytest

from tpmconsole.errors import ExitCode
from tpmconsole.tpm.response_texts import TPM_WORDS
from tpmconsole.tpm.responses import base, explain, is_transport, subject

NO_TPM, REFUSED = ExitCode.NO_TPM, ExitCode.REFUSED


@pytest.mark.parametrize(
    ("rc", "title", "exit_code"),
    [
        (0x100, "TPM not started", REFUSED),
        (0x101, "TPM in failure mode", REFUSED),
        (0x12F, "Key needs its policy", REFUSED),
        (0x14B, "No room in the TPM", REFUSED),
        (0x14C, "Handle in use", REFUSED),
        (0x184, "TPM refused", REFUSED),
        (0x18B, "No such key", REFUSED),
        (0x1C4, "TPM refused", REFUSED),
        (0x1DF, "Key refused", REFUSED),
        (0x902, "No room in the TPM", REFUSED),
        (0x903, "No room in the TPM", REFUSED),
        (0x908, "TPM busy", REFUSED),
        (0x90A, "TPM busy", REFUSED),
        (0x910, "No such key", REFUSED),
        (0x920, "TPM busy", REFUSED),
        (0x921, "TPM locked out", REFUSED),
        (0x922, "TPM busy", REFUSED),
        (0x923, "TPM busy", REFUSED),
        (0x98E, "Wrong password", REFUSED),
        (0x9A2, "Wrong password", REFUSED),
        (0xB0143, "Not supported", REFUSED),  # Linux' resource manager
        (0xC0902, "No room in the TPM", REFUSED),
        (0xA000A, "No TPM reached", NO_TPM),
        (0xA0008, "No TPM reached", NO_TPM),
        (0xA0009, "No TPM reached", NO_TPM),
        (0xA000B, "No TPM reached", NO_TPM),
        (0xA0015, "No TPM reached", NO_TPM),
        (0x80012, "No TPM reached", NO_TPM),
        (0x80013, "No TPM reached", NO_TPM),
        (0x70007, "No TPM reached", NO_TPM),
    ],
)
def test_every_measured_fault_has_words(rc: int, title: str, exit_code: ExitCode) -> None:
    error = explain(rc, "library words")
    assert (error.title, error.exit_code, error.response_code) == (title, exit_code, rc)
    assert "library words" not in error.cause


def test_a_wrong_password_tells_whether_it_counts() -> None:
    assert "counted" in explain(0x98E).cause
    assert "not count" in explain(0x9A2).cause


def test_the_number_of_handle_parameter_or_session_does_not_matter() -> None:
    assert {base(rc) for rc in (0x08B, 0x18B, 0x28B)} == {0x8B}
    assert {base(rc) for rc in (0x1DF, 0x2DF, 0x9F)} == {0x9F}
    assert {base(rc) for rc in (0x98E, 0xA8E)} == {0x8E}
    assert base(0x921) == 0x921
    assert [subject(rc) for rc in (0x18B, 0x2DF, 0x98E, 0x921, 0x80)] == [
        "handle 1",
        "parameter 2",
        "session 1",
        "",
        "",
    ]


def test_unknown_codes_still_get_words() -> None:
    error = explain(0x2CC, "tpm:parameter(2):unsupported KDF")
    assert error.cause == (
        "the TPM answered 0x2cc about parameter 2: tpm:parameter(2):unsupported KDF"
    )
    assert error.exit_code is REFUSED
    assert explain(0x70016, "esys:No decrypt parameter").cause.startswith("the TSS answered")
    assert "cannot be decoded" in explain(0x9000B, "mu:A parameter has a bad value").cause
    assert explain(0xA0003).exit_code is NO_TPM


def test_only_a_broken_way_to_the_tpm_makes_the_context_useless() -> None:
    for rc in (0xA000A, 0xA0008, 0xA0009, 0x80012, 0x80013, 0x70007, 0x9000B, 0xB0002):
        assert is_transport(rc), hex(rc)
    for other in (None, 0, 0x101, 0x902, 0x9A2, 0x921, 0x18B, 0xB0143, 0x80006):
        assert not is_transport(other), other


def test_words_are_sentences_of_one_style() -> None:
    for title, cause, remedy in TPM_WORDS.values():
        assert title[0].isupper() or title.startswith("NV")
        for text in (title, cause, str(remedy)):
            assert text
            assert not text.endswith(".")
            assert "0x" not in text
