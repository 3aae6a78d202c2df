"""The names of its certificate that identify a server: never the common name (RFC 9525)."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from support.pki import make_key
from support.setting import Setting
from support.world import SoftwareServer

from tpmconsole.errors import ConsoleError
from tpmconsole.session.process.client import Client
from tpmconsole.x509.checks import check_san

URI = x509.UniformResourceIdentifier("urn:x:1")
EMAIL = x509.RFC822Name("x@localhost")
OTHER_IP = x509.IPAddress(ipaddress.ip_address("192.0.2.1"))


def _issue(setting: Setting, names: list[x509.GeneralName]) -> x509.Certificate:
    """Give the peer's key a certificate whose common name is localhost."""
    now = datetime.now(UTC)
    key = make_key("ec-p256", "peer")
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")]))
        .issuer_name(setting.ca.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=9))
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), False)
    made = builder.sign(setting.ca.key, hashes.SHA256())
    setting.peer.certificate.write_bytes(made.public_bytes(Encoding.PEM))
    return made


@pytest.mark.parametrize(
    "names",
    [[], [URI], [EMAIL], [OTHER_IP], [URI, OTHER_IP]],
    ids=["none", "uri", "mail", "ip", "uri-ip"],
)
@pytest.mark.attacks("a server's name only in its CN", "refused (RFC 9525)")
async def test_the_common_name_of_a_server_counts_for_nothing(
    setting: Setting, names: list[x509.GeneralName]
) -> None:
    certificate = _issue(setting, names)
    with SoftwareServer(setting.peer.context(server=True)) as server:
        running = setting.running("client", server.port, host="localhost", count=1)
        with pytest.raises(ConsoleError, match="common name does not count") as caught:
            await Client(running).run()
    assert caught.value.title == "Wrong name"
    if OTHER_IP not in names:
        assert check_san(certificate).state == "warn"
