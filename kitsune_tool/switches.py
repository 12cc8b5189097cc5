"""What is switched on or off for all units of a program, or for some of them.

In: the manifest's `options`, as config.py reads them; the same as data in the front-end's
configuration. Out: `Switches.of`, what holds for one unit. Called by the front-end (whose locals
are noted, which statics are registered) and by plan.py (what is migrated automatically). Pure.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any


@dataclass(frozen=True, slots=True)
class Settings:
    """What holds for a unit.

    `automigrate`: variables without annotation are migrated by `kitsune_do_automigrate`.
    `note_locals`: those of all functions are noted. `register_variables`: statics are known without
    a word about them in the source, and variables may be migrated automatically.
    """

    automigrate: bool = True
    note_locals: bool = False
    register_variables: bool = True

    @property
    def is_auto(self) -> bool:
        """Whether variables without annotation are migrated automatically."""
        return self.automigrate and self.register_variables


NAMES = tuple(field.name for field in dataclasses.fields(Settings))


@dataclass(frozen=True, slots=True)
class UnitSettings:
    """What is said of the units that a pattern covers, as pairs of a name and its value."""

    pattern: str
    values: tuple[tuple[str, bool], ...]

    def covers(self, source: str) -> bool:
        """Tell whether a unit is meant: by its path or the end of it; `*` and `?` are allowed."""
        return fnmatchcase(source, self.pattern) or fnmatchcase(source, f"*/{self.pattern}")


@dataclass(frozen=True, slots=True)
class Switches:
    """What holds for all units, and the exceptions from it; of several the last one counts."""

    everywhere: Settings = Settings()
    units: tuple[UnitSettings, ...] = ()

    def of(self, source: str) -> Settings:
        """Return what holds for a unit; `source` is its path as in keys."""
        found = self.everywhere
        for unit in self.units:
            if unit.covers(source):
                found = dataclasses.replace(found, **dict(unit.values))
        return found

    def to_json(self) -> dict[str, Any]:
        """Return the form in which the front-end's configuration holds it."""
        units = [[unit.pattern, dict(unit.values)] for unit in self.units]
        return {**dataclasses.asdict(self.everywhere), "units": units}


DEFAULT = Switches()


def from_json(data: dict[str, Any]) -> Switches:
    """Read what `Switches.to_json` made; raises `TypeError` or `ValueError` for anything else."""
    everywhere = {name: bool(data[name]) for name in NAMES if name in data}
    units = tuple(
        UnitSettings(str(pattern), tuple((str(k), bool(v)) for k, v in values.items()))
        for pattern, values in data.get("units", [])
    )
    return Switches(Settings(**everywhere), units)
