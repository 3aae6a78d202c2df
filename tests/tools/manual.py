"""Writes the manual page and the shells' completions from the parser: ``python -m tools.manual``.

Both are committed, so that a board needs none of the tools; a test finds out when they are stale.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import shtab
from build_manpages.manpage import Manpage

from tpmconsole import __version__
from tpmconsole.cli.main import build_parser
from tpmconsole.errors import ExitCode

SHARE = Path(__file__).parents[2] / "tpmconsole" / "share"
_ONE_LINE = 10_000

EXIT_CODES = {
    ExitCode.YES: "yes, done",
    ExitCode.NO: "no: a failed self-test, a refused certificate, a session that ended in error",
    ExitCode.USAGE: "wrong usage",
    ExitCode.NO_TPM: "no TPM could be reached",
    ExitCode.REFUSED: "the TPM refused: authorisation, lock-out, no room",
    ExitCode.UNEXPECTED: "something unexpected, of which the log has the details; or an answer "
    "that standard output did not take, where the command itself has done its work",
}
ENVIRONMENT = {
    "TPMCONSOLE_STATE": "the state directory, as --state",
    "TPMCONSOLE_TCTI, TPM2TOOLS_TCTI": "which TPM to use, as --tcti",
    "TPMCONSOLE_CONFIG": "a settings file to read instead of the two below",
}
FILES = {
    "/var/lib/tpmconsole": "the state directory of root; else ~/.local/state/tpmconsole",
    "tpmconsole.toml": "settings, in the state directory or in /etc",
    "/dev/tpmrm0": "the TPM, through the kernel's resource manager",
}


def made() -> dict[Path, str]:
    """What belongs into each file."""
    return {
        SHARE / "man/man1/tpmconsole.1": _manual(),
        SHARE / "bash-completion/completions/tpmconsole": _completion("bash"),
        SHARE / "zsh/site-functions/_tpmconsole": _completion("zsh"),
    }


def leaves(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parsers of all commands that can be given."""
    groups = [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]
    if not groups:
        yield parser
    for group in groups:
        for command in group.choices.values():
            yield from leaves(command)


def _completion(shell: str) -> str:
    parser = build_parser()
    for command in (parser, *leaves(parser)):
        for action in command._actions:
            if action.type is Path or action.metavar == "DIR":
                action.complete = shtab.FILE  # type: ignore[attr-defined]
    script: str = shtab.complete(parser, shell)
    return script


def _manual() -> str:
    parser = build_parser()
    for command in leaves(parser):
        command.description = command.epilog  # the list of commands has just said the other
        command.formatter_class = _Wide
    page = Manpage(
        parser,
        format="single-commands-section",
        _data={
            "date": "",
            "project_name": "tpmconsole",
            "version": __version__,
            "manual_title": "tpmconsole manual",
            "description": "console of a board with a TPM 2.0",
        },
    )
    page.date = f"version {__version__}"
    for heading, entries in (
        ("exit status", {str(int(code)): text for code, text in EXIT_CODES.items()}),
        ("environment", ENVIRONMENT),
        ("files", FILES),
    ):
        page.add_section(heading, "=", "\n".join(map(_entry, entries, entries.values())))
    page.add_section("see also", "=", ".BR tpm2_getcap (1),\n.BR openssl (1),\n.BR swtpm (8)")
    return str(page).replace("POSITIONAL ARGUMENTS", "COMMANDS")


class _Wide(argparse.RawDescriptionHelpFormatter):
    """Leaves the breaking of lines to who shows the page."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=_ONE_LINE)


def _entry(term: str, text: str) -> str:
    return f".TP\n.B {term}\n{text}".replace("-", "\\-")


def main() -> None:
    """Write them all."""
    for path, text in made().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
