"""Private keys that were made elsewhere: read, wrapped for the TPM, and used there."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    load_der_private_key,
    load_pem_private_key,
    load_pem_public_key,
)
from support.key_answers import answer, tries
from support.swtpm import SwtpmAlone
from tpm2_pytss import ESAPI, ESYS_TR

from tpmconsole.errors import ConsoleError, ExitCode
from tpmconsole.tpm import keyfile
from tpmconsole.tpm.auth import Auth
from tpmconsole.tpm.client import Tpm
from tpmconsole.tpm.keyfile.pem import public_key_pem
from tpmconsole.tpm.keyfile.software import read_software_key
from tpmconsole.tpm.model import Algorithm, KeyRef

EC, RSA = ("genpkey", "-algorithm", "EC"), ("genpkey", "-algorithm", "RSA")
MADE = {
    Algorithm.EC_P256: (*EC, "-pkeyopt", "group:P-256"),
    Algorithm.EC_P384: (*EC, "-pkeyopt", "group:P-384"),
    Algorithm.RSA_2048: (*RSA, "-pkeyopt", "bits:2048"),
    Algorithm.RSA_3072: (*RSA, "-pkeyopt", "bits:3072"),
}


def openssl(*arguments: str, data: bytes | None = None) -> bytes:
    done = subprocess.run(
        ["/usr/bin/openssl", *arguments], input=data, capture_output=True, check=True
    )
    return done.stdout


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[Algorithm, Path]:
    """A private key of OpenSSL's of each kind, PKCS#8."""
    folder = tmp_path_factory.mktemp("source")
    for algorithm, command in MADE.items():
        openssl(*command, "-out", str(folder / algorithm))
    return {algorithm: folder / algorithm for algorithm in MADE}


@pytest.mark.parametrize("algorithm", Algorithm)
def test_a_public_key_is_written_as_openssl_writes_it(
    sources: dict[Algorithm, Path], algorithm: Algorithm
) -> None:
    private = load_pem_private_key(sources[algorithm].read_bytes(), None)
    expected = openssl("pkey", "-in", str(sources[algorithm]), "-pubout")
    assert public_key_pem(private.public_key()) == expected


@pytest.mark.parametrize("algorithm", Algorithm)
def test_the_tpm_signs_with_a_key_of_openssl_s(
    shared_tpm: Tpm, sources: dict[Algorithm, Path], algorithm: Algorithm
) -> None:
    found = read_software_key(sources[algorithm])
    assert found.algorithm is algorithm
    pem = shared_tpm.import_key(found.pkcs8, algorithm)
    assert answer(shared_tpm, pem) == "yes"
    public = openssl("pkey", "-in", str(sources[algorithm]), "-pubout")
    assert shared_tpm.public_pem(KeyRef(pem)) == public
    key = keyfile.parse(pem)
    assert key.area.origin == "imported"
    assert "never leaves its TPM" not in key.attributes


def test_a_key_made_in_the_tpm_is_no_imported_one(made: dict[Algorithm, bytes]) -> None:
    for pem in made.values():
        assert keyfile.parse(pem).area.origin == "tpm"


def test_its_password_counts_unless_told_otherwise(
    alone: SwtpmAlone, client: Callable[..., Tpm], sources: dict[Algorithm, Path]
) -> None:
    tpm = client(alone.ensure)
    key = read_software_key(sources[Algorithm.EC_P256])
    counted = tpm.import_key(key.pkcs8, key.algorithm, Auth(b"secret"))
    assert tpm.worker_pid is None
    assert answer(tpm, counted) == "needs-password"
    assert answer(tpm, counted, b"secret") == "yes"
    assert answer(tpm, counted, b"wrong") == "wrong-password"
    assert tries(tpm) == 1
    free = tpm.import_key(key.pkcs8, key.algorithm, Auth(b"secret"), noda=True)
    assert answer(tpm, free, b"wrong") == "wrong-password"
    assert answer(tpm, free, b"secret") == "yes"
    assert tries(tpm) == 1
    assert tpm.health().transient.used == 0


def test_the_owner_s_password_is_needed_to_import(
    alone: SwtpmAlone, client: Callable[..., Tpm], sources: dict[Algorithm, Path]
) -> None:
    tpm = client(alone.ensure)
    key = read_software_key(sources[Algorithm.EC_P256])
    with ESAPI(alone.connection.tcti) as esapi:
        esapi.hierarchy_change_auth(ESYS_TR.OWNER, "owner")
    with pytest.raises(ConsoleError, match="owner hierarchy") as caught:
        tpm.import_key(key.pkcs8, key.algorithm)
    assert caught.value.needs == "hierarchy"
    assert tpm.import_key(key.pkcs8, key.algorithm, Auth(owner=b"owner"))


@pytest.mark.parametrize(
    "options",
    [
        ("pkey", "-outform", "DER"),
        ("ec",),
        ("ec", "-outform", "DER"),
        ("pkcs8", "-topk8", "-v2", "aes256", "-passout", "pass:swordfish"),
        ("pkcs8", "-topk8", "-v2", "aes256", "-passout", "pass:swordfish", "-outform", "DER"),
        ("ec", "-aes256", "-passout", "pass:swordfish"),
        ("ec", "-param_enc", "named_curve"),
    ],
    ids=" ".join,
)
def test_every_way_to_write_a_key_is_read(
    sources: dict[Algorithm, Path], tmp_path: Path, options: tuple[str, ...]
) -> None:
    source = sources[Algorithm.EC_P256]
    path = tmp_path / "key"
    command, *rest = options
    openssl(command, "-in", str(source), "-out", str(path), *rest)
    encrypted = "pass:swordfish" in options
    if encrypted:
        for passphrase, title in ((None, "Passphrase needed"), (b"wrong", "Wrong passphrase")):
            with pytest.raises(ConsoleError) as caught:
                read_software_key(path, passphrase)
            assert (caught.value.title, caught.value.needs) == (title, "source")
    found = read_software_key(path, b"swordfish" if encrypted else None)
    assert found.pkcs8 == read_software_key(source).pkcs8
    assert found.path == path


@pytest.mark.parametrize("old", [False, True], ids=["today's", "OpenSSL 1's"])
@pytest.mark.parametrize("passphrase", [b"", b"swordfish"])
def test_the_key_in_pkcs12_is_read(
    sources: dict[Algorithm, Path], tmp_path: Path, passphrase: bytes, old: bool
) -> None:
    source, path = sources[Algorithm.EC_P256], tmp_path / "device.p12"
    request = ("req", "-x509", "-key", str(source), "-subj", "/CN=x", "-out", str(tmp_path / "crt"))
    openssl(*request)
    form = ("-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-3DES", "-macalg", "sha1")
    made = ("pkcs12", "-export", "-inkey", str(source), "-in", str(tmp_path / "crt"))
    to = ("-out", str(path), "-passout", f"pass:{passphrase.decode()}")
    openssl(*made, *to, *(form if old else ()))
    expected = read_software_key(source).pkcs8
    if passphrase:
        for wrong, title in ((None, "Passphrase needed"), (b"wrong", "Wrong passphrase")):
            with pytest.raises(ConsoleError) as caught:
                read_software_key(path, wrong)
            assert (caught.value.title, caught.value.needs) == (title, "source")
        assert read_software_key(path, passphrase).pkcs8 == expected
    else:
        assert read_software_key(path).pkcs8 == expected


def test_pkcs12_without_a_key_and_a_damaged_one_are_told(
    sources: dict[Algorithm, Path], tmp_path: Path
) -> None:
    source, path = sources[Algorithm.EC_P256], tmp_path / "trust.p12"
    request = ("req", "-x509", "-key", str(source), "-subj", "/CN=x", "-out", str(tmp_path / "crt"))
    openssl(*request)
    made = ("pkcs12", "-export", "-nokeys", "-in", str(tmp_path / "crt"), "-passout", "pass:")
    openssl(*made, "-out", str(path))
    with pytest.raises(ConsoleError, match="without a private key"):
        read_software_key(path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ConsoleError, match="does not decrypt"):
        read_software_key(path, b"x")


def test_a_key_that_openssl_cannot_set_up_is_damaged(tmp_path: Path) -> None:
    """Ed25519's 32 bytes as an X448 key: cryptography's InternalError named its issue tracker."""
    path = tmp_path / "key"
    path.write_bytes(openssl("genpkey", "-algorithm", "ED25519").replace(b"K2VwBC", b"K2VvBC"))
    with pytest.raises(ConsoleError, match="does not decode") as caught:
        read_software_key(path)
    assert caught.value.exit_code is ExitCode.NO


@pytest.mark.parametrize(
    "around",
    ["utf-16", "utf-16 without its mark", "crlf", "bom", "text", "params", "needless passphrase"],
)
def test_what_is_around_a_key_does_not_matter(
    sources: dict[Algorithm, Path], tmp_path: Path, around: str
) -> None:
    pem = sources[Algorithm.EC_P256].read_bytes()
    path = tmp_path / "key"
    path.write_bytes(
        {
            "utf-16": pem.decode().encode("utf-16"),
            "utf-16 without its mark": pem.decode().encode("utf-16-be"),
            "crlf": pem.replace(b"\n", b"\r\n"),
            "bom": b"\xef\xbb\xbf" + pem,
            "text": b"Bag Attributes\n    friendlyName: pump\n" + pem + b"\nbye\n",
            "params": openssl("ecparam", "-name", "prime256v1") + pem,
            "needless passphrase": pem,
        }[around]
    )
    found = read_software_key(path, b"x" if around == "needless passphrase" else None)
    assert load_der_private_key(found.pkcs8, None).public_key() == load_pem_public_key(
        openssl("pkey", "-pubout", data=pem)
    )


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ((*EC, "-pkeyopt", "group:P-521"), "secp521r1"),
        ((*EC, "-pkeyopt", "group:P-224"), "secp224r1"),
        ((*RSA, "-pkeyopt", "bits:1024"), "1024 bits"),
        ((*RSA, "-pkeyopt", "bits:2048", "-pkeyopt", "rsa_keygen_pubexp:3"), "exponent 3"),
        (("genpkey", "-algorithm", "ED25519"), "Ed25519"),
    ],
)
def test_a_key_that_is_not_for_a_tpm_is_told(
    tmp_path: Path, command: tuple[str, ...], words: str
) -> None:
    openssl(*command, "-out", str(tmp_path / "key"))
    with pytest.raises(ConsoleError, match=words) as caught:
        read_software_key(tmp_path / "key")
    assert caught.value.exit_code is ExitCode.USAGE


def test_what_is_no_private_key_says_what_it_is(
    sources: dict[Algorithm, Path], tmp_path: Path, made: dict[Algorithm, bytes]
) -> None:
    source = sources[Algorithm.EC_P256]
    request = ("req", "-x509", "-key", str(source), "-subj", "/CN=x")
    path = tmp_path / "file"
    for content, words in (
        (made[Algorithm.EC_P256], "sealed to a TPM already"),
        (openssl(*request), "a certificate"),
        (openssl("pkey", "-in", str(source), "-pubout"), "a public key"),
        (b"", "empty"),
        (b"hello", "text"),
        (source.read_bytes()[:90], "without its last line"),
        (source.read_bytes().replace(b"M", b"?", 3), "does not decode"),
    ):
        path.write_bytes(content)
        with pytest.raises(ConsoleError, match=words):
            read_software_key(path)
    with pytest.raises(ConsoleError, match="not a regular file"):
        read_software_key(Path("/dev/zero"))


def test_nothing_of_a_key_is_shown(sources: dict[Algorithm, Path]) -> None:
    found = read_software_key(sources[Algorithm.EC_P256])
    assert "pkcs8" not in repr(found)
