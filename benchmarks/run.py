"""All benchmarks in one command: front-end, engine, a server that is not updated, rehearsals.

In: nothing but the programs fetched and built here. Out: four tables, with `--json FILE` also
as data. Every figure is a ratio of two things measured in this run. Run by `./kit bench`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median

import engine
import frontend
import rehearsal
import steady


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and write; return 0 if nothing had to be left out."""
    parser = argparse.ArgumentParser(description="what Kitsune costs")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--largest", type=int, default=10_000_000, help="objects in a heap")
    options = parser.parse_args(arguments)
    rows, missing = _front_end()
    heaps = _engine(options.largest)
    costs = _steady()
    forecasts = _rehearsals()
    if options.json:
        figures = {
            "front_end": [asdict(row) for row in rows],
            "engine": [asdict(heap) | {"ratio": heap.ratio} for heap in heaps],
            "steady": [
                asdict(cost) | {"difference_percent": cost.difference_percent} for cost in costs
            ],
            "rehearsals": [asdict(each) | {"ratio": each.ratio} for each in forecasts],
            "left_out": missing,
        }
        options.json.write_text(json.dumps(figures, indent=1) + "\n")
    return 1 if missing else 0


def _front_end() -> tuple[list[frontend.Row], list[str]]:
    print("Front-end: CPU time for each unit, against gcc -O2 -c of the same unit")
    rows, missing = frontend.measure()
    print(f"{'program':14} {'mode':9} {'units':>5} {'lower':>7} {'median':>7} {'upper':>7}")
    for row in rows:
        print(
            f"{row.program:14} {row.mode:9} {row.units:>5} "
            f"{row.lower:>6.2f}x {row.median:>6.2f}x {row.upper:>6.2f}x"
        )
    for line in missing:
        print(f"left out: {line}")
    return rows, missing


def _engine(largest: int) -> list[engine.Heap]:
    print("\nEngine: CPU time for each object, against a loop written by hand")
    print(engine.HEADING)
    heaps = []
    for heap in engine.measure(largest):
        heaps.append(heap)
        print(engine.row(heap), flush=True)
    return heaps


def _steady() -> list[steady.Steady]:
    print("\nNo update: instructions for each request (kvd: for three), counted by callgrind")
    print(f"{'server':30} {'plain':>8} {'release':>8} {'more':>8}   in {steady.ROUNDS} rounds")
    rows = []
    for row in steady.measure():
        rows.append(row)
        lower, upper = row.range_percent
        print(
            f"{row.what:30} {median(row.plain):>8,.0f} {median(row.release):>8,.0f} "
            f"{row.difference_percent:>+7.2f} %  {lower:+.2f} to {upper:+.2f}",
            flush=True,
        )
    return rows


def _rehearsals() -> list[rehearsal.Forecast]:
    print(f"\nRehearsals: what was foretold of an update of {rehearsal.KEYS:,} keys, and then was")
    print(rehearsal.HEADING)
    forecasts = []
    for forecast in rehearsal.measure():
        forecasts.append(forecast)
        print(rehearsal.row(forecast), flush=True)
    return forecasts


if __name__ == "__main__":
    sys.exit(main())
