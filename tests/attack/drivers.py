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
from kitsune_tool import objects, resources

_PARTS = ("check", "checksum", "outcome", "platform", "request", "safe_file", "signature", "trust")


def build(directory: Path, source: str) -> Path:
    """Compile a driver with what it needs of the launcher; what it does not use is dropped."""
    target, runtime = directory / Path(source).stem, resources.runtime_source_dir()
    run(
        *("gcc", "-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror"),
        *("-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
        *("-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections"),
        *(f"-I{resources.include_dir()}", f"-I{runtime}", HERE / source),
        *(runtime / f"{part}.c" for part in _PARTS),
        *(runtime / "platform_x86_64.S", "-o", target),
    )
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
