"""Keys that other tools made on this TPM: adopted as identities; other TPMs' keys are not."""

from __future__ import annotations

import json
import shutil
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from support.key_answers import tries
from support.pki import Ca, SoftwareIdentity
from support.tpm_tools import STORAGE, ZEROS, Tool, key_below, tools
from support.world import connected, port_of, say

from tpmconsole.board import Board
from tpmconsole.board.adopt import adopt_file, adopt_handle
from tpmconsole.board.certificates import install_certificate, judge_certificate
from tpmconsole.board.keys import create_key, list_keys, persist
from tpmconsole.board.open_key import open_key
from tpmconsole.board.parents import way_out
from tpmconsole.board.requests import make_request
from tpmconsole.board.sessions import start_session, stop_session
from tpmconsole.cli.next_steps import say as words
from tpmconsole.errors import ConsoleError, ExitCode
from tpmconsole.session.spec import SessionSpec
from tpmconsole.settings import Settings
from tpmconsole.tpm import keyfile
from tpmconsole.tpm.auth import NO_AUTH, Auth
from tpmconsole.tpm.model import Algorithm, KeyCheck
from tpmconsole.x509.names import key_fingerprint
from tpmconsole.x509.request_spec import RequestSpec

pytestmark = pytest.mark.skipif(
    not shutil.which("tpm2_encodeobject"), reason="tpm2-tools is not installed"
)
CA = Ca.make("root")
SPEC = RequestSpec("CN=gw", ("ip:127.0.0.1",), "both")
HANDLE = 0x81000010
ECC, RSA = "ecc256:null:aes128cfb", "rsa2048:null:aes128cfb"
# Options of tpm2_createprimary, words for what it makes, and what our copy of a key file says.
PRIMARIES = {
    "tools-rsa": (("-C", "o"), "the RSA primary key of tpm2_createprimary", "rsa-counting"),
    "tools-ecc": (("-C", "o", "-G", "ecc"), "EC primary key of tpm2_createprimary", "ec-counting"),
    "rsa": (("-C", "o", "-G", RSA, "-a", f"{STORAGE}|noda"), "the RSA storage root key", ""),
    "zeros-rsa": (
        ("-C", "o", "-G", RSA, "-a", f"{STORAGE}|noda", "-u", "rsa"),
        "RSA storage root key with a unique field of zeros",
        "rsa-zeros",
    ),
    "zeros-ecc": (
        ("-C", "o", "-G", ECC, "-a", f"{STORAGE}|noda", "-u", "ecc"),
        "EC storage root key with a unique field of zeros",
        "ec-zeros",
    ),
    "endorsement": (("-C", "e", "-G", "ecc"), "in the endorsement hierarchy", "ec-counting"),
}


@pytest.fixture
def board(settings: Callable[..., Settings]) -> Iterator[Board]:
    board = Board(settings(simulate=True))
    yield board
    for facts in board.sessions.list():
        stop_session(board, facts.id)
    board.close(leave=True)


@pytest.fixture
def tool(board: Board, tmp_path: Path) -> Tool:
    for name, unique in ZEROS.items():
        (tmp_path / name).write_bytes(unique)
    return tools(board.tpm, tmp_path)


def _serves(board: Board, folder: Path, name: str, auth: Auth = NO_AUTH) -> str:
    """Request, certificate, and a session that a software client talks to; the engine."""
    request = x509.load_pem_x509_csr(make_request(board, name, SPEC, auth))
    pin = board.identities.get(name).pin
    assert pin is not None
    assert key_fingerprint(request.public_key()) == pin.sha256
    public = open_key(board, board.identities.get(name)).public
    judged = judge_certificate(board, name, [CA.issue(public, name)], CA.pem, "both", auth)
    assert [one.text for one in judged.verdicts if one.state == "fail"] == []
    install_certificate(board, name, judged)
    server = start_session(board, SessionSpec("server", name, "127.0.0.1", 0), auth)
    peer = SoftwareIdentity.make(folder / "peer", CA, "peer")
    with connected(peer, port_of(server)) as tls:
        assert say(tls, "PING 1") == "PONG 1"
    engine = board.sessions.show(server.id).engine
    stop_session(board, server.id)
    return engine


def _refused(work: Callable[[], object]) -> ConsoleError:
    with pytest.raises(ConsoleError) as caught:
        work()
    assert caught.value.exit_code is ExitCode.REFUSED
    return caught.value


@pytest.mark.parametrize("which", PRIMARIES)
def test_a_key_below_another_primary_key_is_named_adopted_and_serves(
    board: Board, tool: Tool, tmp_path: Path, which: str
) -> None:
    options, what, mark = PRIMARIES[which]
    path = tmp_path / key_below(tool, which, *options)
    before = path.read_bytes()
    (key,) = list_keys(board, [path], prove=True).files
    assert key.usable is False
    assert what in (key.reason or "")
    assert "this TPM made it" in (key.reason or "")
    identity = adopt_file(board, "gw", path)
    assert (identity.origin, identity.algorithm, identity.auth) == ("adopted", "ec-p256", "none")
    kept = keyfile.parse((identity.folder / "key.pem").read_bytes())
    assert (kept.mark, kept.rsa_parent) == (mark, which == "rsa")
    noted = tomllib.loads((identity.folder / "identity.toml").read_text())
    assert (noted["origin"], noted["key_name"]) == ("adopted", kept.area.name.hex())
    assert path.read_bytes() == before
    assert _serves(board, tmp_path, "gw") == "bridge"
    assert tries(board.tpm) == 0


def test_a_key_with_a_password_is_adopted_with_it_and_no_attempt_is_spent(
    board: Board, tool: Tool, tmp_path: Path
) -> None:
    path = tmp_path / key_below(tool, "key", "-C", "o", "-G", "ecc", password="pw")
    # The parent comes first: no password helps as long as the key cannot be loaded.
    (key,) = list_keys(board, [path], prove=True).files
    assert "this TPM made it" in (key.reason or "")
    error = _refused(lambda: adopt_file(board, "gw", path))
    assert (error.title, error.needs) == ("Key not adopted", "key")
    assert board.identities.names() == []
    assert tries(board.tpm) == 0
    identity = adopt_file(board, "gw", path, Auth(b"pw"))
    kept = keyfile.parse((identity.folder / "key.pem").read_bytes())
    assert (identity.auth, kept.empty_auth) == ("password", False)
    assert _serves(board, tmp_path, "gw", Auth(b"pw")) == "bridge"
    assert tries(board.tpm) == 0


def test_the_copy_says_what_is_true_of_the_password(
    board: Board, tool: Tool, tmp_path: Path
) -> None:
    """tpm2-tools 5 writes the opposite into the file."""
    for name, password in (("closed", "pw"), ("open", "")):
        srk = ("-C", "o", "-G", ECC, "-a", f"{STORAGE}|noda")
        path = tmp_path / key_below(tool, name, *srk, password=password)
        key = keyfile.parse(path.read_bytes())
        path.write_bytes(replace(key, empty_auth=not key.empty_auth).to_pem())
        identity = adopt_file(board, name, path, Auth(password.encode()))
        kept = keyfile.parse((identity.folder / "key.pem").read_bytes())
        assert (identity.auth, kept.empty_auth) == (
            ("password", False) if password else ("none", True)
        )
    assert tries(board.tpm) == 0


def test_a_key_whose_parent_is_at_a_handle_needs_nothing_more(
    board: Board, tool: Tool, tmp_path: Path
) -> None:
    srk = ("-C", "o", "-G", "ecc384:null:aes256cfb", "-a", f"{STORAGE}|noda")
    path = tmp_path / key_below(tool, "key", *srk)
    error = _refused(lambda: adopt_file(board, "gw", path))
    assert "no usual primary key is its parent" in error.cause
    tool("tpm2_evictcontrol", "-C", "o", "-c", "key.ctx", "0x81000001")
    (key,) = list_keys(board, [path], prove=True).files
    assert "below the key at 0x81000001" in (key.reason or "")
    identity = adopt_file(board, "gw", path)
    assert keyfile.parse((identity.folder / "key.pem").read_bytes()).parent == 0x81000001
    _serves(board, tmp_path, "gw")


def test_a_parent_that_is_gone_from_its_handle_is_made_again(
    board: Board, tool: Tool, tmp_path: Path
) -> None:
    """The file names a handle that is empty now, and held a primary key of tpm2-tools."""
    path = tmp_path / key_below(tool, "key", "-C", "o", "-G", "ecc")
    key = keyfile.parse(path.read_bytes())
    path.write_bytes(replace(key, parent=0x81000005).to_pem())
    (found,) = list_keys(board, [path], prove=True).files
    assert "below the EC primary key of tpm2_createprimary" in (found.reason or "")
    assert adopt_file(board, "gw", path).origin == "adopted"


def test_a_parent_with_a_password_costs_no_attempt(
    board: Board, tool: Tool, tmp_path: Path
) -> None:
    """Each key at a handle that stores others is a parent perhaps; those that count are left."""
    tool("tpm2_createprimary", "-C", "o", "-G", "ecc", "-p", "parent", "-c", "guarded.ctx")
    tool("tpm2_evictcontrol", "-C", "o", "-c", "guarded.ctx", "0x81000002")
    foreign = tmp_path / key_below(tool, "key", "-C", "n", "-G", "ecc384")
    for _ in range(2):
        (key,) = list_keys(board, [foreign], prove=True).files
        assert "no usual primary key is its parent" in (key.reason or "")
    assert tries(board.tpm) == 0


def test_a_key_of_openssl_s_provider_is_adopted_as_it_is(
    board: Board, tool: Tool, tmp_path: Path
) -> None:
    provider = ("-provider", "tpm2", "-provider", "default")
    made = ("-algorithm", "EC", "-pkeyopt", "group:P-256", "-out", "key.pem")
    tool("openssl", "genpkey", *provider, *made)
    identity = adopt_file(board, "gw", tmp_path / "key.pem")
    kept = keyfile.parse((identity.folder / "key.pem").read_bytes())
    assert kept == keyfile.parse((tmp_path / "key.pem").read_bytes())
    _serves(board, tmp_path, "gw")
    with pytest.raises(ConsoleError, match="it is the key of identity 'gw'"):
        adopt_file(board, "twice", tmp_path / "key.pem")
    persist(board, "gw", HANDLE)
    with pytest.raises(ConsoleError, match="identity 'gw' has its key at 0x81000010"):
        adopt_handle(board, "twice", HANDLE)
    _serves(board, tmp_path, "gw")


@pytest.mark.parametrize("handle", [HANDLE, 0x81020001, 0x81800001], ids=hex)
def test_the_key_at_any_handle_is_adopted_also_the_maker_s(
    board: Board, tool: Tool, tmp_path: Path, handle: int
) -> None:
    hierarchy = "p" if handle >= 0x81800000 else "o"
    key_below(tool, "key", "-C", hierarchy, "-G", "ecc")
    tool("tpm2_load", "-C", "key.ctx", "-u", "key.pub", "-r", "key.priv", "-c", "loaded.ctx")
    tool("tpm2_evictcontrol", "-C", hierarchy, "-c", "loaded.ctx", f"{handle:#x}")
    identity = adopt_handle(board, "device", handle)
    assert (identity.handle, identity.origin) == (handle, "adopted")
    assert identity.pin is not None
    assert _serves(board, tmp_path, "device") == "bridge"
    assert tries(board.tpm) == 0


@pytest.mark.parametrize(
    ("options", "cause"),
    [
        (("-G", "ecc", "-a", f"{STORAGE.replace('|restricted', '')}|noda"), "not to sign"),
        (
            ("-G", "rsa2048:rsassa:null", "-a", f"{STORAGE.replace('decrypt', 'sign')}|noda"),
            "attestation key",
        ),
        (("-G", "hmac"), "it is HMAC SHA-256, and TLS"),
        (("-G", "aes"), "it is AES 128, and TLS"),
        (("-G", "rsa1024"), "RSA keys of 1024 bits"),
        (("-G", "ecc", "-L", "policy", "-a", "fixedtpm|fixedparent|sensitivedataorigin|sign"), ""),
    ],
    ids=["decrypts", "attestation", "hmac", "aes", "rsa1024", "policy"],
)
def test_a_key_that_tls_has_no_use_for_is_refused_with_its_cause(
    board: Board, tool: Tool, tmp_path: Path, options: tuple[str, ...], cause: str
) -> None:
    (tmp_path / "policy").write_bytes(bytes(32))
    tool("tpm2_createprimary", "-C", "o", "-G", ECC, "-a", f"{STORAGE}|noda", "-c", "parent.ctx")
    files = ("-u", "key.pub", "-r", "key.priv")
    tool("tpm2_create", "-C", "parent.ctx", *options, *files)
    tool("tpm2_encodeobject", "-C", "parent.ctx", *files, "-p", "-o", "key.pem")
    error = _refused(lambda: adopt_file(board, "gw", tmp_path / "key.pem"))
    assert error.title == "Key not adopted"
    assert cause in error.cause
    assert error.needs is None
    tool("tpm2_load", "-C", "parent.ctx", *files, "-c", "loaded.ctx")
    tool("tpm2_evictcontrol", "-C", "o", "-c", "loaded.ctx", "0x81000010")
    at_handle = _refused(lambda: adopt_handle(board, "gw", HANDLE))
    assert cause in at_handle.cause
    assert at_handle.needs is None
    assert board.identities.names() == []
    assert tries(board.tpm) == 0


def test_sealed_data_and_files_without_a_key_are_refused(
    board: Board, tool: Tool, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("secret")
    tool("tpm2_createprimary", "-C", "o", "-G", ECC, "-a", f"{STORAGE}|noda", "-c", "parent.ctx")
    files = ("-u", "key.pub", "-r", "key.priv")
    tool("tpm2_create", "-C", "parent.ctx", "-i", "secret", *files)
    tool("tpm2_encodeobject", "-C", "parent.ctx", *files, "-p", "-o", "key.pem")
    error = _refused(lambda: adopt_file(board, "gw", tmp_path / "key.pem"))
    assert "it is sealed data" in error.cause
    tool("openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "group:P-256", "-out", "soft.pem")
    error = _refused(lambda: adopt_file(board, "gw", tmp_path / "soft.pem"))
    assert "a private key" in error.cause
    assert words(error.remedy).endswith("tpmconsole create NAME --from FILE")
    assert board.identities.names() == []


def test_another_tpm_s_key_stays_another_tpm_s(board: Board, tmp_path: Path) -> None:
    pem = keyfile.parse(board.tpm.create(Algorithm.EC_P256))
    damaged = replace(pem, private=pem.private[:-1] + bytes([pem.private[-1] ^ 1]))
    path = tmp_path / "key.pem"
    path.write_bytes(damaged.to_pem())
    (key,) = list_keys(board, [path], prove=True).files
    assert (key.usable, "another TPM" in (key.reason or "")) == (False, True)
    assert "another TPM" in _refused(lambda: adopt_file(board, "gw", path)).cause


def test_what_helps_is_said_of_a_key_below_another_parent_alone() -> None:
    step = way_out(KeyCheck("other-parent", "why"))
    assert step is not None
    assert words(step) == "tpmconsole create NAME --from-file FILE makes an identity of it"
    assert way_out(KeyCheck("not-this-tpm", "why")) is None


def test_a_made_key_and_one_of_another_tool_are_listed_side_by_side(
    board: Board, tool: Tool, tmp_path: Path
) -> None:
    """One search for all of them, and each gets its own answer."""
    folder = tmp_path / "keys"
    folder.mkdir()
    for name, (options, _, _) in PRIMARIES.items():
        shutil.copy(tmp_path / key_below(tool, name, *options), folder)
    own = create_key(board, "own", Algorithm.EC_P256)
    shutil.copy(own.folder / "key.pem", folder / "own.pem")
    found = {Path(key.path).stem: key for key in list_keys(board, [folder], prove=True).files}
    assert found.pop("own").usable is True
    for name, (_, what, _) in PRIMARIES.items():
        assert what in (found[name].reason or ""), name


def test_the_audit_record_names_where_an_adopted_key_is_from(
    board: Board, tool: Tool, tmp_path: Path
) -> None:
    path = tmp_path / key_below(tool, "key", "-C", "o", "-G", "ecc")
    adopt_file(board, "gw", path)
    lines = board.settings.audit.read_text().splitlines()
    (noted,) = [one for line in lines if (one := json.loads(line))["action"] == "create"]
    assert (noted["origin"], noted["adopted_from"]) == ("adopted", str(path))


def test_openssl_reads_past_our_mark(board: Board, tool: Tool, tmp_path: Path) -> None:
    """RFC 7468, section 2: text before the block is passed over."""
    options, _, mark = PRIMARIES["zeros-ecc"]
    identity = adopt_file(board, "gw", tmp_path / key_below(tool, "key", *options))
    pem = identity.folder / "key.pem"
    assert pem.read_text().startswith(f"Primary key: {mark}\n-----BEGIN")
    asn1 = ("/usr/bin/openssl", "asn1parse", "-in", str(pem))
    assert (
        "2.23.133.10.1.3" in subprocess.run(asn1, capture_output=True, text=True, check=True).stdout
    )
