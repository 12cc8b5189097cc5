"""Requests are answered once, in order, and a repeated one changes nothing."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from attack.harness import Fortress, fortress

Ledger = tuple[Path, Path]


@pytest.fixture
def server(ledger: Ledger, tmp_path: Path) -> Iterator[Fortress]:
    with fortress(ledger[0], tmp_path) as running:
        yield running


def word(answer: dict[str, Any]) -> str:
    return str(answer.get("code") or answer.get("outcome") or answer["event"])


def test_a_clients_requests_are_answered_in_order(server: Fortress, ledger: Ledger) -> None:
    """All are sent at once."""
    update = f"update {quote(str(ledger[1]))}"
    lines = ["status", "what", "update /nowhere", update, update, "status", "", update]
    with server.connect() as connection:
        connection.sendall("".join(line + "\n" for line in lines).encode())
        file = connection.makefile("rb")
        found: list[dict[str, Any]] = []
        while sum(answer["event"] == "done" for answer in found) < len(lines):
            found.append(json.loads(file.readline()))
    assert [word(answer) for answer in found] == [
        *("status", "K364", "K340", "checked", "requested", "updated"),
        *("already-running", "status", "K364", "already-running"),
    ]
    versions = [answer["version"] for answer in found if word(answer) == "status"]
    assert versions == ["1", "2"]
    server.unharmed("2")


def test_one_of_many_requests_is_carried_out(server: Fortress, ledger: Ledger) -> None:
    """A deployment that is started twelve times updates once; each of them is told what is."""
    found: list[str] = []
    ready = threading.Barrier(12)

    def ask() -> None:
        with server.connect() as connection:
            ready.wait(60)
            connection.sendall(f"update {quote(str(ledger[1]))}\n".encode())
            file = connection.makefile("rb")
            answer: dict[str, Any] = {"event": ""}
            while answer["event"] != "done":
                answer = json.loads(file.readline())
            found.append(str(answer["outcome"]))

    threads = [threading.Thread(target=ask) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    counts = Counter(found)
    assert counts["updated"] == 1, counts
    assert counts["updated"] + counts["busy"] + counts["already-running"] == 12
    assert [update["outcome"] for update in server.status()["updates"]] == ["updated"]
    assert server.update(ledger[1])["outcome"] == "already-running"
    server.unharmed("2")


def test_a_request_whose_answer_nobody_waits_for_can_be_repeated(
    server: Fortress, ledger: Ledger
) -> None:
    """Whether it was withdrawn or carried out, the next one leads to the same end."""
    for _ in range(20):
        with server.connect() as connection:
            connection.sendall(f"update {quote(str(ledger[1]))}\n".encode())
    answer = {"outcome": "busy"}
    while answer["outcome"] == "busy":
        answer = server.update(ledger[1])
    assert answer["outcome"] in ("updated", "already-running"), answer
    outcomes = Counter(update["outcome"] for update in server.status()["updates"])
    assert outcomes["updated"] == 1
    server.unharmed("2")
