"""Which engine signs for a session, and why."""

from __future__ import annotations

from dataclasses import dataclass

from tpmconsole.errors import Action, ConsoleError, ExitCode, NextStep
from tpmconsole.session.tls.provider import Module, configuration, find_module
from tpmconsole.tpm.auth import NO_AUTH, Auth
from tpmconsole.tpm.model import Connection, KeyRef

PROVIDER, BRIDGE = "provider", "bridge"


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """The engine of a session.

    Attributes:
        name: ``provider`` or ``bridge``.
        why: the reason for this one, as text.
        openssl_conf: the OpenSSL configuration the session's process needs; None for none.
        module_version: of tpm2-openssl, if it was looked up.
    """

    name: str
    why: str
    openssl_conf: str | None = None
    module_version: str | None = None


def choose(
    spec_engine: str, key: KeyRef, connection: Connection, auth: Auth = NO_AUTH
) -> EngineChoice:
    """Choose the engine.

    ``auto`` chooses the provider if it is 1.2 or newer and the key is a file; else the bridge; else
    the provider anyway: an older one works through tpm2-abrmd.

    Args:
        spec_engine: ``auto``, or the engine that is asked for.
        auth: if it has more than the key's password, the provider cannot be used: it would load the
            key with that password only, and a parent's wrong password counts towards the lock-out.

    Raises:
        ConsoleError: neither engine can use this key here, or the one asked for cannot.
    """
    if spec_engine == BRIDGE:
        reason = _why_no_bridge(key)
        if reason:
            raise _impossible(f"the bridge cannot be used: {reason}")
        return EngineChoice(BRIDGE, "--engine bridge")
    if spec_engine == PROVIDER:
        module, reason = _provider(key, connection, auth)
        if reason:
            raise _impossible(f"the provider cannot be used: {reason}")
        return _with_provider(module, "--engine provider")
    return _by_itself(key, connection, auth)


def _by_itself(key: KeyRef, connection: Connection, auth: Auth) -> EngineChoice:
    no_bridge = _why_no_bridge(key)
    if key.handle is not None and not no_bridge:
        return EngineChoice(BRIDGE, "the key is at a persistent handle, which it uses directly")
    module, no_provider = _provider(key, connection, auth)
    if module.good and not no_provider:
        kind = "the key is a file" if key.handle is None else f"the bridge cannot: {no_bridge}"
        return _with_provider(module, f"tpm2-openssl is 1.2 or newer and {kind}")
    if not no_bridge:
        if module.good:
            why = no_provider
        elif module.version:
            why = f"tpm2-openssl {module.version} is older than 1.2"
        else:
            why = f"no provider: {module.reason}"
        return EngineChoice(BRIDGE, why, module_version=module.version)
    if not no_provider:
        return _with_provider(module, f"the bridge cannot be used: {no_bridge}")
    raise _impossible(f"provider: {no_provider}; bridge: {no_bridge}")


def instead_of_provider(spec_engine: str, key: KeyRef) -> str | None:
    """Return why the bridge takes over if the provider fails; None if it cannot or must not."""
    if spec_engine != "auto" or _why_no_bridge(key):
        return None
    return "the provider failed its test"


def _with_provider(module: Module, why: str) -> EngineChoice:
    if not module.good:
        why += f"; tpm2-openssl {module.version} needs tpm2-abrmd, which is used"
    return EngineChoice(PROVIDER, why, configuration(module), module.version)


def _provider(key: KeyRef, connection: Connection, auth: Auth) -> tuple[Module, str]:
    """The module, and why it cannot be used; the reason is empty if it can."""
    module = find_module(connection)
    if module.version is None:
        return module, module.reason
    unread = _unread(key)
    if unread:
        return module, unread
    if auth.owner is not None or auth.parent is not None:
        return module, "the provider passes on only the key's password"
    if not module.good and not connection.tcti.startswith("tabrmd"):
        return module, (
            f"tpm2-openssl {module.version} is older than 1.2 and works for TLS only through "
            f"tpm2-abrmd, not through {connection.tcti.partition(':')[0]}"
        )
    return module, ""


def _unread(key: KeyRef) -> str:
    """What the provider does not read in a key file, so that it would load the key wrongly."""
    if key.pem is None:
        return ""
    from tpmconsole.tpm import keyfile

    found = keyfile.parse(key.pem)
    if found.mark:
        return (
            "the provider knows only a hierarchy's usual primary key, and the key is below another"
        )
    if found.extra_fields:
        return f"the provider does not read the key file's {', '.join(found.extra_fields)}"
    return ""


def _why_no_bridge(key: KeyRef) -> str:
    from tpmconsole.session.tls.bridge import sign_only, unavailable

    reason = unavailable()
    if reason:
        return reason
    return sign_only().cause if _is_sign_only_rsa(key) else ""


def _is_sign_only_rsa(key: KeyRef) -> bool:
    # A handle's attributes are in the TPM; the session's pre-flight reads them.
    if key.pem is None:
        return False
    from tpmconsole.tpm import keyfile
    from tpmconsole.tpm.keyfile import public_area

    area = public_area.decode(keyfile.parse(key.pem).public)
    return area.type == public_area.RSA and not area.attributes & public_area.DECRYPT


def _impossible(cause: str) -> ConsoleError:
    return ConsoleError(
        "No engine for this key",
        cause,
        NextStep(
            Action.USE_ENGINE,
            "bridge",
            "install tpm2-openssl 1.2 or newer, or use tpm2-abrmd, or an EC key with {}",
        ),
        ExitCode.NO,
    )
