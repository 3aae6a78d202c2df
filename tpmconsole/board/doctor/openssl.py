"""Probes of OpenSSL and its tpm2 module: what signs for us, and what affects other programs."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

from tpmconsole.board.doctor.examination import Examination, Surroundings
from tpmconsole.errors import ConsoleError
from tpmconsole.finding import Finding, fail, ok, skipped, warn
from tpmconsole.system import openssl_conf as conf
from tpmconsole.system.environment import plain_environment
from tpmconsole.system.processes import ask
from tpmconsole.tpm.simulator.programs import find_program

ASK_S = 2.0
_MODULE_FOLDERS = ("/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/local/lib64")
_INSTALL = "install tpm2-openssl 1.2 or newer"
# Their values may be passwords.
_SECRET_VARIABLES = ("TPM2OPENSSL_PARENT_AUTH",)


def library(examination: Examination) -> Finding:
    """Report the OpenSSL of Python's ``ssl``, which sessions use, and of the openssl command."""
    ours = ssl.OPENSSL_VERSION
    theirs = _program_version()
    evidence = [f"Python's ssl: {ours}", f"the openssl command: {theirs}"]
    evidence.append(f"its folder: {openssl_directory(examination.around)}")
    if ssl.OPENSSL_VERSION_INFO[0] < 3:
        return fail(
            f"{ours}: older than 3.0, so neither the bridge nor the provider can sign",
            "use a Python that is built with OpenSSL 3",
            *evidence,
        )
    return ok(ours, *evidence)


def _program_version() -> str:
    try:
        done = ask([find_program("openssl"), "version"], plain_environment(), ASK_S)
    except ConsoleError:
        return "not installed"
    except (OSError, subprocess.SubprocessError) as error:
        return f"does not answer ({error})"
    return done.stdout.decode("utf-8", "replace").strip() or "does not say its version"


def openssl_directory(around: Surroundings) -> Path:
    """OPENSSLDIR of the OpenSSL that Python's ``ssl`` has loaded."""
    if around.openssl_directory is not None:
        return around.openssl_directory
    # cert.pem is in it, and its path is compiled in just as the folder's is.
    return Path(ssl.get_default_verify_paths().openssl_cafile).parent


def module(examination: Examination) -> Finding:
    """Is the tpm2 module installed, and new enough?"""
    from tpmconsole.session.tls.bridge import unavailable
    from tpmconsole.session.tls.provider import find_module

    files = _module_files(examination.around)
    evidence = tuple(map(str, files)) or ("no tpm2.so in the usual folders",)
    if examination.health is None:
        return (
            skipped("tpm2-openssl says its version only if a TPM answers", evidence=evidence)
            if files
            else warn("tpm2-openssl is not installed", _INSTALL, *evidence)
        )
    assert examination.connection is not None  # noqa: S101 - a TPM has answered
    found = examination.module = find_module(examination.connection)
    if found.good:
        return ok(f"tpm2-openssl {found.version}", *evidence)
    instead = "nothing else can sign" if unavailable() else "the bridge signs instead"
    if found.version:
        text = f"tpm2-openssl {found.version}, older than 1.2; {instead}"
        evidence = ("it does TLS only through tpm2-abrmd, and in one thread", *evidence)
        return fail(text, _INSTALL, *evidence) if unavailable() else ok(text, *evidence)
    reason = found.reason
    if files:
        reason += ", though this board has the module: Python uses a different OpenSSL"
    say = fail if unavailable() else warn
    return say(f"no tpm2-openssl: {reason}; {instead}", _INSTALL, *evidence)


def _module_files(around: Surroundings) -> list[Path]:
    """Every tpm2 module of the OpenSSL libraries on this board."""
    named = around.environment.get("OPENSSL_MODULES")
    folders = [Path(named)] if named else []
    folders += [
        one
        for base in map(around.at, _MODULE_FOLDERS)
        for one in (*base.glob("ossl-modules"), *base.glob("*/ossl-modules"))
    ]
    return [path for folder in folders if (path := folder / "tpm2.so").exists()]


def engine(examination: Examination) -> Finding:
    """Which engine will sign with key files, and which with persistent handles?"""
    from tpmconsole.session.tls.bridge import unavailable

    found, no_bridge = examination.module, unavailable()
    bridge = f"no bridge: {no_bridge}" if no_bridge else "the bridge works"
    if found is not None and found.good:
        return ok(
            f"key files: provider (tpm2-openssl {found.version}); handles: "
            f"{'none' if no_bridge else 'bridge'}",
            bridge,
        )
    if not no_bridge:
        return ok("key files and handles: bridge", bridge)
    through_abrmd = examination.connection is not None and examination.connection.tcti.startswith(
        "tabrmd"
    )
    if found is not None and found.version and through_abrmd:
        return warn(
            f"key files: provider (tpm2-openssl {found.version}, through tpm2-abrmd); "
            "handles: none",
            _INSTALL,
            bridge,
        )
    return fail(f"no engine can sign: {bridge}", _INSTALL, bridge)


def configuration(examination: Examination) -> Finding:
    """Report what the board's openssl.cnf does to every other program."""
    around = examination.around
    named = around.environment.get("OPENSSL_CONF")
    path = Path(named) if named else openssl_directory(around) / "openssl.cnf"
    try:
        found = conf.read(path)
    except OSError as error:
        text = f"{path}: {error.strerror or error}"
        if named:
            return fail(
                f"OPENSSL_CONF names a file that cannot be read: {text}",
                "run: unset OPENSSL_CONF",
            )
        return ok(f"none ({text}): programs use OpenSSL's own settings")
    version = examination.module.version if examination.module else None
    installed = bool(_module_files(around))
    return _judge(path, found, version, installed=installed)


def _judge(
    path: Path, found: conf.Configuration, version: str | None, *, installed: bool
) -> Finding:
    evidence = (f"{path}: {found}",)
    if not found.tpm2:
        if not installed:
            return ok(f"{path} has no tpm2 provider, and none is installed", *evidence)
        return warn(
            "tpm2 is not active for openssl, curl and others",
            f"to let them use TPM keys, activate tpm2 and default in {path}",
            *evidence,
            "tpmconsole's sessions do not need that: each has its own configuration",
        )
    if not found.default:
        return fail(
            f"{path} activates tpm2 but not default: every program that uses OpenSSL has lost "
            "its ordinary algorithms",
            f"add activate = 1 to the section of the default provider in {path}",
            *evidence,
        )
    from tpmconsole.session.tls.provider import GOOD_SINCE, version_numbers

    if version is not None and version_numbers(version) < GOOD_SINCE:
        return warn(
            f"{path} activates tpm2-openssl {version} for every program: "
            f"{conf.what_it_does(found.query)}",
            f"{_INSTALL}, or take the tpm2 provider out of {path}",
            "each of them opens the TPM when it starts",
            "in more than one thread the module fails, until the program is restarted",
            *evidence,
        )
    if found.query:
        return warn(
            f"{path} has default_properties = {found.query}: the TPM also verifies peers' "
            "signatures, slowly, and handshakes fail (bad signature)",
            f"take default_properties out of {path}: since 1.2 the module does not need it",
            *evidence,
        )
    return ok(f"{path} lets every program use TPM keys", *evidence)


def environment(examination: Examination) -> Finding:
    """Are there variables that programs started from here would follow?"""
    variables = examination.around.environment
    stale = sorted(
        name
        for name, value in variables.items()
        if value and (name.startswith("TPM2OPENSSL_") or name == "OPENSSL_CONF")
    )
    evidence = [
        f"{name}={'(not shown)' if name in _SECRET_VARIABLES else variables[name]}"
        for name in stale
    ]
    evidence += _other_tpm(examination)
    if not stale:
        if evidence:
            return warn(evidence[0], "run: unset TPM2TOOLS_TCTI")
        return ok("no stale TPM or OpenSSL variables")
    text = f"{', '.join(stale)} set: other programs will use it, this one does not"
    if "TPM2OPENSSL_PARENT_AUTH" in stale:
        text += "; a stale parent password costs an attempt with each key loaded, until lock-out"
    return warn(text, f"run: unset {' '.join(stale)}", *evidence)


def _other_tpm(examination: Examination) -> list[str]:
    told = examination.around.environment.get("TPM2TOOLS_TCTI")
    used = examination.connection
    if not told or used is None or used.tcti == told:
        return []
    return [f"TPM2TOOLS_TCTI={told}, but the TPM in use is {used.tcti}"]
