"""The pages before they are made: their names, their modules and what they are for."""

from __future__ import annotations

from importlib import import_module
from typing import NamedTuple

from tpmconsole.ui.pages.page import Page


class PageName(NamedTuple):
    """A page that is not loaded yet: its module is imported when it is first opened.

    Attributes:
        title: its name in the page bar.
        module: its module, below ``ui.pages``.
        about: its purpose, the first sentence of its help.
    """

    title: str
    module: str
    about: str

    def make(self, index: int) -> Page:
        """The page itself, imported now."""
        module = import_module(f"tpmconsole.ui.pages.{self.module}")
        page: Page = getattr(module, f"{self.title}Page")(id=f"page-{index}")
        return page


PAGES = (
    PageName("Overview", "overview", "the TPM's health at a glance"),
    PageName(
        "Keys",
        "keys.page",
        "key files and persistent handles, and whether this TPM can use them",
    ),
    PageName(
        "Provision",
        "provision.page",
        "from a key in the TPM to an installed certificate",
    ),
    PageName("Sessions", "sessions.page", "mutual TLS with a key that stays in the TPM"),
    PageName("Doctor", "doctor", "what is wrong, and what to do about it"),
    PageName("Tour", "tour", "why a key belongs in a TPM, shown step by step"),
)
TOUR = len(PAGES) - 1
