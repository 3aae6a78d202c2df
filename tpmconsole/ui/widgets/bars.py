"""The four one-line bars around every page: title, pages, status, keys."""

from __future__ import annotations

import time
from collections.abc import Iterable

from textual.content import Content
from textual.widgets import Static

from tpmconsole.text import short
from tpmconsole.ui.command import Command, key_name
from tpmconsole.ui.rows import same

MORE = len(" +99")


class Bar(Static):
    """A line that never takes the focus and shows text without markup."""

    can_focus = False

    def show(self, content: Content) -> None:
        """Show new content; unchanged content sends no bytes."""
        if not same(content, self.content):
            self.update(content)


class TitleBar(Bar):
    """Host and chip, and SIMULATED on the right if the TPM is not a real one."""

    def present(self, host: str, chip: str, mark: str) -> None:
        room = max(0, self.app.size.width - len(mark) - 1)
        left = short(f" tpmconsole  {host}  {chip}", room)
        self.show(Content.assemble(left.ljust(room), (mark, "bold"), " "))


class PageBar(Bar):
    """The names of the pages. Brackets mark the open page, so that no colour is needed."""

    def present(self, names: Iterable[str], current: int) -> None:
        parts = []
        for index, name in enumerate(names):
            text = f"{index + 1} {name}"
            is_open = index == current
            parts.append(
                (f"[{text}]" if is_open else f" {text} ", "bold $accent" if is_open else "")
            )
            parts.append((" ", ""))
        self.show(Content.assemble(*parts))


class StatusBar(Bar):
    """The running job and its time in seconds, or else the last message."""

    def present(self, job: str | None, since: float, message: str, bad: bool) -> None:
        if job:
            seconds = int(time.monotonic() - since)
            text = f" {job} ..." if seconds < 1 else f" {job} ... {seconds} s"
            self.show(Content.styled(text, "$warning"))
        else:
            text = short(message, self.app.size.width - 2)
            self.show(Content.styled(f" {text}", "bold $error" if bad else ""))


class KeyBar(Bar):
    """The keys that work now."""

    def present(self, of_page: Iterable[Command], everywhere: Iterable[Command]) -> None:
        """Show as many of the page's keys as fit, and the keys that work everywhere.

        A number says how many more keys the help lists.
        """
        last = [_key_parts(one) for one in everywhere if one.label and one.allowed()]
        room = self.app.size.width - sum(map(_width, last))
        first = [_key_parts(one) for one in of_page if one.label and one.allowed()]
        more = 0
        while first and sum(map(_width, first)) > room - (MORE if more else 0):
            first.pop()
            more += 1
        if more:
            first.append([(f" +{more}", "")])
        # The keys that work everywhere are at the right end and never move.
        left = [part for parts in first for part in parts]
        right = [part for parts in last for part in parts]
        gap = self.app.size.width - _width(left) - _width(right)
        self.show(Content.assemble(*left, " " * gap, *right))


def _key_parts(command: Command) -> list[tuple[str, str]]:
    return [(f" {key_name(command.key)}", "bold $accent"), (f" {command.label} ", "")]


def _width(parts: list[tuple[str, str]]) -> int:
    return sum(len(text) for text, _ in parts)
