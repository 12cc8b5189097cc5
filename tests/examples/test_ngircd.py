"""ngIRCd's scenario, from fetching to the last message; skipped where the source cannot be had."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import headless
import pages
import pytest

ROOT = Path(__file__).parents[2]
RELEASES = ROOT / "examples/ngircd/build/releases/ngircd"


@pytest.mark.fetch
def test_ngircd_becomes_its_next_version(
    tmp_path: Path, output_of: Callable[..., str], moved: Callable[[str], set[str]]
) -> None:
    out = output_of("ngircd", "--again=6")
    second, fields, same, *failing, again = out.split("\n\n")[1:9]
    assert second.startswith("27 to 28: ")
    assert fields.startswith("27 to 27+fields: ")
    assert "struct _Connection" in moved(fields)
    assert same.startswith("27 to 27+same: ")
    assert not moved(same), "an update to itself copies no object"
    assert " in place" in same
    ends = ("+wrong, rolled-back (K353)", "+broken, rolled-back (K354)",
            "+stuck, rolled-back (K356)", "+same, withdrawn (K361)")  # fmt: skip
    for update, end in zip(failing, ends, strict=True):
        assert update.startswith(f"27 to 27{end}: "), update
    assert again.startswith("27 to 27+fields and back, 6 times: ")
    if why := headless.missing():
        pytest.skip(f"ngIRCd was updated, but the page of its report was not looked at: {why}")
    with headless.started(tmp_path) as browser:
        look_at_the_reports(browser)


@pytest.mark.fetch
@pytest.mark.slow
def test_updates_at_any_moment_of_a_session(
    output_of: Callable[..., str], matrix_of: Callable[..., str]
) -> None:
    output_of("ngircd", "--again=0")  # builds the releases
    for version in ("28", "27+fields"):
        matrix_of("ngircd", version, "--cells=8")


@pytest.mark.fetch
@pytest.mark.slow
def test_its_own_tests_pass_while_it_is_updated(own_tests_of: Callable[..., str]) -> None:
    some = ("connect-test", "channel-test", "message-test", "server-link-test", "stress-server.sh")
    out = own_tests_of("ngircd", *some)
    assert "with updates the same of 9\n" in out, "with four that begin and end a server"


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
