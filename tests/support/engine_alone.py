"""An engine without a session, for programs of tests and benchmarks."""

from __future__ import annotations

import os
import ssl
from contextlib import ExitStack
from pathlib import Path

from tpmconsole.session.tls.bridge import Bridge
from tpmconsole.session.tls.context import BridgeEngine, Engine, ProviderEngine, make_context
from tpmconsole.session.tls.engine import choose
from tpmconsole.session.tls.provider import child_environment
from tpmconsole.tpm.model import Connection, KeyRef
from tpmconsole.tpm.signer import Signer


def environment_for(
    engine: str, source: KeyRef, connection: Connection, folder: Path
) -> dict[str, str]:
    """The environment that a program needs for an engine; writes OpenSSL's configuration if any."""
    environment = child_environment(connection) | {"TSS2_LOG": "all+none"}
    chosen = choose(engine, source, connection)
    if chosen.openssl_conf:
        configuration = folder / "openssl.cnf"
        configuration.write_text(chosen.openssl_conf)
        environment["OPENSSL_CONF"] = str(configuration)
        environment["TPM2OPENSSL_TCTI"] = connection.tcti
    return environment


def key_source(key: str) -> KeyRef:
    """Make one from a key file's path or a handle."""
    if key.startswith("0x"):
        return KeyRef(handle=int(key, 16))
    return KeyRef(pem=Path(key).read_bytes())


def open_signer(stack: ExitStack, key: str, tcti: str) -> Signer:
    """The key, in the TPM of this program's environment."""
    connection = Connection(tcti, "given", environment=dict(os.environ))
    log = Path(os.devnull)
    return stack.enter_context(Signer(lambda: connection, key_source(key), log=log))


def context_with(
    stack: ExitStack,
    engine: str,
    key: str,
    files: tuple[Path, Path],
    tcti: str,
    version: str | None = None,
) -> ssl.SSLContext:
    """A client's context.

    Args:
        key: a key file's path, or a handle.
        files: the certificate chain, and the trust anchors.
        version: the only TLS version; None for 1.2 and 1.3.
    """
    chain, trust = files
    chosen: Engine
    if engine == "provider":
        source = key_source(key)
        place = Path(key) if source.handle is None else source.handle
        chosen = ProviderEngine(place, chain, None, lambda: None)
    else:
        signer = open_signer(stack, key, tcti)
        chosen = BridgeEngine(Bridge(signer.public_key(), signer.sign, signer.raw_rsa), chain)
    return make_context(
        server=False, engine=chosen, trust=trust, crl=None, min_tls=version, max_tls=version
    )
