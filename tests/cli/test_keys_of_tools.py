"""What other people's tools leave: files that say the opposite of the truth, keys out of reach."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from support.passwords import write_password
from support.swtpm import SwtpmAlone
from support.tools import PARENT, STORAGE, Bench, needs_tools

from tpmconsole.tpm.keyfile import inspect

pytestmark = needs_tools


@pytest.fixture
def bench(alone: SwtpmAlone, state: Path, tmp_path: Path) -> Bench:
    return Bench(alone, state, tmp_path)


def test_many_keys_whose_files_say_that_they_have_no_password_cost_no_attempt(
    bench: Bench,
) -> None:
    folder = bench.tools.four_inverted()
    found = inspect(folder / "a.pem")
    assert (found.auth, found.counts_towards_lockout) == ("none", True)
    code, answer = bench("keys", str(folder), "--prove")
    assert code == 0
    assert [one["usable"] for one in answer["files"]] == [None] * 4
    assert all("may have a password" in one["reason"] for one in answer["files"])
    assert bench.used == 0
    # Named all at once, they are many as well.
    bench("keys", *(str(folder / f"{name}.pem") for name in "abcd"), "--prove", "--last-try")
    assert bench.used == 0


def test_one_key_alone_is_tried_but_never_as_the_last_attempt(bench: Bench) -> None:
    file = str(bench.tools.four_inverted() / "a.pem")
    for used in (1, 2):
        code, answer = bench("keys", file, "--prove")
        (found,) = answer["files"]
        assert (code, found["usable"], bench.used) == (1, None, used)
        assert "although its file says that it has none" in found["reason"]
        assert "counted this" in found["reason"]
    for more in ((), ("--last-try",)):
        code, answer = bench("keys", file, "--prove", *more)
        assert (code, bench.used) == (1, 2)
        assert "a wrong one would now lock" in answer["files"][0]["reason"]
    assert not bench("status")[1]["lockout"]["locked"]


def test_a_key_without_a_password_whose_file_says_that_it_has_one(bench: Bench) -> None:
    bench.tools.persist_primary(PARENT, "-a", STORAGE)  # as it comes, its wrong passwords count
    file = bench.tools.key("plain.pem")
    assert inspect(file).auth == "password"
    code, answer = bench("keys", str(file), "--prove")
    (found,) = answer["files"]
    assert (code, found["usable"], bench.used) == (1, None, 0)
    assert "--no-password says that it has no password" in found["reason"]
    code, answer = bench("keys", str(file), "--prove", "--no-password")
    (found,) = answer["files"]
    assert (code, found["usable"], bench.used) == (0, True, 0)
    # An empty file is a mistake, but no way round it leads back to it.
    empty = bench.shell.state / "empty"
    write_password(empty, "\n")
    code, answer = bench("keys", str(file), "--prove", "--password-file", str(empty))
    assert code == 2
    assert "--no-password" in answer["error"]["remedy"]
    code, _ = bench("keys", str(file), "--prove", "--password-file", str(empty), "--no-password")
    assert code == 2


def test_an_identity_of_a_key_without_a_password_never_asks_for_one(bench: Bench) -> None:
    """Its copy of the file says what the TPM proved, so --no-password is needed only once."""
    bench.tools.persist_primary(PARENT, "-a", f"{STORAGE}|noda")
    file = bench.tools.key("plain.pem")
    assert inspect(file).auth == "password"
    adopt = ("create", "gw", "--from-file", str(file))
    code, answer = bench(*adopt)
    assert (code, "--no-password" in answer["error"]["remedy"]) == (4, True)
    assert bench(*adopt, "--no-password")[0] == 0
    copy = bench.shell.state / "identities/gw/key.pem"
    assert (inspect(copy).auth, inspect(file).auth) == ("none", "password")
    code, answer = bench("keys", str(copy), "--prove")
    assert (code, answer["files"][0]["usable"], bench.used) == (0, True, 0)
    assert bench("request", "gw", "--subject", "CN=gw", "--san", "dns:gw.local")[0] == 0


def test_no_password_for_a_key_that_has_one_is_never_the_last_attempt_unasked(
    bench: Bench,
) -> None:
    bench.tools.persist_primary(PARENT, "-a", f"{STORAGE}|noda")
    file = str(bench.tools.key("locked.pem", "-p", "abc"))
    prove = ("keys", file, "--prove", "--no-password")
    for used in (1, 2):
        code, answer = bench(*prove)
        assert (code, answer["files"][0]["usable"], bench.used) == (1, None, used)
    assert "--last-try" in bench(*prove)[1]["files"][0]["reason"]
    assert bench.used == 2
    bench(*prove, "--last-try")
    assert bench("status")[1]["lockout"]["locked"]


@pytest.mark.parametrize(
    ("options", "attributes", "answer"),
    [
        (("-G", "aes128cfb"), "decrypt|sign", "has no public key to verify with"),
        (("-G", "hmac"), "sign", "has no public key to verify with"),
        (("-i", "secret.txt"), "", "sealed data"),
        ((), "decrypt", "made to decrypt"),
        ((), "sign|restricted", "attestation key"),
        (("-L", "policy.bin"), "sign", "only its policy"),
    ],
    ids=["aes", "hmac", "sealed", "decrypt", "attestation", "policy"],
)
def test_no_password_is_asked_for_where_none_helps(
    bench: Bench, options: tuple[str, ...], attributes: str, answer: str
) -> None:
    bench.tools.persist_primary(PARENT, "-a", f"{STORAGE}|noda")
    (bench.tools.folder / "secret.txt").write_text("sealed")
    (bench.tools.folder / "policy.bin").write_bytes(hashlib.sha256(b"").digest())
    which = "fixedtpm|fixedparent" + (f"|{attributes}" if attributes else "")
    if "-i" not in options:
        which += "|sensitivedataorigin"
    if "-L" not in options:
        which += "|userwithauth"
    scheme = ("-G", "ecc:ecdsa:null") if "restricted" in attributes else ()
    file = bench.tools.key("odd.pem", *options, *scheme, "-p", "abc", attributes=which)
    assert inspect(file).counts_towards_lockout
    for more in ((), ("--no-password",)):
        _, found = bench("keys", str(file), "--prove", *more)
        (found,) = found["files"]
        assert (found["usable"], bench.used) == (False, 0)
        assert answer in found["reason"]
        assert "--password-file" not in found["reason"]


def test_a_hierarchy_that_is_off_hides_its_own_keys_alone(bench: Bench) -> None:
    tools, firmware = bench.tools, "0x81800001"
    tools.persist_primary(firmware, hierarchy="p")
    tools.persist_primary("0x81000001")
    tools.run("tpm2_hierarchycontrol", "-C", "p", "phEnable", "clear")
    assert bench("status")[1]["persistent_handles"] == ["0x81000001", firmware]
    code, answer = bench("keys")
    assert (code, "no_tpm" in answer) == (0, False)
    storage, hidden = answer["persistent"]
    assert (storage["handle"], storage["purpose"]) == ("0x81000001", "storage root key (SRK)")
    assert (hidden["handle"], hidden["algorithm"]) == (firmware, None)
    assert hidden["reason"] == "the platform hierarchy is switched off"
    assert f"{firmware}  " in bench.text("keys")
    # Every command that uses the list still works.
    assert bench("create", "inside", "--handle", "0x81000010")[0] == 0
    assert bench("create", "file")[0] == 0
    assert bench("persist", "file", "0x81000011", "--yes")[0] == 0
    assert bench("evict", "0x81000011", "--yes")[0] == 0
    proved = {one["handle"]: one for one in bench("keys", "--prove")[1]["persistent"]}
    assert proved["0x81000010"]["usable"]
    assert proved[firmware]["usable"] is False
    code, answer = bench("evict", firmware, "--yes")
    assert (code, answer["error"]["title"]) == (2, "Handle reserved")


def test_a_key_file_below_a_hierarchy_that_is_off_says_so(bench: Bench) -> None:
    tools = bench.tools
    tools.persist_primary(PARENT, "-a", f"{STORAGE}|noda")
    file = tools.key("below.pem", encode="-p")
    tools.run("tpm2_hierarchycontrol", "-C", "p", "shEnable", "clear")
    (hidden,) = bench("keys")[1]["persistent"]
    assert hidden["reason"] == "the owner hierarchy is switched off"
    code, answer = bench("keys", str(file), "--prove")
    assert (code, answer["files"][0]["usable"]) == (1, False)
    assert "the owner hierarchy is switched off" in answer["files"][0]["reason"]
