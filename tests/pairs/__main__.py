"""`./kit pairs`: build and update as many random pairs of versions as asked for.

Prints the seed first, then a line for each group of cases that share a program, then what failed:
each failure made smaller and kept as a file that `--case` tries again.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pairs.build import Compiler, Tool
from pairs.cases import Case, from_json, to_json
from pairs.draw import FLAVOURS, Flavour, drawn
from pairs.run import Failure, Numbered, try_group
from pairs.shrink import shrink

COMPILERS = (
    Compiler("gcc", "-O0"),
    Compiler("gcc", "-O2"),
    Compiler("clang", "-O0"),
    Compiler("clang", "-O2"),
    Compiler("gcc", "-O1", asan=True),
)
GROUP_CASES = 100


@dataclass(frozen=True, slots=True)
class Job:
    """A group to try: cases `start` and on of a seed."""

    flavour: Flavour
    compiler: Compiler
    seed: int
    start: int
    cases: tuple[Numbered, ...]

    def run(self, tool: Tool) -> list[Failure]:
        """Return what failed."""
        return try_group(self.cases, self.flavour.options, self.compiler, tool)


def jobs(count: int, seed: int, flavours: Sequence[Flavour], size: int) -> Iterator[Job]:
    """Yield groups of `count` cases in all: each flavour with each compiler in turn."""
    share = -(-count // len(flavours))
    for index, flavour in enumerate(flavours):
        cases = tuple(enumerate(drawn(flavour, share, seed)))
        for turn, start in enumerate(range(0, share, size)):
            compiler = COMPILERS[(index + turn) % len(COMPILERS)]
            yield Job(flavour, compiler, seed, start, cases[start : start + size])


def kept(case: Case, flavour: Flavour, compiler: Compiler) -> str:
    """Return the text of a fixed case."""
    data = {"flavour": flavour.name, "compiler": str(compiler), "case": to_json(case)}
    return json.dumps(data, indent=1) + "\n"


def read_kept(path: Path) -> tuple[Case, Flavour, Compiler]:
    """Return a fixed case, how its program is, and what it was found with."""
    data = json.loads(path.read_text())
    flavour = next(each for each in FLAVOURS if each.name == data["flavour"])
    compiler = next(each for each in COMPILERS if str(each) == data["compiler"])
    return from_json(data["case"]), flavour, compiler


def shrunk(failure: Failure, job: Job, tool: Tool) -> Case:
    """Return a smaller case that fails in the same way; alone, if it does so alone."""

    def fails(cases: Sequence[Case]) -> list[bool]:
        found = try_group(tuple(enumerate(cases)), job.flavour.options, job.compiler, tool)
        same = {each.number for each in found if each.kind == failure.kind}
        return [number in same for number in range(len(cases))]

    if failure.kind.startswith("compile") or not fails([failure.case])[0]:
        return failure.case
    return shrink(failure.case, fails)


def report(job: Job, failures: Sequence[Failure], tool: Tool, options: argparse.Namespace) -> None:
    """Tell what failed, and keep the first of each kind in a small form."""
    seen: set[str] = set()
    for failure in failures:
        print(f"FAILED {job.flavour.name} {job.compiler} seed {job.seed} case {failure.number}")
        print("    " + failure.what.replace("\n", "\n    "))
        if failure.kind in seen or options.no_shrink:
            continue
        seen.add(failure.kind)
        case = shrunk(failure, job, tool)
        path = options.keep / f"{job.flavour.name}_{job.seed}_{failure.number}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(kept(case, job.flavour, job.compiler))
        print(f"    smaller: {path}", flush=True)


def main() -> int:
    """Do what the command line says; return the exit status."""
    parser = argparse.ArgumentParser(prog="./kit pairs", description=__doc__)
    parser.add_argument("--count", type=int, default=2000, help="default: 2000")
    parser.add_argument("--seed", type=int, default=None, help="default: a new one, printed")
    parser.add_argument("--flavour", choices=[each.name for each in FLAVOURS], action="append")
    parser.add_argument("--group", type=int, default=GROUP_CASES, help="cases in one program")
    parser.add_argument("--jobs", type=int, default=2, help="groups at a time; default: 2")
    parser.add_argument("--keep", type=Path, default=Path("build/pairs"), help="where failures go")
    parser.add_argument("--case", type=Path, help="try one that was kept, instead")
    parser.add_argument("--no-shrink", action="store_true", help="only tell what failed")
    options = parser.parse_args()
    tool = Tool(jobs=1)
    if options.case is not None:
        case, flavour, compiler = read_kept(options.case)
        work = [Job(flavour, compiler, 0, 0, ((0, case),))]
    else:
        seed = random.SystemRandom().randrange(1 << 32) if options.seed is None else options.seed
        print(f"seed {seed}", flush=True)
        flavours = [f for f in FLAVOURS if not options.flavour or f.name in options.flavour]
        work = list(jobs(options.count, seed, flavours, options.group))
    return run_all(work, tool, options)


def run_all(work: Sequence[Job], tool: Tool, options: argparse.Namespace) -> int:
    """Run the groups; return 1 if any case failed."""
    began, failed, tried = time.monotonic(), 0, 0

    def timed(job: Job) -> tuple[Job, list[Failure], float]:
        start = time.monotonic()
        return job, job.run(tool), time.monotonic() - start

    with ThreadPoolExecutor(options.jobs) as pool:
        for job, failures, took in pool.map(timed, work):
            tried += len(job.cases)
            failed += len(failures)
            verdict = f"{len(failures)} failed" if failures else "passed"
            name = f"{job.flavour.name:8} {job.compiler!s:12}"
            print(f"{name} {len(job.cases):5} cases  {took:6.1f} s  {verdict}", flush=True)
            report(job, failures, tool, options)
    took = time.monotonic() - began
    print(f"{tried} pairs of versions, {failed} failed, {took:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
