"""Jobs that run side by side, and a job that must run alone."""

from __future__ import annotations

import threading
from pathlib import Path

from support.waiting import wait_until
from textual.message import Message
from textual.message_pump import MessagePump

from tpmconsole.ui.background import Job, Jobs


class Heard(MessagePump):
    """Receives what jobs post."""

    def post_message(self, _: Message) -> bool:
        return True


def test_a_job_that_is_alone_waits_for_the_others_and_they_for_it(tmp_path: Path) -> None:
    begun: list[str] = []
    ends = {name: threading.Event() for name in ("first", "alone", "last")}
    jobs = Jobs(Heard(), tmp_path / "log")

    def start(name: str) -> None:
        def work() -> None:
            begun.append(name)
            assert ends[name].wait(30)

        jobs.start(Job(name, work, alone=name == "alone"))

    start("first")
    wait_until(lambda: begun == ["first"], "the first runs")
    start("alone")
    wait_until(lambda: jobs._gate._closed, "it waits for the first")
    start("last")
    assert begun == ["first"]
    ends["first"].set()
    wait_until(lambda: begun == ["first", "alone"], "it is alone")
    ends["alone"].set()
    wait_until(lambda: begun == ["first", "alone", "last"], "the last runs")
    ends["last"].set()
