"""`./kit failures`: try every way to fail in every kind of program, and print the matrix.

Columns: one thread, eight threads, four forked children of which none is updated, and the same
with the children updated one by one, in turns; each as started (1) and after ten updates (11). A
cell is `ok` or `-` (it cannot happen there), else a number of the list that follows.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from failures.build import build
from failures.run import COLUMNS, Cell, Column, try_column
from failures.ways import WAYS


def main() -> int:
    """Do what the command line says; return the exit status."""
    parser = argparse.ArgumentParser(prog="./kit failures", description=__doc__)
    parser.add_argument("--way", default="", help="only those whose names match this pattern")
    parser.add_argument("--column", choices=[str(each) for each in COLUMNS], action="append")
    parser.add_argument("--jobs", type=int, default=2, help="columns at a time; default: 2")
    parser.add_argument("--answers", action="store_true", help="print the answers too")
    options = parser.parse_args()
    began = time.monotonic()
    ways = [way for way in WAYS if re.search(options.way, way.name)]
    columns = [each for each in COLUMNS if not options.column or str(each) in options.column]
    with tempfile.TemporaryDirectory(prefix="failures") as directory:
        built = build(Path(directory) / "program")

        def run(column: Column) -> list[Cell]:
            place = Path(directory) / str(column).replace("/", "_")
            return try_column(built, column, place, ways, lambda cell: tell(column, cell, began))

        with ThreadPoolExecutor(options.jobs) as pool:
            tables = dict(zip(columns, pool.map(run, columns), strict=True))
    bad = print_matrix(columns, tables, answers=options.answers)
    tried = sum(len(cells) for cells in tables.values())
    print(f"{tried} cells, {bad} bad, {time.monotonic() - began:.0f} s")
    return 1 if bad else 0


def tell(column: Column, cell: Cell, began: float) -> None:
    """Say how far it is."""
    verdict = f"BAD: {cell.wrong}" if cell.wrong else "ok"
    at = f"{time.monotonic() - began:6.1f} s"
    print(f"{at}  {column!s:11} {cell.way}: {verdict}", file=sys.stderr, flush=True)


def print_matrix(
    columns: Sequence[Column], tables: dict[Column, list[Cell]], *, answers: bool
) -> int:
    """Print the matrix and what is wrong in it; return in how many cells."""
    names = list(dict.fromkeys(cell.way for cells in tables.values() for cell in cells))
    width = max(map(len, names), default=0)
    wrong: list[str] = []
    print(" " * width, *(f"{each!s:>11}" for each in columns))
    for name in names:
        row = []
        for column in columns:
            cell = next((each for each in tables[column] if each.way == name), None)
            if cell is not None and cell.wrong:
                wrong.append(f"{name}, {column}: {cell.wrong}")
            row.append("-" if cell is None else f"({len(wrong)})" if cell.wrong else "ok")
        print(f"{name:{width}}", *(f"{each:>11}" for each in row))
        if answers:
            print(*{f"    {c.answer}" for cells in tables.values() for c in cells
                    if c.way == name and c.answer}, sep="\n")  # fmt: skip
    for number, each in enumerate(wrong, 1):
        print(f"\n({number}) {each}")
    return len(wrong)


if __name__ == "__main__":
    sys.exit(main())
