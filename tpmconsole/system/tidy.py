"""What a crash or a power cut left unfinished goes away when the console starts again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tpmconsole.settings import Settings
from tpmconsole.system.files import remove_leftovers


def tidy(settings: Settings) -> None:
    """Remove temporary files that nobody is writing from the state directory."""
    for folder in (settings.state, settings.identities, settings.sessions):
        remove_leftovers(folder)
        if folder != settings.state:
            for one in _folders_in(folder):
                remove_leftovers(one)


def _folders_in(folder: Path) -> Iterator[Path]:
    try:
        yield from (one for one in folder.iterdir() if one.is_dir() and not one.is_symlink())
    except OSError:
        return  # there is none yet, or it is not ours to look into: then nothing of ours is there
