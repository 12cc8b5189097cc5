"""Whoever pastes what a diagnosis proposes gets past it: for every proposal of every case.

Each remedy goes, as it is printed, into a manifest beside what the case says already. What is still
wrong then gets the first remedy that is proposed for it, until the step can be planned; what is
generated must compile.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from kitsune_tool import annotate, config, plan, resources, rules
from kitsune_tool.errors import KitsuneError, KitsuneErrors, Remedy
from kitsune_tool.render import Identity, render_release

HERE = Path(__file__).parent
CASES = sorted(path.parent for path in (HERE / "diagnoses").glob("*/case.yaml"))
MOST_ROUNDS = 5


def sources(directory: Path) -> dict[str, str]:
    found = sorted(directory.rglob("*.c"))
    return {str(path.relative_to(directory)): path.read_text() for path in found}


class Step:
    """The two versions of a case, and a manifest that grows."""

    def __init__(self, case: Path, versions: Callable[..., Any], directory: Path) -> None:
        self.made = versions(sources(case / "v1"), sources(case / "v2"))
        self.said = yaml.safe_load((case / "case.yaml").read_text()) or {}
        self.manifest = directory / "kitsune.yaml"

    def errors(self, remedies: tuple[Remedy, ...]) -> tuple[KitsuneError, ...]:
        """Plan and generate with remedies pasted in; return what is wrong."""
        self.manifest.write_text(self._text(remedies))
        manifest = config.load_manifest(self.manifest)
        version = manifest.versions[-1]
        try:
            notes = manifest.annotations(version), manifest.unions(version)
            options = manifest.options
            decided = plan.make_plan(
                annotate.annotate(self.made.old, *notes, lenient=True),
                annotate.annotate(self.made.new, *notes),
                rules.parse_rules(manifest.rules(version), manifest.preambles(version)),
                plan.Options(
                    added_variables=options.added_variables,
                    widen=options.widen,
                    grow=options.grow,
                    strict=options.strict,
                ),
                self.made.source_line,
            )
            files = render_release(decided, Identity("sample", "2"))
        except KitsuneErrors as error:
            return error.errors
        except KitsuneError as error:
            return (error,)
        self._compile(files)
        return ()

    def _text(self, remedies: tuple[Remedy, ...]) -> str:
        """Return the manifest with each remedy in its section, indented as it has to be there."""
        own = yaml.safe_dump({k: v for k, v in self.said.items() if k != "options"} or {})
        options = "".join(f"  {k}: {str(v).lower()}\n" for k, v in self._options().items())
        pasted = {"rules": "", "annotations": "", "options": options}
        for remedy in dict.fromkeys(remedies):
            indent = "  " if remedy.section == "options" else "      "
            pasted[remedy.section] += "".join(
                f"{indent}{line}\n" for line in remedy.text.splitlines()
            )
        standing = "standing:\n" + "".join(f"  {line}\n" for line in own.splitlines())
        text = "kitsune: 1\nprogram: sample\n"
        text += standing if own.strip() != "{}" else ""
        text += f"options:\n{pasted['options']}" if pasted["options"] else ""
        text += 'versions:\n  - version: "1"\n  - version: "2"\n'
        for section in ("rules", "annotations"):
            text += f"    {section}:\n{pasted[section]}" if pasted[section] else ""
        return text

    def _options(self) -> dict[str, object]:
        return dict(self.said.get("options", {}))

    def _compile(self, files: dict[str, str]) -> None:
        directory = self.manifest.parent / "generated"
        directory.mkdir(exist_ok=True)
        for name, text in files.items():
            (directory / name).write_text(text)
        made = [str(directory / name) for name in files if name.endswith(".c")]
        flags = ["-std=gnu11", "-fsyntax-only", "-Wall", "-Wextra", "-Werror"]
        command = ["gcc", *flags, f"-I{resources.include_dir()}", *made]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr


def first_remedies(errors: tuple[KitsuneError, ...]) -> Iterator[Remedy]:
    yield from (error.remedies[0] for error in errors if error.remedies)


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.name))
def test_every_remedy_mends(case: Path, versions: Callable[..., Any], tmp_path: Path) -> None:
    step = Step(case, versions, tmp_path)
    wrong = step.errors(())
    assert wrong
    for error in wrong:
        for remedy in error.remedies:
            others = [e for e in wrong if e is not error]
            mend(step, error, (remedy, *first_remedies(tuple(others))))


def mend(step: Step, error: KitsuneError, remedies: tuple[Remedy, ...]) -> None:
    """Paste, and go on with what is wrong then, until nothing is."""
    for _ in range(MOST_ROUNDS):
        wrong = step.errors(remedies)
        known = {(each.code, each.message) for each in wrong}
        assert (error.code, error.message) not in known, remedies[0]
        if not wrong:
            return
        more = tuple(first_remedies(wrong))
        assert more, [each.report() for each in wrong]
        remedies = (*remedies, *more)
    raise AssertionError(f"{remedies[0]} leads to no end")


def proposing() -> set[str]:
    """Return the codes that come with remedies, by the cases' printed messages."""
    texts = [(case / "expected.txt").read_text() for case in CASES]
    parts = [part for text in texts for part in text.split("\n\n")]
    return {
        part.split("error[")[1][:4] for part in parts if re.search(r"under '\w+':$", part, re.M)
    }


def test_every_diagnosis_between_versions_has_a_case_with_a_remedy() -> None:
    text = (Path(plan.__file__).parent / "diagnose.py").read_text()
    assert proposing() >= set(re.findall(r'"(K\d{3})"', text))
