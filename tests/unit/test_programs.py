"""What the page on the example programs counts and shows."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import programs
import pytest
import scenarios

MANIFEST = """
# not a line of the manifest
kitsune: 1
program: served

standing:
  annotations:
    a: opaque  # with a reason
    b: opaque

  unions:
    c: x
  rules:
    - init: one
versions:
  - version: "1"
    source: v1
    edits:
      - update_point: main
        function: main
  - version: "2"
    source: v2
    rules:
      - init: two
      - init: three

  - version: "2+broken"
    source: v2
    rules:
      - init: four
  # comments between them
  - version: "3"
    source: v3
"""


def test_a_scenarios_variants_do_not_count(tmp_path: Path) -> None:
    (tmp_path / "kitsune.yaml").write_text(MANIFEST, encoding="utf-8")
    counted = scenarios.manifest_of(tmp_path)
    assert (counted.annotations, counted.edits, counted.standing_rules) == (3, 1, 1)
    assert counted.rules == {"1": 0, "2": 2, "3": 0}
    kept = [line for line in MANIFEST.splitlines() if line and "#" not in line.lstrip()[:1]]
    assert counted.lines == len(kept) - 4


def test_the_page_shows_what_was_measured_and_what_was_left_out() -> None:
    figures = scenarios.Figures("7,000 items", requests=12345, failed=3, pauses_ms=[1.0, 9.0, 2.0])
    figures.objects = {"1.6.18 to 1.6.38": 4000}
    measured = programs.Measured("memcached", ("1.6.18", "1.6.38"), 26, 22659, [], 3.0, -0.35)
    measured.heaps = [asdict(figures)]
    page = programs.page([measured], ["tor: no source"])
    assert "| memcached | 7,000 items | 4,000 | 2.0 ms | 9.0 ms | 12,345 | 3 |" in page
    assert "| memcached | -0.35 % | 3.0x |" in page
    assert "](../examples/memcached/README.md) | 1.6.18 → 1.6.38 | 26 | 22,659 |" in page
    assert " | 230 |\n" in page
    assert "- tor: no source\n" in page


def test_an_unknown_program_is_refused_with_those_that_there_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        programs.main(["nginx"])
    assert "no such program: nginx; there are memcached, " in capsys.readouterr().err


def test_memory_grows_only_if_it_does_so_after_the_first_updates() -> None:
    assert not scenarios.grows([100_000, *[150_000] * 40])
    assert scenarios.grows([100_000, *range(150_000, 190_000, 1000)])
