"""Two small C files as two versions of a program, taken through the real front-end.

In: C text of the old and the new version, rules, annotations, options. Out: the `Program`s and the
`Plan` between them.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from kitsune_tool import annotate, objects, plan, planned, program, resources, rules, unions
from kitsune_tool.errors import Location
from kitsune_tool.model import Program
from kitsune_tool.switches import Settings, Switches

MANIFEST = "kitsune.yaml"
RULE_KINDS: tuple[Literal["rename", "transform", "init"], ...] = ("rename", "transform", "init")


@dataclass(frozen=True, slots=True)
class Versions:
    """An old and a new program, and what the manifest says of the step between them."""

    directory: Path
    old: Program
    new: Program
    rules: rules.RuleSet
    options: plan.Options

    def plan(self) -> planned.Plan:
        """Plan the step; raises what the planner raises."""
        return plan.make_plan(self.old, self.new, self.rules, self.options, self.source_line)

    def source_line(self, version: str, at: Location) -> str | None:
        """Return a line of a version's source."""
        lines = (self.directory / version / at.file).read_text().splitlines()
        return lines[at.line - 1]


def compile_version(directory: Path, sources: Mapping[str, str]) -> list[Path]:
    """Compile each source through the look-alike; return the objects."""
    directory.mkdir(parents=True, exist_ok=True)
    made = []
    for name, text in sources.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)
        command = [sys.executable, "-m", "kitsune_tool.cc", "gcc", "-w", "-fPIC", "-c", name]
        command += [f"-I{resources.include_dir()}", "-o", f"{name}.o"]
        subprocess.run(command, cwd=directory, check=True, timeout=60)
        made.append(directory / f"{name}.o")
    return made


def read_program(directory: Path, sources: Mapping[str, str], version: str) -> Program:
    """Return the program that the sources make."""
    units = [u for made in compile_version(directory, sources) for u in objects.read_units(made)]
    return program.merge(units, "sample", version)


def rule_sources(items: Sequence[Mapping[str, Any]]) -> list[rules.RuleSource]:
    """Return the rules of a manifest's list, each on a line of its own."""
    found = []
    for line, item in enumerate(items, start=3):
        kind = next(k for k in RULE_KINDS if k in item)
        labels = item[kind] if isinstance(item[kind], list) else [item[kind]]
        at, code_at = Location(MANIFEST, line), Location(MANIFEST, line)
        found.append(rules.RuleSource(kind, tuple(labels), item.get("code"), at, code_at))
    return found


def annotation_sources(items: Mapping[str, str]) -> list[annotate.AnnotationSource]:
    """Return the annotations of a manifest's table."""
    at = Location(MANIFEST, 2)
    return [annotate.AnnotationSource(path, text, at) for path, text in items.items()]


def union_sources(items: Mapping[str, Any]) -> list[unions.UnionSource]:
    """Return what a manifest's `unions:` says."""
    at = Location(MANIFEST, 2)
    found = []
    for path, said in items.items():
        cases = [unions.CaseSource(str(k), v, at) for k, v in said["cases"].items()]
        cases += [unions.CaseSource("", said["default"], at)] if "default" in said else []
        found.append(unions.UnionSource(path, said.get("by", ""), tuple(cases), at))
    return found


@pytest.fixture
def versions(tmp_path: Path) -> Callable[..., Versions]:
    """Return a function that makes `Versions` of two texts (of `main.c`) or of tables of texts."""

    def make(  # noqa: PLR0917 - as a manifest has them
        old: str | Mapping[str, str],
        new: str | Mapping[str, str],
        rules_: Sequence[Mapping[str, Any]] = (),
        annotations: Mapping[str, str] | None = None,
        preamble: str = "",
        unions: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Versions:
        def program_of(name: str, sources: str | Mapping[str, str]) -> Program:
            table = {"main.c": sources} if isinstance(sources, str) else sources
            return read_program(tmp_path / name, table, {"old": "1", "new": "2"}[name])

        said = annotation_sources(annotations or {}), union_sources(unions or {})
        preambles = [rules.Preamble(preamble, Location(MANIFEST, 1))] if preamble else []
        return Versions(
            tmp_path,
            annotate.annotate(program_of("old", old), *said, lenient=True),
            annotate.annotate(program_of("new", new), *said),
            rules.parse_rules(rule_sources(rules_), preambles),
            plan.Options(
                switches=Switches(Settings(automigrate=options.pop("automigrate", True))), **options
            ),
        )

    return make
