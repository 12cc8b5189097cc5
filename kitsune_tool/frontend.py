"""Take a preprocessed unit through all stages of the front-end.

In: the unit's preprocessed text and its source file. Out: the text to compile instead, and the
`model.Unit` that it carries. cc.py calls `process`; so can any program.
"""

from __future__ import annotations

import dataclasses
import gc
import hashlib
import json
import os.path
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kitsune_tool.errors import KitsuneError, KitsuneErrors, Location, unmoved
from kitsune_tool.extract import Extracted, Said, extract
from kitsune_tool.insert import apply, declarations_in_front, labelled_statics, tables
from kitsune_tool.model import OWN_HEADERS, EditMatch, Unit, to_json
from kitsune_tool.resources import include_dir
from kitsune_tool.scan import Scan, scan
from kitsune_tool.switches import DEFAULT, Switches

if TYPE_CHECKING:
    from kitsune_tool.edits import Edit, Expand


@dataclass(frozen=True, slots=True)
class FrontendConfig:
    """What the front-end is told besides the text.

    `root` is the absolute path of the version's source root, and `directory` the one that relative
    names in line markers start from (the compiler's; default: the current one). `edits` are the
    manifest's; `expand` is how macros in them are expanded (default: not at all). `switches` are
    the manifest's too, and `notelocals` the keys of functions that it notes the locals of. `lto`:
    the object is optimised once more when it is linked. `looked_up` are the static functions that
    rules ask for by key.
    """

    root: str
    edits: tuple[Edit, ...] = ()
    directory: str = ""
    compiler: str = ""
    expand: Expand | None = None
    switches: Switches = DEFAULT
    notelocals: tuple[str, ...] = ()
    looked_up: tuple[str, ...] = ()
    lto: bool = False


@dataclass(frozen=True, slots=True)
class Processed:
    """A unit ready to compile. `skipped` are declarations that were not understood, and why."""

    text: str
    unit: Unit
    skipped: tuple[tuple[Location, str], ...] = ()


def process(text: str, source: str, config: FrontendConfig) -> Processed:
    """Return the text to compile instead of `text` (preprocessed C, bytes as latin-1).

    `source` is the unit's file as the compiler was told. The result depends on nothing but the
    arguments; only messages quote files. Raises `KitsuneError`.
    """
    enabled = gc.isenabled()
    gc.disable()  # syntax trees are garbage only at the end, and collections cost half the time
    try:
        return _process(text, source, config)
    except KitsuneError as error:
        raise _quoting(error, config) from error
    finally:
        if enabled:
            gc.enable()


def _quoting(error: KitsuneError, config: FrontendConfig) -> KitsuneError:
    """Return `error` with the lines of the user's files that it and its notes speak of."""
    return error.placed(unmoved, lambda at: _line(at, config))


def _line(at: Location, config: FrontendConfig) -> str | None:
    """Return a line of a file, named from the root or from here; None if it cannot be had."""
    for folder in (config.root, config.directory):
        try:
            lines = (Path(folder) / at.file).read_bytes().splitlines()
            return lines[at.line - 1].decode(errors="replace")
        except (OSError, IndexError, ValueError):
            continue
    return None


def relative(path: str, config: FrontendConfig) -> str:
    """Return a path as records and messages name it: relative to the root if it lies below it."""
    if not path or path.startswith("<"):
        return path
    whole = os.path.abspath(os.path.join(config.directory, path))  # noqa: PTH100, PTH118 - hot
    ours = _below(whole, str(include_dir()))
    if ours is not None:  # wherever the tool is installed
        return OWN_HEADERS + ours
    below = _below(whole, os.path.abspath(config.root))  # noqa: PTH100
    if below is None:  # one of the two may go through a symbolic link
        below = _below(os.path.realpath(whole), os.path.realpath(config.root))
    return below or whole


def _below(path: str, folder: str) -> str | None:
    prefix = folder.rstrip(os.sep) + os.sep
    return path[len(prefix) :] if path.startswith(prefix) else None


def _unit_name(source: str, config: FrontendConfig) -> str:
    """Return the unit's name in keys; a generated source outside the root has no folder in it.

    Keys have to be the same in the next version, wherever that is built.
    """
    name = relative(source, config)
    return os.path.basename(name) if os.path.isabs(name) else name  # noqa: PTH117, PTH119


def _process(text: str, source: str, config: FrontendConfig) -> Processed:
    name = _unit_name(source, config)
    scanned = scan(text)
    matches: tuple[EditMatch, ...] = ()
    if config.edits:
        scanned, matches = _edited(scanned, name, config)
    extracted = extract(scanned, name, _locator(scanned, config), _said(name, config))
    if extracted.errors:
        raise KitsuneErrors(extracted.errors)
    extracted = _identified(extracted, matches, config)
    insertions, end = tables(extracted, labelled_statics(scanned.text))
    insertions = [*declarations_in_front(extracted, scanned), *insertions]
    result = apply(scanned.text, insertions, extracted.blanks)
    return Processed(result.rstrip("\n") + end, extracted.unit, extracted.skipped)


def _said(name: str, config: FrontendConfig) -> Said:
    settings = config.switches.of(name)
    return Said(
        notes_all=settings.note_locals,
        noted=config.notelocals,
        registers=settings.register_variables,
        looked_up=config.looked_up,
        lto=config.lto,
    )


def _edited(scanned: Scan, name: str, config: FrontendConfig) -> tuple[Scan, tuple[EditMatch, ...]]:
    """Apply the manifest's edits first: the model then sees the members and calls they insert."""
    from kitsune_tool import edits  # noqa: PLC0415 - only a unit that has edits pays for it

    insertions, matches = edits.apply(
        scanned,
        config.edits,
        name,
        config.expand or edits.unexpanded,
        lambda f: relative(f, config),
    )
    return (scan(apply(scanned.text, insertions)) if insertions else scanned), matches


def _locator(scanned: Scan, config: FrontendConfig) -> Callable[[int], Location]:
    names: dict[str, str] = {}

    def locate(offset: int) -> Location:
        place = scanned.locate(offset)
        if place.file not in names:
            names[place.file] = relative(place.file, config)
        return Location(names[place.file], place.line, place.column)

    return locate


def _identified(
    extracted: Extracted, matches: tuple[EditMatch, ...], config: FrontendConfig
) -> Extracted:
    """Complete the unit; its digest is over all that it says."""
    unit = dataclasses.replace(extracted.unit, edits=matches, compiler=config.compiler)
    data = json.dumps(to_json(unit), separators=(",", ":")).encode()
    digest = hashlib.sha256(data).hexdigest()[:16]
    return dataclasses.replace(extracted, unit=dataclasses.replace(unit, digest=digest))
