"""The launcher's own code, compiled with sanitizers and fed by drivers with what attackers send.

In: releases and how often. Out: what was refused, by kind and code. Called by the tests and by
`./kit attack`.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from attack.harness import HERE, run
from kitsune_tool import launcher, objects, resources

_FLAGS = (
    *("-std=gnu11", "-O0", "-g", "-Wall", "-Wextra", "-Werror"),
    *("-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
    f"-I{resources.include_dir()}",
    f"-I{resources.runtime_source_dir()}",
)


def build_parts(directory: Path) -> Path:
    """Compile the launcher's sources, once for all drivers; return the archive of them."""
    sources = [path for path in launcher.launcher_sources() if path.name != "main.c"]
    directory.mkdir(exist_ok=True)
    run("gcc", *_FLAGS, "-c", *sources, cwd=directory)
    archive = directory / "parts.a"
    run("ar", "rcs", archive, *directory.glob("*.o"))
    return archive


def build(parts: Path, source: str) -> Path:
    """Link a driver with what it needs of the launcher."""
    target = parts.parent / Path(source).stem
    run("gcc", *_FLAGS, HERE / source, parts, "-o", target)
    return target


def mutate(
    driver: Path, first: Path, second: Path, count: int, seed: int
) -> dict[str, Counter[str]]:
    """Check `count` mutations of a release; return how each kind ended, by code."""
    parent = objects.build_id(first).hex()
    found: dict[str, Counter[str]] = {}
    for line in run(driver, second, parent, str(count), str(seed)).splitlines():
        kind, code, times = line.split("\t")
        found.setdefault(kind, Counter())[code] = int(times)
    return found


def mutate_signature(driver: Path, file: Path, key: Path, count: int, seed: int) -> Counter[str]:
    """Check `count` mutations of a file's signature; K0 counts those that say the same."""
    lines = run(driver, file, key, str(count), str(seed)).splitlines()
    return Counter({code: int(times) for code, times in (line.split("\t") for line in lines)})


def fuzz_requests(driver: Path, first: Path, second: Path, count: int, seed: int) -> Counter[str]:
    """Have `count` conversations with the helper's code; return the last answers by outcome."""
    environment = {**os.environ, "PARENT": objects.build_id(first).hex()}
    text = run(driver, second, str(count), str(seed), env=environment)
    return Counter(_outcomes(text))


def _outcomes(text: str) -> Iterator[str]:
    for line in text.splitlines():
        answer = json.loads(line)
        if answer["event"] == "done":
            yield str(answer.get("code") or answer["outcome"])
