"""Settings: options take precedence over the environment, tpmconsole.toml and the defaults."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tpmconsole.errors import Action, ConsoleError, NextStep, usage_error
from tpmconsole.inputs import home_folder, parse_toml, user_path
from tpmconsole.options import TABLES, check_names
from tpmconsole.system.owners import check_for_root

LINES = ("auto", "serial", "fast")
# The variables that choose a TPM; the first one that is set counts.
TCTI_VARIABLES = ("TPMCONSOLE_TCTI", "TPM2TOOLS_TCTI")
FILE_NAME = "tpmconsole.toml"
WARN_DAYS = 30
SYSTEM_FILE = Path("/etc") / FILE_NAME
# They start a program or write a file that a variable names: root does neither without an option.
_STRONG_TCTIS = ("cmd", "pcap")


@dataclass(frozen=True, slots=True)
class Settings:
    """One run's settings.

    Attributes:
        state: the state directory; everything that we keep is below it.
        tcti: the TCTI that was asked for, or None to look for one.
        tcti_source: where it came from: ``--tcti``, the name of an environment variable, or
            ``tpmconsole.toml``.
        simulate: use the simulated TPM.
        line: ``auto``, ``serial`` or ``fast``.
        mouse: allow the mouse; never on a serial line.
        kiosk: a console for visitors, who cannot destroy anything, access files or leave. Its
            state is discarded, so it has its own folder.
        warn_days: how many days before it expires a certificate gets a warning.
        options: the tables of tpmconsole.toml, for the parts that have their own settings.
        log_file: the log, if it is not in the state directory.
        sources: where each setting that is not a default came from: an option, an environment
            variable or a file.
    """

    state: Path
    tcti: str | None = None
    tcti_source: str = ""
    simulate: bool = False
    line: str = "auto"
    mouse: bool = False
    kiosk: bool = False
    warn_days: int = WARN_DAYS
    options: Mapping[str, Any] = field(default_factory=dict)
    log_file: Path | None = None
    sources: Mapping[str, str] = field(default_factory=dict)

    @property
    def identities(self) -> Path:
        return self.state / "identities"

    @property
    def sessions(self) -> Path:
        return self.state / "sessions"

    @property
    def simulator(self) -> Path:
        return self.state / "simulator"

    @property
    def audit(self) -> Path:
        return self.state / "audit.jsonl"

    @property
    def log(self) -> Path:
        return self.log_file or self.state / "log" / "tpmconsole.log"

    def option(self, table: str, name: str) -> Any:
        """A setting in a table of tpmconsole.toml; None if it is not set."""
        found = self.options.get(table)
        return found.get(name) if isinstance(found, Mapping) else None

    def below(self, name: str) -> Settings:
        """The same settings with a state directory below this one, and the same log."""
        return replace(self, state=self.state / name, log_file=self.log)


def load_settings(
    *,
    state: str | None = None,
    tcti: str | None = None,
    simulate: bool = False,
    line: str | None = None,
    mouse: bool = False,
    kiosk: bool = False,
    environment: Mapping[str, str] | None = None,
) -> Settings:
    """Collect the settings of one run.

    Raises:
        ConsoleError: tpmconsole.toml cannot be read or has a value that is not valid, or we are
            root and another user could have made or changed what the settings name.
    """
    env = os.environ if environment is None else environment
    folder = _state_directory(state, env)
    check_for_root(folder, "the state directory")
    options, file = _read_options(folder, env)
    asked, source = _asked_tcti(tcti, env, options)
    if os.geteuid() == 0 and asked is not None and source != "--tcti" and file != SYSTEM_FILE:
        _check_no_program(asked, source)
    chosen_line = line or str(options.get("line", "auto"))
    if chosen_line not in LINES:
        raise usage_error(
            "Unknown line", f"there is no line '{chosen_line}'", f"use one of {', '.join(LINES)}"
        )
    flags = {"simulate": simulate, "line": line, "mouse": mouse, "kiosk": kiosk}
    made = Settings(
        state=folder,
        tcti=asked,
        tcti_source=source,
        # A TCTI on the command line or in the environment takes precedence over "simulate".
        simulate=simulate
        or (options.get("simulate") is True and source in ("", FILE_NAME))
        or (kiosk and asked is None),
        line=chosen_line,
        mouse=mouse,
        kiosk=kiosk,
        warn_days=_warn_days(options),
        options=options,
        sources=_sources(state, env, options, file)
        | ({"tcti": str(file) if source == FILE_NAME else source} if source else {})
        | {name: f"--{name}" for name, given in flags.items() if given},
    )
    return made.below("kiosk") if kiosk else made


def _sources(
    state: str | None, env: Mapping[str, str], options: Mapping[str, Any], file: Path | None
) -> dict[str, str]:
    """The source of each setting, apart from the options and variables for the TPM."""
    found: dict[str, str] = {}
    for name, value in options.items():
        inside = value if name in TABLES and isinstance(value, Mapping) else {}
        found |= {f"{name}.{one}": str(file) for one in inside} or {name: str(file)}
    found.pop("tcti", None)
    if state or env.get("TPMCONSOLE_STATE"):
        found["state"] = "--state" if state else "TPMCONSOLE_STATE"
    elif env.get("XDG_STATE_HOME", "").startswith("/") and os.geteuid() != 0:
        found["state"] = "XDG_STATE_HOME"
    return found


def _state_directory(flag: str | None, env: Mapping[str, str]) -> Path:
    chosen = flag or env.get("TPMCONSOLE_STATE")
    if chosen:
        return user_path(chosen).absolute()
    if os.geteuid() == 0:
        return Path("/var/lib/tpmconsole")
    base = env.get("XDG_STATE_HOME", "")
    if base.startswith("/"):  # a relative path must be ignored (XDG Base Directory, 0.8)
        return Path(base) / "tpmconsole"
    try:
        return home_folder(env) / ".local" / "state" / "tpmconsole"
    except RuntimeError as error:
        raise usage_error(
            "No state directory",
            "this user has no home directory to keep it in",
            NextStep(Action.GIVE_STATE, text="name one: {}"),
        ) from error


def _asked_tcti(
    flag: str | None, env: Mapping[str, str], options: Mapping[str, Any]
) -> tuple[str | None, str]:
    if flag:
        return flag, "--tcti"
    for name in TCTI_VARIABLES:
        if env.get(name):
            return env[name], name
    if options.get("tcti"):
        return str(options["tcti"]), FILE_NAME
    return None, ""


def _check_no_program(tcti: str, source: str) -> None:
    """Refuse a TCTI that would make root start a program, write a file or load a library.

    Raises:
        ConsoleError: the TCTI is of that kind.
    """
    name, _, _ = tcti.strip().partition(":")
    if name in _STRONG_TCTIS or "/" in name or ".so" in name:
        raise usage_error(
            "TCTI not for root",
            f"'{tcti}' from {source} would run, as root, what another user may have chosen",
            NextStep(Action.GIVE_TCTI, text=f"write it into {SYSTEM_FILE}, or give it with {{}}"),
        )


def _warn_days(options: Mapping[str, Any]) -> int:
    value = options.get("warn_days", WARN_DAYS)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 3650:
        raise usage_error(
            "Settings not usable",
            f"warn_days in {FILE_NAME} is not a number of days from 0 to 3650",
            f"write it as warn_days = {WARN_DAYS}",
        )
    return value


def _read_options(state: Path, env: Mapping[str, str]) -> tuple[dict[str, Any], Path | None]:
    """The settings file's tables, and its path; empty and None without a file."""
    named = env.get("TPMCONSOLE_CONFIG")
    candidates = [Path(named)] if named else [state / FILE_NAME, SYSTEM_FILE]
    for path in candidates:
        try:
            check_for_root(path, "the settings file")
            text = path.read_text(encoding="utf-8")
            options = parse_toml(text)
            check_names(options, text, path)
            return options, path
        except FileNotFoundError:
            continue
        except OSError as error:
            remedy = NextStep(
                Action.GIVE_STATE, text="correct it, name another ({}), or change who may read it"
            )
            raise usage_error("Settings not read", f"{path}: {error.strerror}", remedy) from error
        except ValueError as error:
            raise usage_error(
                "Settings not read", f"{path}: {error}", "correct the file or move it away"
            ) from error
    return {}, None


QUIET_S = 90.0
PAGE_S = 20.0
LONGEST_S = 86_400.0
# A visitor would find a shorter sequence of keys by chance within a week.
LEAST_KEYS = 5


@dataclass(frozen=True, slots=True)
class KioskRules:
    """How a kiosk behaves.

    Attributes:
        quiet_s: after this many seconds without a key, the kiosk starts again from the beginning.
        page_s: seconds that each page of the automatic tour is shown; 0 switches it off.
        leave: the keys that end the kiosk when pressed in this order, by Textual's names; if
            empty, only SIGTERM does.
    """

    quiet_s: float = QUIET_S
    page_s: float = PAGE_S
    leave: tuple[str, ...] = ()

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> KioskRules:
        """The rules in the tables of tpmconsole.toml.

        Raises:
            ConsoleError: one of them cannot be right.
        """
        table = options.get("kiosk", {})
        if not isinstance(table, Mapping):
            raise _kiosk_wrong("kiosk is not a table", "write [kiosk]")
        unknown = sorted(set(table) - {"quiet_s", "page_s", "leave"})
        if unknown:
            raise _kiosk_wrong(
                f"there is no {unknown[0]} in [kiosk]", "use quiet_s, page_s and leave"
            )
        return cls(
            quiet_s=_kiosk_seconds(table, "quiet_s", QUIET_S, least=5),
            page_s=_kiosk_seconds(table, "page_s", PAGE_S, least=0),
            leave=_kiosk_keys(table.get("leave", [])),
        )


def _kiosk_seconds(table: Mapping[str, Any], name: str, default: float, least: float) -> float:
    value = table.get(name, default)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not least <= value <= LONGEST_S:
        raise _kiosk_wrong(
            f"{name} in [kiosk] is not a number of seconds from {least:g} to {LONGEST_S:g}",
            f"write it as {name} = {default:g}",
        )
    return float(value)


def _kiosk_keys(value: Any) -> tuple[str, ...]:
    example = 'leave = ["f8", "f8", "x", "f3", "x"]'
    if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
        raise _kiosk_wrong("leave in [kiosk] is not a list of keys", f"write it as {example}")
    if 0 < len(value) < LEAST_KEYS:
        raise _kiosk_wrong(
            f"leave in [kiosk] has fewer than {LEAST_KEYS} keys: visitors would find them",
            f"use more, as in {example}",
        )
    return tuple(value)


def _kiosk_wrong(cause: str, remedy: str) -> ConsoleError:
    return usage_error("Settings not usable", f"{cause} (tpmconsole.toml)", remedy)
