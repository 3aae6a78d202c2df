"""OpenSSL's tpm2 provider (tpm2-openssl): is it installed, which version, how to enable it."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tpmconsole.inputs import parse_json
from tpmconsole.system.environment import BUSES, plain_environment
from tpmconsole.system.processes import ask
from tpmconsole.tpm.model import Connection

DEADLINE_S = 5.0
# Since this version the provider does not export keys without their private half, so OpenSSL signs
# with the key's own provider and verifies in software. Older ones need a property query.
GOOD_SINCE = (1, 2)
QUERY_BEFORE = "?tpm2.signature=yes"

_PROBE = Path(__file__).with_name("provider_probe.py")


@dataclass(frozen=True, slots=True)
class Module:
    """The provider's module.

    Attributes:
        version: as it reports it, such as ``1.3.0``; None if it cannot be used.
        reason: why it cannot be used.
    """

    version: str | None = None
    reason: str = ""

    @property
    def good(self) -> bool:
        """Whether it serves TLS without a property query and without a resource manager."""
        return version_numbers(self.version or "") >= GOOD_SINCE


def version_numbers(version: str) -> tuple[int, ...]:
    """Return the numbers of a version: (1, 3, 1) for ``1.3.1-rc1``."""
    numbers = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(part) for part in numbers.group().split(".")) if numbers else ()


def find_module(connection: Connection) -> Module:
    """Load the provider in a process of its own, with the TPM that a session would use."""
    environment = child_environment(connection)
    environment["TPM2OPENSSL_TCTI"] = connection.tcti
    environment["TSS2_LOG"] = "all+error"
    try:
        answer = ask([sys.executable, "-I", "-S", str(_PROBE)], environment, DEADLINE_S)
        facts = parse_json(answer.stdout or b"{}")
    except subprocess.TimeoutExpired:
        return Module(reason="the TPM does not answer it")
    except (OSError, ValueError) as error:
        return Module(reason=f"it could not be run: {error}")
    if "version" in facts:
        return Module(version=str(facts["version"]))
    return Module(reason=_why_not(str(facts.get("error", "")), answer.stderr))


def _why_not(error: str, chatter: bytes) -> str:
    if "could not load" in error or "no such file" in error.lower():
        return "tpm2-openssl is not installed for this Python's OpenSSL"
    lines = [line for line in chatter.decode("utf-8", "replace").splitlines() if line.strip()]
    # The last line of the TSS says more than OpenSSL does.
    return f"it does not start: {error or 'no reason given'}" + (
        f" ({lines[-1].strip()[:160]})" if lines else ""
    )


def child_environment(
    connection: Connection, inherited: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return a child's environment: a few of our variables, and those of the TPM connection."""
    plain = plain_environment("OPENSSL_MODULES", *BUSES, inherited=inherited)
    return plain | dict(connection.environment)


def configuration(module: Module) -> str:
    """Return the OpenSSL configuration (config(5ossl)) that lets Python's ``ssl`` use TPM keys."""
    lines = [
        # Section names that only we use: "default" would mean something else.
        "openssl_conf = tpmconsole",
        "[tpmconsole]",
        "providers = tpmconsole_providers",
    ]
    if not module.good:
        lines.append("alg_section = tpmconsole_algorithms")
    lines += [
        "[tpmconsole_providers]",
        "default = tpmconsole_default",
        "tpm2 = tpmconsole_tpm2",
        "[tpmconsole_default]",
        "activate = 1",
        "[tpmconsole_tpm2]",
        "activate = 1",
    ]
    if not module.good:
        lines += ["[tpmconsole_algorithms]", f"default_properties = {QUERY_BEFORE}"]
    return "\n".join(lines) + "\n"
