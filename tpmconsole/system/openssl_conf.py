"""Reads which providers an OpenSSL configuration file (config(5ossl)) activates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LONGEST = 256 * 1024
_INCLUDES = 8
_TRUE = frozenset({"1", "yes", "true", "on"})

Sections = dict[str, dict[str, str]]


@dataclass(frozen=True, slots=True)
class Configuration:
    """What a configuration does to every program that uses OpenSSL.

    Attributes:
        named: the names of the providers in it.
        active: those that it activates.
        query: ``default_properties``; empty if it is not set.
    """

    named: tuple[str, ...] = ()
    active: tuple[str, ...] = ()
    query: str = ""

    @property
    def tpm2(self) -> bool:
        """Whether the tpm2 provider is activated."""
        return "tpm2" in self.active

    @property
    def default(self) -> bool:
        """Whether OpenSSL's own provider is active, as it is by default if no other is."""
        return not self.active or "default" in self.active

    def __str__(self) -> str:
        active = ", ".join(self.active) or "none, so default"
        query = f"; default_properties = {self.query}" if self.query else ""
        return f"activates {active}{query}"


def read(path: Path) -> Configuration:
    """Read a configuration and what it includes.

    Raises:
        OSError: it cannot be read.
    """
    sections: Sections = {"": {}}
    _read_into(sections, path, _INCLUDES, "")
    top = sections.get(sections[""].get("openssl_conf", ""), {})
    providers = sections.get(top.get("providers", ""), {})
    named, active = [], []
    for label, section in providers.items():
        body = sections.get(section, {})
        name = body.get("identity", label)
        named.append(name)
        if body.get("activate", "").lower() in _TRUE:
            active.append(name)
    query = sections.get(top.get("alg_section", ""), {}).get("default_properties", "")
    return Configuration(tuple(named), tuple(active), query)


def _read_into(sections: Sections, path: Path, left: int, section: str) -> str:
    with path.open("rb") as file:
        text = file.read(LONGEST).decode("utf-8", "replace")
    for line in _lines(text):
        if line.startswith("["):
            section = line.strip("[]").strip()
            sections.setdefault(section, {})
        elif line.startswith(".include"):
            for one in _included(path, line.removeprefix(".include").lstrip(" =").strip('"')):
                if left:
                    section = _read_into(sections, one, left - 1, section)
        elif "=" in line:
            name, _, value = line.partition("=")
            sections.setdefault(section, {})[name.strip()] = value.strip().strip("\"'")
    return section


def _lines(text: str) -> Iterator[str]:
    for line in text.replace("\\\n", "").splitlines():
        bare = line.partition("#")[0].strip()
        if bare:
            yield bare


def _included(path: Path, name: str) -> list[Path]:
    """The files that an include names: a file, or all configuration files in a folder."""
    target = path.parent / name
    if target.is_dir():
        return sorted(one for one in target.iterdir() if one.suffix in (".cnf", ".conf"))
    return [target] if target.is_file() else []


def what_it_does(query: str) -> str:
    """What tpm2-openssl before 1.2 does to the TLS of other programs, by its property query."""
    if not query:
        return "TLS with a TPM key fails in all of them (EVP lib)"
    if "tpm2.signature" in query:
        return (
            "TLS with a TPM key works only through tpm2-abrmd, and peers whose CA has an "
            "RSA-4096 key are refused (certificate signature failure)"
        )
    return (
        "TLS 1.2 with a TPM key fails, a handshake takes about 150 ms, and peers whose CA "
        "has an RSA-4096 key are refused (certificate signature failure)"
    )
