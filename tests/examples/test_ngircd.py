"""ngIRCd's scenario, from fetching to the last message; skipped where the source cannot be had."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import headless
import pages
import pytest

ROOT = Path(__file__).parents[2]
RELEASES = ROOT / "examples/ngircd/build/releases/ngircd"
NO_SOURCE = 3


@pytest.mark.fetch
def test_ngircd_becomes_its_next_version(tmp_path: Path) -> None:
    scenario = ROOT / "examples/ngircd/scenario.py"
    done = subprocess.run(
        [sys.executable, scenario], capture_output=True, text=True, timeout=1800, check=False
    )
    if done.returncode == NO_SOURCE:
        pytest.skip(done.stderr.strip().splitlines()[0])
    assert done.returncode == 0, done.stdout + done.stderr
    for update in ("27 to 28", "27 to 27+fields", "27 to 27+same"):
        assert f"{update}: " in done.stdout
    assert "LOST" not in done.stdout
    fields, _, same = done.stdout.partition("27 to 27+fields: ")[2].partition("27 to 27+same: ")
    assert "struct _Connection moved" in fields
    assert " moved" not in same, "an update to itself copies no object"
    assert " kept in place" in same
    if why := headless.missing():
        pytest.skip(f"ngIRCd was updated, but the page of its report was not looked at: {why}")
    with headless.started(tmp_path) as browser:
        look_at_the_reports(browser)


def look_at_the_reports(browser: headless.Browser) -> None:
    """Look at the pages of both releases: each type that changed, and each edit."""
    changed: dict[str, set[str]] = {
        "28": set(),
        "27+fields": {"struct _CLIENT", "struct _Connection"},
    }
    for version, names in changed.items():
        data = pages.check(browser, RELEASES / version / "report.html", f"ngircd-{version}")
        assert {t["name"] for t in data["types"] if t["change"] != "same"} == names
        actions = {edit["action"] for edit in data["edits"]}
        assert actions == {"update_point", "insert", "guard"} | ({"field"} if names else set())
