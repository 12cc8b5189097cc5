"""What the page on the example programs counts and shows."""

from __future__ import annotations

import json
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
    assert "| memcached | 7,000 items | 4,000 | 3 | 2.0 ms | 9.0 ms | 12,345 | 3 |" in page
    assert "| memcached | -0.35 % | 3.0x |" in page
    assert "](../examples/memcached/README.md) | 1.6.18 → 1.6.38 | 26 | 22,659 |" in page
    assert " | 230 |\n" in page
    assert "- tor: no source\n" in page


def test_only_manifests_above_a_third_of_the_originals_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "served").mkdir()
    (tmp_path / "served/kitsune.yaml").write_text(MANIFEST, encoding="utf-8")
    lines = scenarios.manifest_of(tmp_path / "served").lines
    monkeypatch.setattr(programs, "EXAMPLES", tmp_path)

    def told(original: int) -> str:
        served = programs.Program(
            ("1",), (), "served", original_lines=original, why_longer="which says much"
        )
        monkeypatch.setattr(programs, "PROGRAMS", {"served": served})
        return programs.page([], [])

    assert "are the manifests of:\n\n- served, which says much.\n" in told(3 * lines - 1)
    assert "which says much" not in (page := told(3 * lines))
    assert "No manifest is longer than a third" in page


def test_a_manifest_above_a_third_of_the_originals_has_a_reason() -> None:
    for name, program in programs.PROGRAMS.items():
        lines = scenarios.manifest_of(programs.EXAMPLES / name).lines
        if 0 < program.original_lines < 3 * lines:
            assert program.why_longer, f"{name}: {lines} lines, of {program.original_lines}"


def test_an_unknown_program_is_refused_with_those_that_there_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        programs.main(["nginx"])
    assert "no such program: nginx; there are memcached, " in capsys.readouterr().err


def test_what_is_lost_of_one_program_does_not_keep_the_others_from_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("memcached", "redis", "tor"):
        (tmp_path / "examples" / name).mkdir(parents=True)
    scripts = tmp_path / "examples"
    (scripts / "memcached/own_tests.py").write_text("raise SystemExit(1)\n")
    (scripts / "redis/own_tests.py").write_text("raise SystemExit(3)\n")
    own = scenarios.OwnTests(34, 1021, 33, 512, {"unit/tls": "TLS is not built"})
    text = json.dumps(asdict(own))
    (scripts / "tor/own_tests.py").write_text(
        f"import sys, pathlib\npathlib.Path(sys.argv[2]).write_text({text!r})\n"
    )
    monkeypatch.setattr(programs, "ROOT", tmp_path)
    monkeypatch.setattr(programs, "EXAMPLES", scripts)
    monkeypatch.setattr(programs, "FIGURES", tmp_path / "figures")
    monkeypatch.setattr(programs, "PAGE", tmp_path / "page.md")
    monkeypatch.setattr(programs, "_said_sum", str)
    assert programs.main(["--own-tests", "memcached", "redis", "tor"]) == 1
    assert "LOST: memcached: memcached's own_tests.py has failed" in capsys.readouterr().out
    page = (tmp_path / "page.md").read_text()
    assert "| tor | 34 | 1,021 | 33 | 512 |" in page
    assert "- tor: unit/tls: TLS is not built\n" in page
    assert "| memcached | not run in this place |" in page
    assert "- redis: redis's own_tests.py cannot be run here now\n" in page
    assert programs.main(["--own-tests", "redis"]) == scenarios.NOT_HERE
    assert programs.main(["--own-tests", "tor"]) == 0


def test_memory_grows_only_if_it_does_so_after_the_first_updates() -> None:
    assert not scenarios.grows([100_000, *[150_000] * 40])
    assert scenarios.grows([100_000, *range(150_000, 190_000, 1000)])
