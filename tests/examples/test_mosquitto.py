"""mosquitto's scenario, with fewer messages and updates; skipped where it cannot be run."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

TIMEOUT_S = 3600
OWN_TESTS = (
    "02-subpub-qos2",
    "04-retain-check-source",
    "05-session-expiry-v5",
    "06-bridge-clean-session-csF-lcsF",
    "08-ssl-hup-disconnect",
    "09-acl-change",
)


@pytest.mark.fetch
@pytest.mark.slow
def test_mosquitto_becomes_its_next_version_and_itself(
    output_of: Callable[..., str],
    moved: Callable[[str], set[str]],
    matrix_of: Callable[..., str],
) -> None:
    options = ("--cflags=-O1", "--retained=3000", "--idle=20", "--publishers=6", "--again=12")
    out = output_of("mosquitto", *options)
    assert re.search(r"messages: [1-9]\d* sent, 0 failed\n", out), out
    first, broken, stuck, again = re.split(r"\n\n", out)[1:5]
    assert first.startswith("2.0.11 to 2.0.21: "), out
    assert moved(first) >= {"struct mosquitto", "struct mosquitto_client_msg"}
    assert "retained messages: 3000 of 3000" in first
    assert broken.startswith("2.0.21 to 2.0.21+broken, undone (K354): "), broken
    assert stuck.startswith("2.0.21 to 2.0.21+stuck, undone (K356): "), stuck
    assert not moved(again), again
    moments = [f"--at=broker:{number}" for number in range(1, 60, 8)]
    matrix_of("mosquitto", "2.0.21", *moments)


@pytest.mark.fetch
@pytest.mark.slow
@pytest.mark.timeout(TIMEOUT_S)
def test_its_own_tests_pass_while_it_is_updated(own_tests_of: Callable[..., str]) -> None:
    out = own_tests_of("mosquitto", *OWN_TESTS)
    both = re.findall(r"^(\d+) tests .* the same of (\d+)$", out, re.MULTILINE)
    assert both == [(str(len(OWN_TESTS)),) * 2] * 2, out
    updated = re.findall(r"^requests: .*?(\d+) updated$", out, re.MULTILINE)
    assert all(int(count) >= len(OWN_TESTS) for count in updated), out
