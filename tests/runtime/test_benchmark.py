"""The engine's benchmark builds and measures; its figures are for people, not for a test."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_engine_is_measured(tmp_path: Path) -> None:
    written = tmp_path / "heaps.json"
    command = [sys.executable, str(ROOT / "benchmarks/engine.py"), "--json", str(written), "10000"]
    table = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout
    heaps = json.loads(written.read_text())
    assert [(heap["kind"], heap["order"]) for heap in heaps] == [
        (kind, order) for kind in ("list", "tree", "table") for order in ("sequential", "shuffled")
    ]
    assert all(heap["engine_ns"] > 0 and heap["loop_ns"] > 0 for heap in heaps)
    assert len(table.splitlines()) == 1 + len(heaps)
