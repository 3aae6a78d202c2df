"""A form: named fields, a hint for the one in focus, and what is wrong where something is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Input, Label, Static

from tpmconsole.errors import ConsoleError
from tpmconsole.text import short
from tpmconsole.ui.dialogs.dialog import Dialog
from tpmconsole.ui.widgets.unseen import Unseen


@dataclass(frozen=True, slots=True)
class Field:
    """One line of a form.

    Attributes:
        name: its key in the answer.
        label: what stands before it.
        hint: shown while it has the focus.
        choices: where given, one of these; the first unless ``value`` says otherwise.
        secret: typed unseen, and shown as stars.
        with_: Enter passes it over while the field of that name is empty.
    """

    name: str
    label: str
    value: str = ""
    hint: str = ""
    choices: tuple[str, ...] = ()
    secret: bool = False
    with_: str = ""


class Choice(Static, can_focus=True):
    """One of a few values; left, right and space change it."""

    def __init__(self, choices: Sequence[str], value: str) -> None:
        super().__init__()
        self.choices = list(choices)
        self.value = value if value in self.choices else self.choices[0]

    def on_mount(self) -> None:
        self._present()

    def on_key(self, event: events.Key) -> None:
        step = {"left": -1, "right": 1, "space": 1}.get(event.key)
        if step is not None:
            event.stop()
            index = (self.choices.index(self.value) + step) % len(self.choices)
            self.value = self.choices[index]
            self._present()

    def _present(self) -> None:
        self.update(Content(f"< {short(self.value, 40)} >"))


class FormDialog(Dialog[Mapping[str, str]]):
    """Asks for a few values; Enter goes on to the next field and, from the last, is done.

    Args:
        title: what the form is for.
        fields: its lines.
        check: raises a ConsoleError where the values cannot be right; the form then stays.
        notice: what has to be known before it is filled in.
    """

    def __init__(
        self,
        title: str,
        fields: Sequence[Field],
        check: Callable[[Mapping[str, str]], None] | None = None,
        *,
        notice: str = "",
    ) -> None:
        super().__init__(title)
        self.notice = notice
        self.fields = fields
        self.check = check

    def keys(self) -> tuple[tuple[str, str], ...]:
        return (("tab", "Next"), ("enter", "Next, at the end: done"), ("escape", "Cancel"))

    def body(self) -> ComposeResult:
        if self.notice:
            yield Static(Content.styled(self.notice, "$warning"))
            yield Static("")
        width = max(len(field.label) for field in self.fields) + 2
        for field in self.fields:
            with Horizontal(classes="form-row"):
                label = Label(Content(field.label))
                label.styles.width = width
                yield label
                yield self._widget(field)
        yield Static("", classes="form-hint")

    def _widget(self, field: Field) -> Widget:
        if field.choices:
            widget: Widget = Choice(field.choices, field.value)
        elif field.secret:
            widget = Unseen()
        else:
            widget = Input(field.value, compact=True, select_on_focus=False)
            widget.cursor_blink = False
        widget.id = f"field-{field.name}"
        return widget

    def on_mount(self) -> None:
        self._entry(0).focus()

    def on_descendant_focus(self) -> None:
        field = self._current()
        if field is not None:
            self.query_one(".form-hint", Static).update(
                Content.styled(self.fields[field].hint, "dim")
            )

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self._next()

    def pressed(self, event: events.Key) -> None:
        if event.key == "enter":
            event.stop()
            self._next()
        elif event.key in ("down", "up"):
            event.stop()
            if event.key == "down":
                self.focus_next()
            else:
                self.focus_previous()

    def _entry(self, index: int) -> Widget:
        return self.query_one(f"#field-{self.fields[index].name}")

    def _current(self) -> int | None:
        for index, field in enumerate(self.fields):
            if self.focused is not None and self.focused.id == f"field-{field.name}":
                return index
        return None

    def _next(self) -> None:
        values = self._values()
        index = self._current()
        later = range(len(self.fields) if index is None else index + 1, len(self.fields))
        for number in later:
            before = self.fields[number].with_
            if not before or values[before]:
                self._entry(number).focus()
                return
        try:
            if self.check:
                self.check(values)
        except ConsoleError as error:
            message = f"{error.cause}; {error.remedy}"
            self.query_one(".form-hint", Static).update(Content.styled(message, "bold $error"))
            return
        self.dismiss(values)

    def _values(self) -> dict[str, str]:
        values = {}
        for number, field in enumerate(self.fields):
            entry = self._entry(number)
            assert isinstance(entry, Input | Choice)  # noqa: S101  (what _widget makes)
            values[field.name] = entry.value if field.secret else entry.value.strip()
        return values
