"""The number of TPM commands for a handshake."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from support.pki import Ca, SoftwareIdentity, memory_handshake
from support.tpm_capture import captured, commands
from support.world import TpmKeys

from tpmconsole.session.tls.bridge import Bridge
from tpmconsole.session.tls.context import BridgeEngine, make_context
from tpmconsole.tpm.signer import Signer


@pytest.mark.parametrize(
    ("key", "command"), [("ec-p256", "Sign"), ("rsa-2048", "RSA_Decrypt"), ("handle", "Sign")]
)
def test_the_bridge_sends_one_command_for_a_handshake(
    tmp_path: Path, tpm_keys: TpmKeys, key: str, command: str
) -> None:
    ca, file, chain = Ca.make("root"), tmp_path / "tpm.pcap", tmp_path / "chain.pem"
    chain.write_bytes(ca.issue(tpm_keys.public[key], key))
    peer = SoftwareIdentity.make(tmp_path / "peer", ca, "peer")
    connection = captured(tpm_keys.connection, file)
    with Signer(lambda: connection, tpm_keys.sources[key], log=tmp_path / "log") as signer:
        bridge = Bridge(signer.public_key(), signer.sign, signer.raw_rsa)
        before = commands(file)
        assert "Load" in before or key == "handle"
        for version in (None, "1.2"):
            ours = make_context(
                server=False,
                engine=BridgeEngine(bridge, chain),
                trust=peer.trust,
                crl=None,
                min_tls=None,
                max_tls=version,
            )
            theirs = peer.context(server=True)
            client, _ = memory_handshake(ours, theirs)
            assert client.version() == f"TLSv{version or '1.3'}"
        assert theirs.verify_mode is ssl.CERT_REQUIRED
        assert commands(file)[len(before) :] == [command] * 2
    # It removes what it loaded.
    after = commands(file)
    assert after.count("FlushContext") == sum(map(after.count, ("CreatePrimary", "Load")))
