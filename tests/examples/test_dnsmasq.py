"""dnsmasq's scenario: two real updates, failing ones, to itself; skipped where it cannot be."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

FAST = "--cflags=-O1"
Moved = Callable[[str], set[str]]


@pytest.mark.fetch
def test_dnsmasq_becomes_its_next_versions_and_itself(
    output_of: Callable[..., str], moved: Moved
) -> None:
    out = output_of("dnsmasq", FAST, "--names=30", "--again=6")
    assert re.search(r"queries: [1-9]\d* sent, 0 failed\n", out), out
    assert "had to ask again for: 0\n" in out
    first, second, *failing, same = out.split("\n\n")[1:8]
    assert first.startswith("2.90 to 2.91: "), first
    assert moved(first) >= {"struct frec", "struct server"}
    assert second.startswith("2.91 to 2.93: "), second
    assert moved(second) >= {
        "struct crec", "struct dhcp_lease", "struct dnsmasq_daemon", "struct server",
        "struct tftp_file", "struct tftp_transfer",
    }  # fmt: skip
    whats = ("+wrong, undone (K353)", "+broken, undone (K354)", "+stuck, undone (K356)",
             "+same, given up (K361)")  # fmt: skip
    for update, what in zip(failing, whats, strict=True):
        assert update.startswith(f"2.93 to 2.93{what}: "), update
    assert same.startswith("2.93 to itself and back, 6 updates: "), same
    assert "objects copied: 0 of 0\n" in same
    assert not moved(same)


@pytest.mark.fetch
@pytest.mark.slow
def test_a_question_that_the_old_version_does_not_keep_is_answered_when_it_is_repeated(
    output_of: Callable[..., str],
) -> None:
    out = output_of("dnsmasq", FAST, "--names=10", "--again=0", "--plain", "--in-flight=3")
    assert "had to ask again for: 3\n" in out


@pytest.mark.fetch
@pytest.mark.slow
def test_updates_at_any_moment_of_a_session(
    output_of: Callable[..., str], matrix_of: Callable[..., str]
) -> None:
    output_of("dnsmasq", FAST, "--names=10", "--again=0")  # builds the releases
    for version in ("2.91", "2.93"):
        matrix_of("dnsmasq", version, "--cells=8")
