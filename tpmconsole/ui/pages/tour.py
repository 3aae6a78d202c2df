"""Page 6: the guided tour."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from tpmconsole.board.tour.story import STEPS, TITLE, WELCOME, Outcome
from tpmconsole.errors import ConsoleError
from tpmconsole.ui.background import Job
from tpmconsole.ui.command import Command
from tpmconsole.ui.next_steps import say
from tpmconsole.ui.pages.page import Page
from tpmconsole.ui.rows import Fact, lay_out

if TYPE_CHECKING:
    from tpmconsole.board.tour import Tour

COVER = -1
# Longer lines are hard to read, however wide the screen is.
WIDEST = 100


class TourPage(Page):
    """The cover, then one step at a time: what it does, and its result."""

    can_focus = True

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._index = COVER
        self._outcomes: dict[int, Outcome] = {}
        self._trouble: ConsoleError | None = None
        self._busy = False

    def compose(self) -> ComposeResult:
        with VerticalScroll(can_focus=False):
            yield Static(Content(""))

    @property
    def tour(self) -> Tour:
        return self.console.tour

    @property
    def busy(self) -> bool:
        """Whether a step is running."""
        return self._busy

    @property
    def at_cover(self) -> bool:
        return self._index == COVER

    @property
    def at_end(self) -> bool:
        return self._index == len(STEPS) - 1

    def commands(self) -> tuple[Command, ...]:
        def ready() -> bool:
            return not self._busy

        return (
            Command(
                "enter",
                self._next_label(),
                "the next step, which is done at once",
                self.forward,
                ready,
                aliases=("space", *([] if self._trouble else ["right"])),
                kiosk=True,
            ),
            Command(
                "right",
                "Skip",
                "continue although this step was not done",
                self.skip,
                lambda: ready() and self._trouble is not None,
                kiosk=True,
            ),
            Command(
                "left",
                "Back",
                "the previous step, as it was",
                self._back,
                lambda: ready() and not self.at_cover,
                aliases=("backspace",),
                kiosk=True,
            ),
            Command(
                "escape",
                "Start over",
                "throw away what the tour has made, and start again",
                self.start_over,
                lambda: ready() and not self.at_cover,
                kiosk=True,
            ),
            Command("down", "", "scroll, on a low terminal", self._scroll_down, kiosk=True),
            Command("up", "", "scroll back", self._scroll_up, kiosk=True),
            Command(
                "s",
                "Simulate",
                "use the simulated TPM",
                self._simulate,
                lambda: ready() and self.console.no_tpm is not None,
            ),
        )

    def _scroll_down(self) -> None:
        self.query_one(VerticalScroll).scroll_down(animate=False)

    def _scroll_up(self) -> None:
        self.query_one(VerticalScroll).scroll_up(animate=False)

    def _next_label(self) -> str:
        if self.at_cover:
            return "Begin"
        if self._trouble is not None:
            return "Try again"
        return "Begin again" if self.at_end else "Next"

    def focus_target(self) -> Widget:
        return self

    def refresh_data(self) -> None:
        self._present()
        if self.console.health is None:  # the title line shows whether the TPM is a real one
            self.console.refresh_health(silent=True)

    def on_resize(self) -> None:
        self._present()

    # What the keys do

    def forward(self) -> None:
        """Continue: to the next step, to the same one if it failed, or back to the cover."""
        if self._busy:
            return
        if self._trouble is None:
            self.skip()
        else:
            self._do()

    def skip(self) -> None:
        """Continue, whatever the result of this step."""
        if self._busy:
            return
        if self.at_end:
            self.start_over()
            return
        self._index, self._trouble = self._index + 1, None
        if self._index in self._outcomes:
            self._present()
        else:
            self._do()

    def _do(self) -> None:
        index = self._index
        self._busy, self._trouble = True, None
        if self.board.settings.simulate:  # the user may have chosen it since
            self.tour.board.use_simulator()
        self.console.say("")  # the last message was about another page
        self._present()
        self.job(
            STEPS[index].doing,
            lambda: self.tour.do(index),
            lambda outcome: self._done(index, outcome),
            self._failed,
        )

    def _done(self, index: int, outcome: Any) -> None:
        self._busy = False
        self._outcomes[index] = outcome
        self._present()

    def _failed(self, error: ConsoleError) -> None:
        self._busy = False
        if self.at_cover:
            self.console.say(str(error), bad=True)
        else:
            self._trouble = error
        self._present()

    def _back(self) -> None:
        self._trouble = None
        self._index -= 1
        self._present()

    def start_over(self) -> None:
        """Go back to the cover, and throw away what the tour has made."""
        self.rewind()
        self._busy = True
        # In a kiosk, the tour plays on the board that the other pages show.
        label, alone = "removing the tour's keys", self.board.settings.kiosk
        self.console.start_job(
            Job(label, self.tour.reset, self._cleared, self._failed, alone=alone)
        )

    def rewind(self) -> None:
        """Show the cover, as at the start."""
        self._index, self._outcomes, self._trouble = COVER, {}, None
        self._present()

    def _cleared(self, _: Any) -> None:
        self._busy = False
        self.console.show_keys()

    def _simulate(self) -> None:
        self.board.use_simulator()
        self.console.refresh_health()
        if self._trouble is not None:
            self._do()

    # What is shown

    def _present(self) -> None:
        width = min(self.size.width or self.app.size.width, WIDEST)
        content = self._cover_page(width) if self.at_cover else self._step_page(width)
        static = self.query_one(Static)
        if content != static.content:
            static.update(content)
        self.console.show_keys()

    def _cover_page(self, width: int) -> Content:
        parts = [Content.styled(f" {TITLE}", "bold $accent")]
        for text in WELCOME:
            parts += [Content(""), _wrapped(text, width)]
        where = (
            "Press Enter to begin."
            if self.board.settings.kiosk
            else "It uses keys of its own, and removes them at the end. Enter starts it."
        )
        return Content("\n").join([*parts, Content(""), Content.styled(f" {where}", "bold")])

    def _step_page(self, width: int) -> Content:
        step, outcome = STEPS[self._index], self._outcomes.get(self._index)
        heading = f" {self._index + 1} of {len(STEPS)}  {step.title}"
        parts = [Content.styled(heading, "bold $accent"), Content("")]
        parts += [_wrapped(step.text, width), Content("")]
        if outcome is not None:
            parts += [Content(f" {line}") for line in outcome.diagram]
            parts += [Content("")] if outcome.diagram else []
            facts = [Fact(one.name, one.state, one.text) for one in outcome.shown]
            parts.append(lay_out(facts, width))
        elif self._trouble is not None:
            trouble = self._trouble
            facts = [Fact("Not done", "ERROR", trouble.title), Fact("Cause", "", trouble.cause)]
            parts.append(lay_out([*facts, Fact("Try", "", say(trouble.remedy))], width))
        return Content("\n").join(parts)


def _wrapped(text: str, width: int) -> Content:
    lines = textwrap.wrap(text, max(width - 2, 20), break_on_hyphens=False)
    return Content("\n".join(f" {line}" for line in lines))
