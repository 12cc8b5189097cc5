"""The command `self-test`: each transformer of a release, run over random old objects.

In: a manifest's version, its release and those before it. Out: a table or JSON on standard output,
and an exit status: 0 if no transformer failed and one passed. Called by cli.py.

What must come out is said by expectation.py, and compiled with templates/self_test.c to a program
that loads both releases and calls the transformers where the release's table of symbols says they
are: what is tested is the code that an update runs.
"""

from __future__ import annotations

import dataclasses
import json
import shlex
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from kitsune_tool import elf, files, launcher, release, render, resources, toolchain
from kitsune_tool.config import Manifest, Version
from kitsune_tool.errors import EXIT_DONE, EXIT_INPUT_WRONG, KitsuneError, Location
from kitsune_tool.expectation import CaseView, Expectation, make_expectation
from kitsune_tool.nearest import did_you_mean
from kitsune_tool.store import Description, Store
from kitsune_tool.views import make_views

_RELEASE_SYMBOL = "kitsune_release"
_LINE = '{"case": '
_LIMIT_S = 1800
_NEW_OBJECT, _IN_PLACE, _VARIABLE = "new object", "in place", "variable"
_HOW = {"MOVE": _NEW_OBJECT, "PATCH": _IN_PLACE, "VARIABLE": _VARIABLE}

Outcome = Literal["passed", "failed", "not run"]


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be tested. `only`: types or variables by their names; empty: all."""

    manifest: Manifest
    version: Version
    release: Path | None
    parents: tuple[Path, ...]
    only: tuple[str, ...]
    seed: int
    rounds: int
    as_json: bool


@dataclass(frozen=True, slots=True)
class Complaint:
    """A member that is not what it must be, and the first round in which it was not; `member` is
    empty for the object as a whole.
    """

    member: str
    round: int
    old: str
    new: str
    wanted: str


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one transformer. `rounds` were run to their end; `why` says why not all were."""

    name: str
    how: str
    outcome: Outcome
    compared: tuple[str, ...]
    ruled: tuple[tuple[str, str], ...]
    left_out: tuple[tuple[str, str], ...]
    rounds: int = 0
    complaints: tuple[Complaint, ...] = ()
    why: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """All results of one step; `skipped` are types and variables of which nothing is expected."""

    old: str
    new: str
    results: tuple[Result, ...]
    skipped: tuple[tuple[str, str], ...]

    @property
    def is_passed(self) -> bool:
        """Whether no transformer failed, and something passed if anything was to be run."""
        outcomes = [result.outcome for result in self.results]
        return "failed" not in outcomes and ("passed" in outcomes or not outcomes)


def run(request: Request) -> int:
    """Test the step from each parent. Raises K253 and K255 to K259 for what makes it impossible."""
    built = request.release or _store(request).release(request.version.name)
    parents = request.parents or tuple(map(_store(request).release, request.version.parents))
    if not parents:
        raise KitsuneError(
            "K253",
            f"version {request.version.name} follows no other: there is no update to try",
            at=request.version.at,
            source_line=request.version.line,
        )
    reports = [_test(request, parent, built) for parent in parents]
    if request.as_json:
        print(json.dumps([_as_data(request, report) for report in reports], indent=1))
    else:
        for report in reports:
            print(_as_text(request, report))
    return EXIT_DONE if all(report.is_passed for report in reports) else EXIT_INPUT_WRONG


def _store(request: Request) -> Store:
    return Store(request.manifest.store, request.manifest.program)


def _test(request: Request, parent: Path, built: Path) -> Report:
    for path in (parent, built):
        if not path.is_file():
            raise KitsuneError(
                "K255",
                f"there is no release {files.shown(path)} to try",
                hint="build it first: scons release-chain, or kitsune release and kitsune publish",
            )
    launcher.check_machine(built)
    plan = release.plan_again(request.manifest, request.version, parent, built)
    expected = make_expectation(plan, make_views(plan))
    addresses = _addresses(built)
    wanted = [c for c in expected.cases if not request.only or c.shape.name in request.only]
    _check_known(request, expected)
    cases = [case for case in wanted if case.function in addresses]
    if wanted and not cases:
        raise KitsuneError(
            "K256",
            "it has none of its transformers in its table of symbols",
            at=Location(files.shown(built)),
            hint="build it with the manifest as it is now, and without -s: what is linked so, or\n"
            "stripped, does not say where its functions are",
        )
    with tempfile.TemporaryDirectory(prefix="kitsune-") as directory:
        program = _build(request, Path(directory), expected, cases, addresses)
        said = _run(program, parent, built, request)
    results = [_result(case, said) for case in wanted]
    names = (_version(parent), _version(built))
    skipped = () if request.only else expected.skipped
    return Report(*names, tuple(results), skipped)


def _check_known(request: Request, expected: Expectation) -> None:
    known = {case.shape.name for case in expected.cases} | {name for name, _ in expected.skipped}
    for name in request.only:
        if name not in known:
            raise KitsuneError(
                "K257",
                f"'{name}' is nothing that is transformed{did_you_mean(name, known)}",
                hint="it is transformed: " + (", ".join(sorted(known)) or "nothing"),
            )


def _addresses(built: Path) -> dict[str, int]:
    """Return where in a release its functions are."""
    return {
        symbol.name: symbol.value
        for file in elf.read_files(built)
        for table in (".dynsym", ".symtab")
        for symbol in elf.symbols(file, table)
        if symbol.is_defined
    }


def _build(
    request: Request,
    directory: Path,
    expected: Expectation,
    cases: list[CaseView],
    addresses: Mapping[str, int],
) -> Path:
    source, program = directory / "tables.c", directory / "self-test"
    text = render.render_self_test(expected, cases, addresses, addresses[_RELEASE_SYMBOL])
    source.write_text(text, encoding="utf-8", errors="surrogateescape")
    compiler = launcher.default_compiler()
    includes = (f"-I{resources.include_dir()}", f"-I{resources.templates_dir()}")
    objects = map(str, launcher.self_test_objects(compiler))
    command = (*compiler, "-std=gnu11", "-O1", "-w", *includes, "-o", str(program), str(source))
    done = toolchain.run((*command, *objects, "-ldl"))
    if done.status != 0:
        raise KitsuneError(
            "K258",
            "the compiler refuses the tables of the self-test",
            at=request.version.at,
            source_line=request.version.line,
            said=done.stderr.decode(errors="replace").strip(),
            hint="the types must mean the same to this compiler as to the program's: name that in\n"
            "KITSUNE_CC, with the options that change layouts",
        )
    return program


def _run(program: Path, parent: Path, built: Path, request: Request) -> dict[str, dict[str, Any]]:
    """Run all cases; return what was said of each, by its transformer."""
    words = (*map(str, (program, parent.resolve(), built.resolve())), str(request.seed))
    done = toolchain.run((*words, str(request.rounds)), capture_stdout=True)
    if done.status != 0:
        raise KitsuneError(
            "K259",
            "the releases cannot be loaded beside each other",
            at=request.version.at,
            source_line=request.version.line,
            said=done.stderr.decode(errors="replace").strip(),
            hint="what a sanitizer watches cannot be tested so; build the releases without it",
        )
    lines = done.stdout.decode(errors="replace").splitlines()
    said = [json.loads(line) for line in lines if line.startswith(_LINE)]
    return {each["case"]: each for each in said}


def _result(case: CaseView, said: Mapping[str, dict[str, Any]]) -> Result:
    shape = case.shape
    found = said.get(case.function, {})
    stopped = found.get("ended", "")
    complaints = tuple(Complaint(**each) for each in found.get("complaints", ()))
    outcome: Outcome = "failed" if complaints or stopped else "passed"
    if not found:
        outcome, stopped = "not run", "it is no function of its own in the release"
    elif stopped and not complaints and shape.is_choosy:
        outcome = "not run"
        stopped = f"random values do not suit its rules, lengths or tags: {stopped}"
    return Result(
        shape.name,
        _HOW[case.mode],
        outcome,
        case.compared,
        shape.ruled,
        shape.left_out,
        found.get("rounds", 0),
        complaints,
        stopped,
    )


def _version(path: Path) -> str:
    return Description.read(path.with_name("release.json")).version


# -- telling ---------------------------------------------------------------------------------------


def _as_data(request: Request, report: Report) -> dict[str, Any]:
    return {
        "from": report.old,
        "to": report.new,
        "seed": request.seed,
        "rounds": request.rounds,
        "transformers": [_result_data(result) for result in report.results],
        "skipped": [{"name": name, "why": why} for name, why in report.skipped],
    }


def _result_data(result: Result) -> dict[str, Any]:
    return {
        "name": result.name,
        "how": result.how,
        "outcome": result.outcome,
        "compared": list(result.compared),
        "by_rule": [{"member": member, "rule": rule} for member, rule in result.ruled],
        "left_out": [{"member": member, "why": why} for member, why in result.left_out],
        "rounds": result.rounds,
        "why": result.why,
        "complaints": [dataclasses.asdict(complaint) for complaint in result.complaints],
    }


def _as_text(request: Request, report: Report) -> str:
    lines = [
        f"{report.old} -> {report.new}, seed {request.seed}, {request.rounds} rounds",
        f"{'what':32} {'how':10} {'members':>7} {'by rule':>7}  outcome",
    ]
    lines += [
        f"{each.name:32} {each.how:10} {len(each.compared):7} {len(each.ruled):7}  {each.outcome}"
        for each in report.results
    ]
    lines += _remarks(report.results)
    lines += [f"not tested: {name}: {why}" for name, why in report.skipped]
    for each in report.results:
        if each.outcome == "failed":
            lines += _as_failure(request, each)
    counts = {
        outcome: sum(each.outcome == outcome for each in report.results)
        for outcome in ("passed", "failed", "not run")
    }
    lines.append("")
    lines.append(", ".join(f"{count} {outcome}" for outcome, count in counts.items()))
    return "\n".join(lines)


def _remarks(results: Iterable[Result]) -> list[str]:
    """Return what is not compared in what is, each thing once."""
    found = []
    for each in results:
        found += [f"by rule, not compared: {each.name}: {m} ({rule})" for m, rule in each.ruled]
        found += [f"not compared: {each.name}: {m}: {why}" for m, why in each.left_out]
        found += [f"not run: {each.name}: {each.why}"] if each.outcome == "not run" else []
    return list(dict.fromkeys(found))


def _as_failure(request: Request, result: Result) -> list[str]:
    lines = ["", f"failed: {result.name} ({result.how})"]
    lines += [f"  it ended: {result.why}"] if result.why else []
    for each in result.complaints:
        member = each.member or "the object"
        was = f"was {each.old}, " if each.old else ""
        lines.append(f"  {member}: {was}is {each.new}, must be {each.wanted} (round {each.round})")
    words = ["kitsune", "self-test", "--manifest", files.shown(request.manifest.path)]
    words += ["--version", request.version.name]
    words += ["--release", files.shown(request.release)] if request.release else []
    for parent in request.parents:
        words += ["--from", files.shown(parent)]
    words += ["--seed", str(request.seed), "--rounds", str(request.rounds), "--only", result.name]
    return [*lines, "  again: " + " ".join(map(shlex.quote, words))]
