"""Time per object of the engine, against a hand-written loop over the same nodes in the same run.

In: `engine.c` and the runtime's sources, compiled here. Out: a JSON object per heap, and a table.
Run as `python benchmarks/engine.py [--json FILE] [LARGEST]`; LARGEST is the largest number of
objects (10,000,000 takes about 4 GB of memory).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RUNTIME = ROOT / "runtime"
UNITS = (
    *("registry", "beside", "blocks", "linkmap", "mappings", "pages", "seek", "side", "claims"),
    *("texts", "transform", "frames"),
    "machine_x86_64",
    "switch",
    "platform",
)
KINDS = ("list", "tree", "table")
ORDERS = ("sequential", "shuffled")
_TIMEOUT_S = 600


@dataclass(frozen=True, slots=True)
class Heap:
    """Nanoseconds of CPU time for each object; best of three runs from the same heap."""

    kind: str
    order: str
    objects: int
    loop_ns: float
    engine_ns: float

    @property
    def ratio(self) -> float:
        """How many times the loop's time the engine takes."""
        return self.engine_ns / self.loop_ns


def compile_program(folder: Path) -> Path:
    """Compile `engine.c` with the engine into `folder`, as the launcher is compiled."""
    program = folder / "engine"
    sources = [str(RUNTIME / "src" / f"{unit}.c") for unit in UNITS]
    sources += [str(RUNTIME / "src" / "platform_x86_64.S"), str(ROOT / "benchmarks" / "engine.c")]
    includes = [f"-I{RUNTIME / 'src'}", f"-I{RUNTIME / 'include'}"]
    command = ["gcc", "-std=gnu11", "-O2", *includes, *sources, "-o", str(program)]
    subprocess.run(command, check=True, timeout=_TIMEOUT_S)
    return program


def measure(largest: int = 10_000_000) -> Iterator[Heap]:
    """Measure each kind and order with 10,000 objects and ten times more up to `largest`."""
    with tempfile.TemporaryDirectory() as folder:
        program = compile_program(Path(folder))
        for kind in KINDS:
            for order in ORDERS:
                objects = 10_000
                while objects <= largest:
                    yield _run(program, kind, order, objects)
                    objects *= 10


def _run(program: Path, kind: str, order: str, objects: int) -> Heap:
    command = [str(program), kind, order, str(objects)]
    result = subprocess.run(command, check=True, timeout=_TIMEOUT_S, capture_output=True)
    return Heap(**json.loads(result.stdout))


def row(heap: Heap) -> str:
    """Return one line of the table."""
    return (
        f"{heap.kind:6} {heap.order:10} {heap.objects:>11,} "
        f"{heap.loop_ns:>8.1f} {heap.engine_ns:>8.1f} {heap.ratio:>6.2f}"
    )


HEADING = f"{'heap':6} {'order':10} {'objects':>11} {'loop ns':>8} {'engine':>8} {'ratio':>6}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table as it grows; write the JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("largest", type=int, nargs="?", default=10_000_000)
    options = parser.parse_args(arguments)
    heaps: list[Heap] = []
    print(HEADING)
    for heap in measure(options.largest):
        heaps.append(heap)
        print(row(heap), flush=True)
    if options.json:
        text = json.dumps([asdict(heap) | {"ratio": heap.ratio} for heap in heaps], indent=1)
        options.json.write_text(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
