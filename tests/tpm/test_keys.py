"""Keys made in the TPM, signed with, and shared with other tools."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from support.key_answers import HANDLE, REQUEST, answer, tries
from support.pki import HASHES
from support.tpm_tools import tools

from tpmconsole.errors import ConsoleError, ExitCode
from tpmconsole.tpm import keyfile
from tpmconsole.tpm.auth import Auth
from tpmconsole.tpm.client import Tpm
from tpmconsole.tpm.keys import private_key
from tpmconsole.tpm.model import Algorithm, KeyRef

# Making


@pytest.mark.parametrize(
    ("algorithm", "words"),
    [
        (Algorithm.EC_P256, "EC P-256"),
        (Algorithm.EC_P384, "EC P-384"),
        (Algorithm.RSA_2048, "RSA 2048"),
        (Algorithm.RSA_3072, "RSA 3072"),
    ],
)
def test_makes_keys_that_sign_and_nothing_more(
    made: dict[Algorithm, bytes], algorithm: Algorithm, words: str
) -> None:
    key = keyfile.parse(made[algorithm])
    assert (key.algorithm, key.parent, key.empty_auth) == (words, 0x40000001, True)
    assert key.has_noda  # there is no password to guess
    assert ("decrypts" in key.attributes) == words.startswith("RSA")
    assert "signs" in key.attributes
    assert "never leaves its TPM" in key.attributes


def test_a_password_is_protected_by_the_lock_out_unless_told_otherwise(shared_tpm: Tpm) -> None:
    protected = keyfile.parse(shared_tpm.create(Algorithm.EC_P256, Auth(b"pw")))
    assert (protected.empty_auth, protected.has_noda) == (False, False)
    other = keyfile.parse(shared_tpm.create(Algorithm.EC_P256, Auth(b"pw"), noda=True))
    assert (other.empty_auth, other.has_noda) == (False, True)


def test_the_longest_password_works_and_a_longer_one_is_refused_first(shared_tpm: Tpm) -> None:
    pem = shared_tpm.create(Algorithm.EC_P256, Auth(b"p" * 64))
    assert answer(shared_tpm, pem, b"p" * 64) == "yes"
    for call in (
        lambda: shared_tpm.create(Algorithm.EC_P256, Auth(b"p" * 65)),
        lambda: shared_tpm.check_key(KeyRef(pem), Auth(b"p" * 65)),
        lambda: shared_tpm.evict(HANDLE, Auth(owner=b"p" * 65)),
    ):
        with pytest.raises(ConsoleError) as caught:
            call()
        assert (caught.value.title, caught.value.exit_code) == (
            "Password too long",
            ExitCode.USAGE,
        )


# Signing


@pytest.mark.parametrize("hash_name", HASHES)
@pytest.mark.parametrize("algorithm", [Algorithm.EC_P256, Algorithm.RSA_2048])
def test_signatures_verify_in_software(
    shared_tpm: Tpm, made: dict[Algorithm, bytes], algorithm: Algorithm, hash_name: str
) -> None:
    pem = made[algorithm]
    digest = hashlib.new(hash_name, b"data").digest()
    public = keyfile.parse(pem).public_key()
    prehashed = Prehashed(HASHES[hash_name])
    if algorithm is Algorithm.EC_P256:
        signature = shared_tpm.sign(KeyRef(pem), digest, hash_name, "ecdsa")
        public.verify(signature, digest, ec.ECDSA(prehashed))
        return
    signature = shared_tpm.sign(KeyRef(pem), digest, hash_name, "rsassa")
    public.verify(signature, digest, padding.PKCS1v15(), prehashed)
    signature = shared_tpm.sign(KeyRef(pem), digest, hash_name, "rsapss")
    pss = padding.PSS(padding.MGF1(HASHES[hash_name]), padding.PSS.AUTO)
    public.verify(signature, digest, pss, prehashed)


@pytest.mark.parametrize(
    ("digest", "hash_name", "scheme"),
    [
        (b"short", "sha256", "ecdsa"),
        (b"x" * 32, "md5", "ecdsa"),
        (b"x" * 32, "sha256", "rsassa"),
        (b"x" * 32, "sha256", "other"),
    ],
)
def test_what_does_not_fit_together_is_refused(
    shared_tpm: Tpm, made: dict[Algorithm, bytes], digest: bytes, hash_name: str, scheme: str
) -> None:
    with pytest.raises(ConsoleError, match="Not signed"):
        shared_tpm.sign(KeyRef(made[Algorithm.EC_P256]), digest, hash_name, scheme)


@pytest.mark.parametrize("algorithm", Algorithm)
def test_requests_are_signed_by_the_key_in_the_tpm(
    shared_tpm: Tpm, made: dict[Algorithm, bytes], algorithm: Algorithm
) -> None:
    key = private_key(shared_tpm, KeyRef(made[algorithm]))
    request = REQUEST.sign(key, hashes.SHA256())
    assert request.is_signature_valid
    assert request.public_key() == key.public_key() == keyfile.parse(made[algorithm]).public_key()


def test_the_private_half_cannot_be_had(shared_tpm: Tpm, made: dict[Algorithm, bytes]) -> None:
    for algorithm in (Algorithm.EC_P256, Algorithm.RSA_2048):
        key = private_key(shared_tpm, KeyRef(made[algorithm]))
        assert key.key_size in (256, 2048)
        for call in (
            key.private_numbers,
            lambda key=key: key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        ):
            with pytest.raises(ConsoleError, match="Key stays in the TPM"):
                call()


def test_a_pss_salt_that_was_not_asked_for_is_an_error(
    shared_tpm: Tpm, made: dict[Algorithm, bytes]
) -> None:
    key = private_key(shared_tpm, KeyRef(made[Algorithm.RSA_2048]))
    for salt, good in ((padding.PSS.AUTO, True), (11, False)):
        pss = padding.PSS(padding.MGF1(hashes.SHA256()), salt)
        verify = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.AUTO)
        if good:
            key.public_key().verify(
                key.sign(b"x", pss, hashes.SHA256()), b"x", verify, hashes.SHA256()
            )
        else:
            with pytest.raises(ConsoleError, match="salt"):
                key.sign(b"x", pss, hashes.SHA256())


def test_a_prehashed_digest_is_signed_as_it_is(
    shared_tpm: Tpm, made: dict[Algorithm, bytes]
) -> None:
    key = private_key(shared_tpm, KeyRef(made[Algorithm.EC_P384]))
    digest = hashlib.sha384(b"data").digest()
    signature = key.sign(digest, ec.ECDSA(Prehashed(hashes.SHA384())))
    key.public_key().verify(signature, b"data", ec.ECDSA(hashes.SHA384()))


# With others' tools


@pytest.mark.parametrize("options", [[], ["-pkeyopt", "user-auth:abc"]])
def test_openssl_s_keys_work_here_and_ours_there(
    shared_tpm: Tpm, made: dict[Algorithm, bytes], tmp_path: Path, options: tuple[str, ...]
) -> None:
    connection = shared_tpm.connection
    environment = {
        "PATH": "/usr/bin:/bin",
        "TPM2OPENSSL_TCTI": connection.tcti,
        **connection.environment,
    }

    def openssl(*arguments: str) -> None:
        subprocess.run(
            ["/usr/bin/openssl", *arguments],
            env=environment,
            cwd=tmp_path,
            check=True,
            capture_output=True,
            stdin=subprocess.DEVNULL,
        )

    tpm2 = ["-provider", "tpm2", "-provider", "default", "-propquery", "?tpm2.signature=yes"]
    new = ["-algorithm", "EC", "-pkeyopt", "group:P-256", *options, "-out", "theirs.pem"]
    openssl("genpkey", *tpm2, *new)
    password = b"abc" if options else None
    theirs = (tmp_path / "theirs.pem").read_bytes()
    assert answer(shared_tpm, theirs, password) == "yes"
    if options:
        assert answer(shared_tpm, theirs) == "needs-password"
        return
    (tmp_path / "data").write_bytes(b"data")
    for algorithm in (Algorithm.EC_P256, Algorithm.RSA_2048):
        (tmp_path / "ours.pem").write_bytes(made[algorithm])
        (tmp_path / "public.pem").write_bytes(shared_tpm.public_pem(KeyRef(made[algorithm])))
        openssl("dgst", *tpm2, "-sha256", "-sign", "ours.pem", "-out", "signature", "data")
        openssl("dgst", "-sha256", "-verify", "public.pem", "-signature", "signature", "data")


@pytest.mark.skipif(not shutil.which("tpm2_encodeobject"), reason="tpm2-tools is not installed")
def test_the_tpm_decides_where_a_file_says_the_opposite(shared_tpm: Tpm, tmp_path: Path) -> None:
    """tpm2_encodeobject writes emptyAuth inverted."""
    tool = tools(shared_tpm, tmp_path)
    parent = "0x81000030"
    tool("tpm2_createprimary", "-C", "o", "-G", "ecc", "-c", "parent.ctx")
    tool("tpm2_evictcontrol", "-C", "o", "-c", "parent.ctx", parent)
    try:
        for name, password, flag in (("free", [], []), ("protected", ["-p", "pw"], ["-p"])):
            files = ["-u", "key.pub", "-r", "key.priv"]
            tool("tpm2_create", "-C", parent, "-G", "ecc", *files, *password)
            tool("tpm2_encodeobject", "-C", parent, *files, *flag, "-o", f"{name}.pem")
        free = (tmp_path / "free.pem").read_bytes()
        protected = (tmp_path / "protected.pem").read_bytes()
        assert keyfile.parse(protected).empty_auth
        assert answer(shared_tpm, free) == "needs-password"  # not tried: it would count
        assert answer(shared_tpm, free, b"") == "yes"
        assert answer(shared_tpm, protected, b"pw") == "yes"
        assert tries(shared_tpm) == 0
    finally:
        shared_tpm.evict(int(parent, 16))


@pytest.mark.skipif(not shutil.which("tpm2_encodeobject"), reason="tpm2-tools is not installed")
def test_a_key_below_another_primary_key_is_told_and_the_way_out_is_one(
    shared_tpm: Tpm, tmp_path: Path
) -> None:
    tool, parent = tools(shared_tpm, tmp_path), "0x81000031"
    tool("tpm2_createprimary", "-C", "o", "-G", "rsa", "-c", "parent.ctx")
    tool("tpm2_evictcontrol", "-C", "o", "-c", "parent.ctx", parent)
    try:
        files = ["-u", "key.pub", "-r", "key.priv"]
        tool("tpm2_create", "-C", parent, "-G", "ecc", *files, "-p", "pw")
        tool("tpm2_encodeobject", "-C", parent, *files, "-o", "key.pem")
        at_handle = keyfile.parse((tmp_path / "key.pem").read_bytes())
        by_owner = replace(at_handle, parent=0x40000001, empty_auth=True)
        found = shared_tpm.check_key(KeyRef(by_owner.to_pem()))
        assert found.answer == "not-this-tpm"
        assert "below a different primary key" in found.reason
        assert "tpm2_evictcontrol" in found.reason
        assert answer(shared_tpm, at_handle.to_pem(), b"pw") == "yes"
    finally:
        shared_tpm.evict(int(parent, 16))
