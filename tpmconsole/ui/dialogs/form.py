"""A form: named fields, with a hint or an error for the field in focus."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as dataclass_field

from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Input, Label, Static

from tpmconsole.errors import ConsoleError
from tpmconsole.text import short
from tpmconsole.ui.dialogs.dialog import Dialog
from tpmconsole.ui.next_steps import say
from tpmconsole.ui.rows import Fact, Heading
from tpmconsole.ui.widgets.password_input import Unseen

_BARE_KEY = "ctrl+n"
MOST_CHOICES = 8  # to step through one by one
_DEMANDED = "a password was typed before; type it, or press ^N for none"


@dataclass(frozen=True, slots=True)
class Field:
    """One line of a form.

    Attributes:
        name: its key in the result.
        label: the text before it.
        value: its first value.
        hint: shown while it has the focus.
        choices: if given, the allowed values; the first is chosen unless ``value`` is another.
        secret: shown as stars while it is typed.
        hints: shown instead of ``hint``, by the choice that is made.
        with_: Enter skips this field while the field of that name is empty.
        rare: Enter skips this field: its first value is nearly always right.
        demanded: for a secret: something was typed into it before, so it must not be empty until
            the user chooses "no password".
        check: gets all values, and raises a ConsoleError if this one is not valid.
    """

    name: str
    label: str
    value: str = ""
    hint: str = ""
    choices: tuple[str, ...] = ()
    hints: Mapping[str, str] = dataclass_field(default_factory=dict)
    secret: bool = False
    with_: str = ""
    rare: bool = False
    demanded: bool = False
    check: Callable[[Mapping[str, str]], None] | None = None


class Choice(Static, can_focus=True):
    """A field with a few values; left, right and space change it.

    Of many values, space and letters open a list.

    Args:
        title: of that list.
    """

    def __init__(self, choices: Sequence[str], value: str, title: str = "") -> None:
        super().__init__()
        self.choices = list(choices)
        self.title = title
        self.value = value if value in self.choices else self.choices[0]

    class Changed(Message):
        """Another value was chosen."""

    def on_mount(self) -> None:
        self._present()

    def on_key(self, event: events.Key) -> None:
        step = {"left": -1, "right": 1, "space": 1}.get(event.key)
        if self._many and event.is_printable and event.character:
            event.stop()
            self._pick(event.character.strip())
        elif step is not None:
            event.stop()
            self._take(self.choices[(self.choices.index(self.value) + step) % len(self.choices)])

    @property
    def _many(self) -> bool:
        return len(self.choices) > MOST_CHOICES

    def _pick(self, words: str) -> None:
        from tpmconsole.ui.dialogs.pick import PickDialog

        def chosen(value: str | None) -> None:
            if value is not None:
                self._take(value)

        self.app.push_screen(PickDialog(self.title, self.choices, self.value, words), chosen)

    def _take(self, value: str) -> None:
        self.value = value
        self._present()
        self.post_message(self.Changed())

    def _present(self) -> None:
        more = f"  Space: all {len(self.choices)}" if self._many else ""
        self.update(Content(f"< {short(self.value, 40 - len(more))} >{more}"))


class TextField(Input):
    """An input that leaves ``?`` to the dialog while it is empty: no answer begins with it."""

    async def on_key(self, event: events.Key) -> None:
        if event.key == "question_mark" and not self.value:
            event.prevent_default()  # else Input types it


class FormDialog(Dialog[Mapping[str, str]]):
    """Asks for a few values. Enter moves to the next field and, from the last, closes the form.

    An error is shown at its own field, when Enter leaves the field and again at the end.

    Args:
        title: what the form is for.
        fields: its lines.
        notice: what the user must know before filling it in.
    """

    help_key = "f1"

    def __init__(
        self,
        title: str,
        fields: Sequence[Field],
        *,
        notice: str = "",
    ) -> None:
        super().__init__(title)
        self.notice = notice
        self.fields = fields
        self._trouble: tuple[int, str] | None = None
        self._demanded = {field.name for field in fields if field.demanded}

    def keys(self) -> tuple[tuple[str, str], ...]:
        first = (_BARE_KEY, "No password") if self._demanded else ("tab", "Next")
        return (first, ("enter", "Next, at the end: done"), ("escape", "Cancel"))

    def help_facts(self) -> list[Fact | Heading]:
        hints: list[Fact | Heading] = []
        for field in self.fields:
            hints.append(Fact(field.label, "", field.hint))
            hints += [Fact("", "", f"{value}: {hint}") for value, hint in field.hints.items()]
        return [*super().help_facts(), Heading("Fields"), *hints]

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
            widget: Widget = Choice(field.choices, field.value, field.label)
        elif field.secret:
            widget = Unseen()
        else:
            # Typing replaces the value, but continues the beginning of a path.
            prefix = field.value.endswith("/")
            widget = TextField(field.value, compact=True, select_on_focus=not prefix)
            widget.cursor_blink = False
        widget.id = f"field-{field.name}"
        return widget

    def on_mount(self) -> None:
        self._entry(0).focus()

    def on_descendant_focus(self) -> None:
        self._show_hint()

    def on_choice_changed(self, event: Choice.Changed) -> None:
        event.stop()
        self._show_hint()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self._next()

    def pressed(self, event: events.Key) -> None:
        if event.key == "enter":
            event.stop()
            self._next()
        elif event.key == _BARE_KEY and self._demanded:
            event.stop()
            self._without_password()
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

    def _show_hint(self) -> None:
        """Show the hint or the error of the field in focus."""
        index = self._current()
        if index is None:
            return
        if self._trouble is not None and self._trouble[0] == index:
            hint = Content.styled(self._trouble[1], "bold $error")
        else:
            field, entry = self.fields[index], self._entry(index)
            chosen = entry.value if isinstance(entry, Choice) else ""
            hint = Content.styled(field.hints.get(chosen, field.hint), "dim")
        self.query_one(".form-hint", Static).update(hint)

    def _next(self) -> None:
        values = self._values()
        index = self._current()
        following = len(self.fields) if index is None else index + 1
        for number in range(following, len(self.fields)):
            field = self.fields[number]
            if not field.rare and (not field.with_ or values[field.with_]):
                if self._right(values, range(following - 1, following)):
                    self._entry(number).focus()
                return
        if self._right(values, range(len(self.fields))):
            self.dismiss(values)

    def _right(self, values: Mapping[str, str], numbers: Iterable[int]) -> bool:
        """Check some fields; the first that is not valid gets the focus and shows the error."""
        self._trouble = None
        for number in numbers:
            field = self.fields[number]
            if field.name in self._demanded and not values[field.name]:
                self._trouble = (number, _DEMANDED)
                break
            try:
                if field.check:
                    field.check(values)
            except ConsoleError as error:
                self._trouble = (self._again(number), f"{error.cause}; {say(error.remedy)}")
                break
        if self._trouble is not None:
            self._entry(self._trouble[0]).focus()
        self._show_hint()
        return self._trouble is None

    def _without_password(self) -> None:
        """Accept an empty password, which the user has chosen, and continue after its fields."""
        chosen, self._demanded = self._demanded, set()
        self.show_key_line()
        for index, field in enumerate(self.fields):
            if field.secret:
                self._clear(index)
            if field.name in chosen:
                self._entry(index).focus()
        self._next()

    def _again(self, number: int) -> int:
        """The field to edit. A secret cannot be edited unseen, so it and its pair are cleared.

        After that, Enter on the empty field must not mean "no password".
        """
        field = self.fields[number]
        if not field.secret:
            return number
        for index, one in enumerate(self.fields):
            if one.secret and one.name in (field.name, field.with_):
                self._clear(index)
                number = min(number, index)
        self._demanded.add(self.fields[number].name)
        self.show_key_line()
        return number

    def _clear(self, index: int) -> None:
        entry = self._entry(index)
        assert isinstance(entry, Unseen)  # noqa: S101  (what _widget makes)
        entry.clear()

    def _values(self) -> dict[str, str]:
        values = {}
        for number, field in enumerate(self.fields):
            entry = self._entry(number)
            assert isinstance(entry, Input | Choice)  # noqa: S101  (what _widget makes)
            values[field.name] = entry.value if field.secret else entry.value.strip()
        return values
