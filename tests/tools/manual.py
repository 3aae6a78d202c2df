"""Writes the manual pages and the shells' completions: ``python -m tools.manual``.

The commands come from the parser, everything else from ``tpmconsole/share/manual/``, written in the
Markdown that ``roff`` reads; the console shows the same files. The results are committed, so that a
board does not need the tools; a test fails if they are stale.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

import shtab
from build_manpages.manpage import Manpage
from tools import page_keys, roff

from tpmconsole import __version__
from tpmconsole.cli.main import build_parser

SHARE = Path(__file__).parents[2] / "tpmconsole" / "share"
_ONE_LINE = 10_000


def made() -> dict[Path, str]:
    """What belongs in each file."""
    keys = page_keys.markdown()
    return {
        SHARE / "man/man1/tpmconsole.1": _commands()
        + roff.sections(keys.partition("\n")[2])
        + roff.sections(_text("console")),
        SHARE / "man/man5/tpmconsole.toml.5": _page("settings", "settings of tpmconsole"),
        SHARE / "man/man5/tpmconsole-formats.5": _page(
            "formats", "JSON answers and files of tpmconsole"
        ),
        SHARE / "manual/commands.md": _commands_text(),
        SHARE / "manual/keys.md": keys,
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


def _text(name: str) -> str:
    """A text of the manual, without its first line, which names the page."""
    return (SHARE / f"manual/{name}.md").read_text("utf-8").partition("\n")[2]


def _page(name: str, what: str) -> str:
    """A page of section 5."""
    title = (SHARE / f"manual/{name}.md").read_text("utf-8").partition("\n")[0]
    page = title.removeprefix("# ").partition("(")[0]
    head = roff.head(page, 5, f"tpmconsole {__version__}", "tpmconsole manual")
    return f"{head}.SH NAME\n{page} \\- {what}\n{roff.sections(_text(name))}"


def _commands_text() -> str:
    """Every command with its options, for the manual in the console."""
    lines = ["# Commands", ""]
    for command in leaves(build_parser()):
        command.formatter_class = _Narrow
        usage, _, rest = command.format_help().partition("\n\n")
        name = command.prog.removeprefix("tpmconsole ")
        lines += [f"## {name}", "", "```", usage, "", rest.rstrip(), "```", ""]
    return "\n".join(lines)


def _commands() -> str:
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
    text = str(page).replace("POSITIONAL ARGUMENTS", "COMMANDS")
    return re.sub(r"^'", r"\\&'", text, flags=re.MULTILINE)  # or man(7) takes it for a request


class _Narrow(argparse.RawDescriptionHelpFormatter):
    """As wide as a page of the console's manual."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=76, max_help_position=24)


class _Wide(argparse.RawDescriptionHelpFormatter):
    """Leaves it to the reader's program to break lines."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=_ONE_LINE)


def main() -> None:
    """Write them all."""
    for path, text in made().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
