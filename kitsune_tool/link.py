"""Linking a program through the look-alike, so that a release can be made of the same inputs.

In: the command of the link. Out: the program, in which Kitsune's calls do nothing, or a shared
library of it, with a note of the command in it (recipe.py). Called by cc.py.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from kitsune_tool import launcher, recipe, toolchain
from kitsune_tool.errors import KitsuneError
from kitsune_tool.toolchain import Command


def link(command: Command) -> int | None:
    """Link the program or library; return its status, or None if the plain command has to do it.

    That is so if it fails: its messages are then those of the user's own command.
    """
    with tempfile.TemporaryDirectory(prefix="kitsune-link-") as place:
        note = _note(command, Path(place))
        if note is None:
            return None
        ours = [str(note), *([] if command.has("-shared") else map(str, plain(command)))]
        done = toolchain.run([*command.compiler, *command.arguments, *ours])
    if done.status != 0:
        return None
    sys.stderr.buffer.write(done.stderr)
    return 0


def _note(command: Command, place: Path) -> Path | None:
    source = place / "note.s"
    source.write_text(recipe.link_assembly(command, str(Path.cwd())))
    target = place / "kitsune-note.o"
    done = toolchain.run([*command.compiler, "-c", "-o", str(target), str(source)])
    return None if done.status else target


def plain(command: Command) -> list[Path]:
    """Return the archive that supplies Kitsune's calls to a program that makes them."""
    try:
        return [launcher.plain_archive(command.compiler)]
    except (KitsuneError, OSError):
        # A program without such calls links all the same; one with them gets the linker's message.
        return []
