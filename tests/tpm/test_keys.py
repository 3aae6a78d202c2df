"""Keys made in the TPM, tried, kept there and signed with."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_public_key,
)
from tpm2_pytss import ESAPI, ESYS_TR, TPM2B_PUBLIC, TPM2B_SENSITIVE_CREATE, TPMA_OBJECT
from tpm2_pytss.tsskey import TSSPrivKey

from tpmconsole.errors import ConsoleError, ExitCode
from tpmconsole.tpm import keyfile
from tpmconsole.tpm.model import Algorithm, KeySource

HANDLE = 0x81000010
HASHES = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512()}
REQUEST = x509.CertificateSigningRequestBuilder().subject_name(
    x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "board")])
)


@pytest.fixture(scope="session")
def made(shared_tpm) -> dict[Algorithm, bytes]:
    """One key file of each kind, made by the shared simulator."""
    return {algorithm: shared_tpm.create(algorithm) for algorithm in Algorithm}


def answer(tpm, pem: bytes, password: bytes | None = None) -> str:
    return tpm.usable(KeySource(pem), password).answer


def tries(tpm) -> int:
    return tpm.health().lockout.failed_tries


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
def test_makes_keys_that_sign_and_nothing_more(made, algorithm, words):
    key = keyfile.parse(made[algorithm])
    assert (key.algorithm, key.parent, key.empty_auth) == (words, 0x40000001, True)
    assert key.has_noda  # there is no password to guess
    assert ("decrypts" in key.attributes) == words.startswith("RSA")
    assert "signs" in key.attributes
    assert "never leaves its TPM" in key.attributes


def test_a_password_is_protected_by_the_lock_out_unless_told_otherwise(shared_tpm):
    protected = keyfile.parse(shared_tpm.create(Algorithm.EC_P256, b"pw"))
    assert (protected.empty_auth, protected.has_noda) == (False, False)
    other = keyfile.parse(shared_tpm.create(Algorithm.EC_P256, b"pw", noda=True))
    assert (other.empty_auth, other.has_noda) == (False, True)


def test_the_longest_password_works_and_a_longer_one_is_refused_first(shared_tpm):
    pem = shared_tpm.create(Algorithm.EC_P256, b"p" * 64)
    assert answer(shared_tpm, pem, b"p" * 64) == "yes"
    for call in (
        lambda: shared_tpm.create(Algorithm.EC_P256, b"p" * 65),
        lambda: shared_tpm.usable(KeySource(pem), b"p" * 65),
        lambda: shared_tpm.evict(HANDLE, b"p" * 65),
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
def test_signatures_verify_in_software(shared_tpm, made, algorithm, hash_name):
    pem = made[algorithm]
    digest = hashlib.new(hash_name, b"data").digest()
    public = keyfile.parse(pem).public_key()
    prehashed = Prehashed(HASHES[hash_name])
    if algorithm is Algorithm.EC_P256:
        signature = shared_tpm.sign(KeySource(pem), digest, hash_name, "ecdsa")
        public.verify(signature, digest, ec.ECDSA(prehashed))
        return
    signature = shared_tpm.sign(KeySource(pem), digest, hash_name, "rsassa")
    public.verify(signature, digest, padding.PKCS1v15(), prehashed)
    signature = shared_tpm.sign(KeySource(pem), digest, hash_name, "rsapss")
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
def test_what_does_not_fit_together_is_refused(shared_tpm, made, digest, hash_name, scheme):
    with pytest.raises(ConsoleError, match="Not signed"):
        shared_tpm.sign(KeySource(made[Algorithm.EC_P256]), digest, hash_name, scheme)


@pytest.mark.parametrize("algorithm", Algorithm)
def test_requests_are_signed_by_the_key_in_the_tpm(shared_tpm, made, algorithm):
    key = shared_tpm.private_key(KeySource(made[algorithm]))
    request = REQUEST.sign(key, hashes.SHA256())
    assert request.is_signature_valid
    assert request.public_key() == key.public_key() == keyfile.parse(made[algorithm]).public_key()


def test_the_private_half_cannot_be_had(shared_tpm, made):
    for algorithm in (Algorithm.EC_P256, Algorithm.RSA_2048):
        key = shared_tpm.private_key(KeySource(made[algorithm]))
        assert key.key_size in (256, 2048)
        for call in (
            key.private_numbers,
            lambda key=key: key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        ):
            with pytest.raises(ConsoleError, match="Key stays in the TPM"):
                call()


def test_a_pss_salt_that_was_not_asked_for_is_an_error(shared_tpm, made):
    key = shared_tpm.private_key(KeySource(made[Algorithm.RSA_2048]))
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


def test_a_prehashed_digest_is_signed_as_it_is(shared_tpm, made):
    key = shared_tpm.private_key(KeySource(made[Algorithm.EC_P384]))
    digest = hashlib.sha384(b"data").digest()
    signature = key.sign(digest, ec.ECDSA(Prehashed(hashes.SHA384())))
    key.public_key().verify(signature, b"data", ec.ECDSA(hashes.SHA384()))


# Trying: each answer there is


@pytest.mark.parametrize("algorithm", Algorithm)
def test_our_own_keys_are_usable(shared_tpm, made, algorithm):
    assert shared_tpm.usable(KeySource(made[algorithm])).usable


def test_a_stolen_key_file_is_refused(shared_tpm, alone, client):
    pem = client(alone.ensure).create(Algorithm.EC_P256)
    found = shared_tpm.usable(KeySource(pem))
    assert found.answer == "not-this-tpm"
    assert "another TPM" in found.reason
    with pytest.raises(ConsoleError) as caught:
        shared_tpm.sign(KeySource(pem), b"d" * 32, "sha256", "ecdsa")
    assert (caught.value.title, caught.value.exit_code) == ("Key refused", ExitCode.REFUSED)


def test_a_tampered_key_file_is_refused(shared_tpm, made):
    key = keyfile.parse(made[Algorithm.EC_P256])
    flipped = bytes([key.private[-1] ^ 1])
    private = replace(key, private=key.private[:-1] + flipped)
    short = replace(key, private=key.private[:-4])
    # Another key's public half, a valid one.
    public = replace(key, public=keyfile.parse(shared_tpm.create(Algorithm.EC_P256)).public)
    for broken in (private, short, public):
        assert answer(shared_tpm, broken.to_pem()) == "not-this-tpm"


def test_a_missing_parent_is_told(shared_tpm, made):
    key = keyfile.parse(made[Algorithm.EC_P256])
    for parent in (0x81000077, 0x80000000):
        assert answer(shared_tpm, replace(key, parent=parent).to_pem()) == "parent-missing"


def test_passwords_wrong_missing_right_and_locked_out(alone, client):
    tpm = client(alone.ensure)
    free = tpm.create(Algorithm.EC_P256)
    uncounted = tpm.create(Algorithm.EC_P256, b"right", noda=True)
    counted = tpm.create(Algorithm.EC_P256, b"right")

    for pem in (uncounted, counted):
        assert answer(tpm, pem) == "needs-password"
        assert answer(tpm, pem, b"right") == "yes"
    assert answer(tpm, uncounted, b"wrong") == "wrong-password"
    assert tries(tpm) == 0
    # The empty password on purpose, then a wrong one; two of three tries.
    assert answer(tpm, counted, b"") == "needs-password"
    assert answer(tpm, counted, b"wrong") == "wrong-password"
    assert tries(tpm) == 2
    with pytest.raises(ConsoleError, match="Wrong password"):
        tpm.sign(KeySource(counted), b"d" * 32, "sha256", "ecdsa", b"wrong")
    assert answer(tpm, counted, b"right") == "locked-out"
    assert tpm.health().lockout.locked
    # Keys that are not subject to it go on, and others can be made.
    assert answer(tpm, free) == "yes"
    assert answer(tpm, uncounted, b"right") == "yes"
    assert tpm.create(Algorithm.EC_P256, b"right")
    assert tpm.health().transient.used == 0


def test_a_password_for_a_key_that_has_none_is_told(shared_tpm, made):
    found = shared_tpm.usable(KeySource(made[Algorithm.EC_P256]), b"superfluous")
    assert found.answer == "wrong-password"
    assert "says that it has none" in found.reason


def test_a_key_under_a_policy_is_told(shared_tpm, made):
    def policy_only(public) -> None:
        public.objectAttributes &= ~TPMA_OBJECT.USERWITHAUTH
        public.authPolicy = hashlib.sha256(b"").digest()

    assert answer(shared_tpm, _foreign_key(shared_tpm, policy_only)) == "policy"


def test_a_key_that_does_not_sign_is_told(shared_tpm):
    def decrypt_only(public) -> None:
        public.objectAttributes &= ~TPMA_OBJECT.SIGN_ENCRYPT
        public.objectAttributes |= TPMA_OBJECT.DECRYPT

    assert answer(shared_tpm, _foreign_key(shared_tpm, decrypt_only)) == "cannot-sign"


def test_a_scheme_of_the_key_s_own_is_used(shared_tpm):
    def only_sha384(public) -> None:
        public.parameters.eccDetail.scheme.scheme = 0x18
        public.parameters.eccDetail.scheme.details.anySig.hashAlg = 0x0C

    assert answer(shared_tpm, _foreign_key(shared_tpm, only_sha384)) == "yes"


def test_sealed_data_is_no_key(shared_tpm, made):
    key = keyfile.parse(made[Algorithm.EC_P256])
    sealed = bytes.fromhex("0008000b00000452000000100020") + bytes(32)
    pem = replace(key, kind=keyfile.KeyKind.SEALED, public=sealed).to_pem()
    assert answer(shared_tpm, pem) == "cannot-sign"


def test_a_tpm_without_room_is_told(alone, client):
    tpm = client(alone.ensure)
    pem = tpm.create(Algorithm.EC_P256)
    with ESAPI(alone.connection.tcti) as esapi:
        taken = [esapi.create_primary(None)[0] for _ in range(3)]
        assert answer(tpm, pem) == "no-room"
        for handle in taken:
            esapi.flush_context(handle)
    assert answer(tpm, pem) == "yes"


def test_a_damaged_file_is_an_error_of_the_file(shared_tpm, made):
    with pytest.raises(ConsoleError, match="Key file damaged"):
        shared_tpm.usable(KeySource(made[Algorithm.EC_P256].replace(b"MIH", b"MIX", 1)))


def _foreign_key(tpm, change) -> bytes:
    """A key file whose template was changed, made by tpm2-pytss on the shared simulator's TPM."""
    from tpm2_pytss.tsskey import _ecc_template

    template = TPM2B_PUBLIC.unmarshal(TPM2B_PUBLIC(publicArea=_ecc_template).marshal())[0]
    template.publicArea.parameters.eccDetail.curveID = 3
    change(template.publicArea)
    connection = tpm.connection
    with pytest.MonkeyPatch.context() as patch:
        for name, value in connection.environment.items():
            patch.setenv(name, value)
        with ESAPI(connection.tcti) as esapi:
            return TSSPrivKey.create(esapi, template.publicArea).to_pem()


# Persistent handles


def test_persists_lists_uses_and_evicts(shared_tpm, made):
    for algorithm, pem in made.items():
        shared_tpm.persist(pem, HANDLE)
        source = KeySource(handle=HANDLE)
        try:
            (listed,) = shared_tpm.persistent_keys()
            assert listed.handle == "0x81000010"
            assert listed.algorithm == keyfile.parse(pem).algorithm
            assert listed.purpose == (
                "signing and decryption key" if "rsa" in algorithm else "signing key"
            )
            assert (listed.auth, listed.counts_towards_lockout) == (None, False)
            public = load_pem_public_key(listed.public_pem.encode())
            assert public == keyfile.parse(pem).public_key()
            assert listed.name == keyfile.parse(pem).area.name.hex()
            assert shared_tpm.public_pem(source) == shared_tpm.public_pem(KeySource(pem))
            assert shared_tpm.usable(source).usable
            assert REQUEST.sign(shared_tpm.private_key(source), hashes.SHA256()).is_signature_valid
        finally:
            shared_tpm.evict(HANDLE)
    assert shared_tpm.persistent_keys() == ()


def test_a_handle_in_use_is_refused_and_unchanged(shared_tpm, made):
    shared_tpm.persist(made[Algorithm.EC_P256], HANDLE)
    try:
        before = shared_tpm.persistent_keys()
        with pytest.raises(ConsoleError, match="another key at 0x81000010") as caught:
            shared_tpm.persist(made[Algorithm.EC_P384], HANDLE)
        assert (caught.value.title, caught.value.exit_code) == ("Handle in use", ExitCode.REFUSED)
        assert shared_tpm.persistent_keys() == before
    finally:
        shared_tpm.evict(HANDLE)


@pytest.mark.parametrize(
    ("handle", "title"),
    [
        (0x80000001, "Not a persistent handle"),
        (0x01000000, "Not a persistent handle"),
        (0x40000001, "Not a persistent handle"),
        (0x1_81000010, "Not a persistent handle"),
        (-1, "Not a persistent handle"),
        (0x81800000, "Handle reserved"),
        (0x81FFFFFF, "Handle reserved"),
        (0x81000001, "Handle reserved"),
        (0x81010001, "Handle reserved"),
    ],
)
def test_handles_that_are_no_good_are_refused_before_the_tpm_is_asked(
    shared_tpm, made, handle, title
):
    with pytest.raises(ConsoleError) as caught:
        shared_tpm.persist(made[Algorithm.EC_P256], handle)
    assert (caught.value.title, caught.value.exit_code) == (title, ExitCode.USAGE)


def test_a_key_of_the_null_hierarchy_cannot_be_kept(shared_tpm, made):
    pem = replace(keyfile.parse(made[Algorithm.EC_P256]), parent=0x40000007).to_pem()
    with pytest.raises(ConsoleError, match="Key not for a handle"):
        shared_tpm.persist(pem, HANDLE)


def test_nothing_at_a_handle_is_told(shared_tpm):
    source = KeySource(handle=HANDLE)
    for call in (
        lambda: shared_tpm.evict(HANDLE),
        lambda: shared_tpm.public_pem(source),
        lambda: shared_tpm.usable(source),
        lambda: shared_tpm.sign(source, b"d" * 32, "sha256", "ecdsa"),
    ):
        with pytest.raises(ConsoleError, match="nothing at") as caught:
            call()
        assert (caught.value.title, caught.value.exit_code) == ("No such key", ExitCode.REFUSED)


def test_a_full_tpm_says_so(alone, client):
    tpm = client(alone.ensure)
    pem = tpm.create(Algorithm.EC_P256)
    with ESAPI(alone.connection.tcti) as esapi:
        key = TSSPrivKey.from_pem(pem).load(esapi)
        for number in range(tpm.health().persistent.available):
            esapi.evict_control(ESYS_TR.OWNER, key, 0x81000100 + number)
        esapi.flush_context(key)
    with pytest.raises(ConsoleError) as caught:
        tpm.persist(pem, HANDLE)
    assert caught.value.title == "No room in the TPM"
    assert len(tpm.persistent_keys()) == tpm.health().persistent.used


def test_what_a_handle_is_for(alone, client):
    tpm = client(alone.ensure)
    with ESAPI(alone.connection.tcti) as esapi:
        for kind, attributes, handle in (
            (
                "ecc",
                "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|decrypt|noda",
                0x81000001,
            ),
            (
                "rsa2048:aes128cfb",
                "fixedtpm|fixedparent|sensitivedataorigin|adminwithpolicy|restricted|decrypt",
                0x81010001,
            ),
            (
                "ecc:ecdsa-sha256:null",
                "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|sign",
                0x81000002,
            ),
        ):
            template = TPM2B_PUBLIC.parse(alg=kind, objectAttributes=attributes)
            if kind.startswith("rsa"):
                template.publicArea.authPolicy = b"p" * 32
            made = esapi.create_primary(TPM2B_SENSITIVE_CREATE(), template)[0]
            esapi.evict_control(ESYS_TR.OWNER, made, handle)
            esapi.flush_context(made)
    found = {key.handle: key for key in tpm.persistent_keys()}
    assert {handle: key.purpose for handle, key in found.items()} == {
        "0x81000001": "storage root key (SRK)",
        "0x81010001": "endorsement key (EK)",
        "0x81000002": "attestation key",
    }
    assert found["0x81010001"].auth == "policy"
    assert found["0x81010001"].counts_towards_lockout
    assert not found["0x81000001"].counts_towards_lockout
    for handle in (0x81000001, 0x81000002):
        assert tpm.usable(KeySource(handle=handle)).answer == "cannot-sign"


def test_an_owner_password_is_asked_for_and_never_guessed(alone, client):
    tpm = client(alone.ensure)
    pem = tpm.create(Algorithm.EC_P256)
    with ESAPI(alone.connection.tcti) as esapi:
        esapi.hierarchy_change_auth(ESYS_TR.OWNER, "owner")
    assert tpm.health().hierarchies["owner"].auth_set
    for password, title in ((None, "Password needed"), (b"wrong", "Wrong password")):
        for call in (
            lambda password: tpm.create(Algorithm.EC_P256, owner_password=password),
            lambda password: tpm.persist(pem, HANDLE, password),
        ):
            with pytest.raises(ConsoleError, match="owner hierarchy") as caught:
                call(password)
            assert (caught.value.title, caught.value.exit_code) == (title, ExitCode.REFUSED)
    assert tpm.usable(KeySource(pem)).answer == "needs-password"
    assert tpm.usable(KeySource(pem), owner_password=b"owner").usable
    tpm.persist(pem, HANDLE, b"owner")
    assert tpm.usable(KeySource(handle=HANDLE)).usable
    with pytest.raises(ConsoleError, match="owner hierarchy"):
        tpm.evict(HANDLE)
    tpm.evict(HANDLE, b"owner")
    # It was not kept from the call before.
    with pytest.raises(ConsoleError, match="owner hierarchy"):
        tpm.create(Algorithm.EC_P256)
    assert tpm.health().transient.used == 0


# Sparing tries, leaving nothing behind


def test_fifty_keys_under_a_protected_parent_never_lock_the_tpm(alone, client):
    tpm = client(alone.ensure)
    with ESAPI(alone.connection.tcti) as esapi:
        sensitive = TPM2B_SENSITIVE_CREATE()
        sensitive.sensitive.userAuth = b"parent"
        attributes = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|decrypt"
        template = TPM2B_PUBLIC.parse(alg="ecc", objectAttributes=attributes)
        parent = esapi.create_primary(sensitive, template)[0]
        kept = esapi.evict_control(ESYS_TR.OWNER, parent, 0x81000005)
        esapi.flush_context(parent)
        esapi.tr_set_auth(kept, b"parent")
    key = keyfile.parse(tpm.create(Algorithm.EC_P256))
    pem = replace(key, parent=0x81000005).to_pem()
    tpm.persistent_keys()
    assert tries(tpm) == 0
    for _ in range(50):
        assert answer(tpm, pem) == "needs-password"
    assert tries(tpm) == 1
    # Another worker knows nothing of it; it still leaves the last try alone.
    for expected in (2, 2):
        assert answer(client(alone.ensure), pem) == "needs-password"
        assert tries(tpm) == expected


def test_fifty_uses_leave_nothing_in_the_tpm(alone, client, shared_tpm):
    tpm = client(alone.ensure)
    good, protected = tpm.create(Algorithm.EC_P256), tpm.create(Algorithm.EC_P256, b"a", noda=True)
    stolen = shared_tpm.create(Algorithm.EC_P256)
    for _ in range(10):
        assert answer(tpm, good) == "yes"
        assert answer(tpm, protected, b"wrong") == "wrong-password"
        assert answer(tpm, stolen) == "not-this-tpm"
        tpm.persist(good, HANDLE)
        tpm.evict(HANDLE)
    health = tpm.health()
    assert (health.transient.used, health.persistent.used) == (0, 0)
    with ESAPI(alone.connection.tcti) as esapi:
        for first in (0x02000000, 0x03000000):  # sessions
            _, data = esapi.get_capability(1, first, 10)
            assert data.data.handles.count == 0


# With others' tools


@pytest.mark.parametrize("options", [[], ["-pkeyopt", "user-auth:abc"]])
def test_openssl_s_keys_work_here_and_ours_there(shared_tpm, made, tmp_path, options):
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
        (tmp_path / "public.pem").write_bytes(shared_tpm.public_pem(KeySource(made[algorithm])))
        openssl("dgst", *tpm2, "-sha256", "-sign", "ours.pem", "-out", "signature", "data")
        openssl("dgst", "-sha256", "-verify", "public.pem", "-signature", "signature", "data")


@pytest.mark.skipif(not shutil.which("tpm2_encodeobject"), reason="tpm2-tools is not installed")
def test_the_tpm_decides_where_a_file_says_the_opposite(shared_tpm, tmp_path):
    """tpm2_encodeobject writes emptyAuth inverted."""
    connection = shared_tpm.connection
    environment = {"PATH": "/usr/bin:/bin", "TPM2TOOLS_TCTI": connection.tcti}

    def tool(*command: str) -> None:
        subprocess.run(
            command,
            env=environment | dict(connection.environment),
            cwd=tmp_path,
            check=True,
            capture_output=True,
            stdin=subprocess.DEVNULL,
        )

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
