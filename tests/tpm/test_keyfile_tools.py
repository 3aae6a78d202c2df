"""Key files between us and other tools, on a simulated TPM."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.tools import Tools, needs_tools

from tpmconsole.tpm.keyfile import inspect, parse
from tpmconsole.tpm.simulator import Simulator

PARENT = "0x81000123"


@pytest.fixture
def tools(shared_simulator: Simulator, tmp_path: Path) -> Tools:
    return Tools(shared_simulator.ensure(), tmp_path)


@pytest.fixture
def parent(tools: Tools) -> Iterator[str]:
    """A persistent parent key."""
    tools.run("tpm2_createprimary", "-Q", "-C", "o", "-c", "parent.ctx")
    tools.run("tpm2_evictcontrol", "-Q", "-C", "o", "-c", "parent.ctx", PARENT)
    yield PARENT
    tools.run("tpm2_evictcontrol", "-Q", "-C", "o", "-c", PARENT)


def ours(file: Path) -> Path:
    """The same key, as we write it."""
    written = file.with_name("ours.pem")
    written.write_bytes(parse(file.read_bytes()).to_pem())
    return written


@pytest.mark.parametrize(
    ("algorithm", "option", "words"),
    [
        ("EC", "group:P-256", "EC P-256"),
        ("EC", "group:P-384", "EC P-384"),
        ("RSA", "bits:2048", "RSA 2048"),
    ],
)
def test_keys_of_tpm2_openssl(tools: Tools, algorithm: str, option: str, words: str) -> None:
    file = tools.genpkey("-algorithm", algorithm, "-pkeyopt", option)
    found = inspect(file)
    assert (found.algorithm, found.auth, found.parent) == (words, "none", "0x40000001")
    assert (found.public_pem or "").encode() == tools.public(file) == tools.public(ours(file))


def test_a_key_with_a_password_and_one_in_der(tools: Tools) -> None:
    options = ("-algorithm", "EC", "-pkeyopt", "group:P-256")
    assert inspect(tools.genpkey(*options, "-pkeyopt", "user-auth:abc")).auth == "password"
    file = tools.genpkey(*options, "-outform", "DER")
    assert inspect(file).algorithm == "EC P-256"
    assert parse(file.read_bytes()).public_pem() == tools.public(ours(file))


def test_keys_of_tpm2_pytss_and_ours_in_it(tools: Tools) -> None:
    script = "open('made.pem', 'wb').write(TSSPrivKey.create_ecc(esapi, password=b'x').to_pem())"
    tools.python(script)
    file = tools.folder / "made.pem"
    found = inspect(file)
    assert (found.auth, found.counts_towards_lockout) == ("password", False)
    assert ours(file).read_bytes() == file.read_bytes()
    tools.python("TSSPrivKey.from_pem(open('ours.pem', 'rb').read()).load(esapi, b'x')")


def test_a_description_keeps_tpm2_openssl_from_reading(tools: Tools) -> None:
    file = tools.genpkey("-algorithm", "EC", "-pkeyopt", "group:P-256")
    described = replace(parse(file.read_bytes()), description="gateway")
    file.write_bytes(described.to_pem())
    assert "tpm2-openssl cannot read its field description" in inspect(file).remarks
    with pytest.raises(AssertionError):
        tools.public(file)


@needs_tools
def test_a_persistent_parent_and_tpm2_tools(tools: Tools, parent: str) -> None:
    file = tools.genpkey(
        "-algorithm", "EC", "-pkeyopt", "group:P-256", "-pkeyopt", f"parent:{parent}"
    )
    assert inspect(file).parent == parent
    assert parse(file.read_bytes()).public_pem() == tools.public(ours(file))
    tools.run("tpm2_load", "-Q", "-r", "ours.pem", "-c", "ours.ctx")


@needs_tools
def test_keys_of_tpm2_encodeobject(tools: Tools, parent: str) -> None:
    tools.run("tpm2_create", "-Q", "-C", parent, "-G", "ecc", "-u", "key.pub", "-r", "key.priv")
    tools.run(
        "tpm2_encodeobject", "-C", parent, "-u", "key.pub", "-r", "key.priv", "-o", "made.pem"
    )
    found = inspect(tools.folder / "made.pem")
    assert (found.algorithm, found.parent) == ("EC P-256", parent)
    assert found.mode == "0660"
    tools.public(ours(tools.folder / "made.pem"))
    assert "only a public area" in (inspect(tools.folder / "key.pub").reason or "")
