"""Whatever goes wrong before the commit, the old version serves on with its state untouched.

One release fails in the place and the way that a file tells it; others are spoilt as files.
After each attempt the same process must answer as version 1, with a checksum over its values and
addresses that is the same as before, and the answer to the request must name the cause. Then the
same release, told not to fail, is taken.
"""

from __future__ import annotations

import re
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from elftools.elf.elffile import ELFFile

FOLDER = Path(__file__).parent / "rollback_when"
ITEMS = 1000
PLACES = {
    "constructor": "in a constructor",
    "prestart": "in the hook _kitsune_prestart_xform",
    "main": "in the new main",
    "rule": "while state was transformed",
    "migrated": "in the new main",
    "mainupdate": "in the hook _kitsune_mainupdate_xform",
}
"""Where a release can fail, and how the answer calls it."""
CRASHES = {
    "segv": ("K354", "SIGSEGV"),
    "bus": ("K354", "SIGBUS"),
    "fpe": ("K354", "SIGFPE"),
    "ill": ("K354", "SIGILL"),
    "abrt": ("K354", "SIGABRT"),
    "overflow": ("K355", "stack"),
    "loop": ("K356", "time limit"),
    "exit": ("K357", "exit"),
    "_exit": ("K357", "exit"),
}
SPOILING = {"spoil": ("K354", "SIGSEGV")}
ENDINGS = {"return": ("K358", "main"), "other": ("K356", "time limit")}
FAILURES = [
    *((place, way, *said) for place in PLACES for way, said in CRASHES.items()),
    *((place, way, *said) for place in list(PLACES)[1:] for way, said in SPOILING.items()),
    *(("main", way, *said) for way, said in ENDINGS.items()),
]
IDENTITY_ABI, IDENTITY_PROGRAM = 8, 16
"""Offsets of members in `struct kitsune_identity`."""


@pytest.mark.parametrize(
    ("place", "way", "code", "reason"), FAILURES, ids=[f"{f[0]}-{f[1]}" for f in FAILURES]
)
def test_rollback_when(  # noqa: PLR0917
    place: str,
    way: str,
    code: str,
    reason: str,
    built: Callable[..., Any],
    start: Callable[..., Any],
    tmp_path: Path,
) -> None:
    scenario = built(FOLDER)
    plan = tmp_path / "fail"
    server = start(scenario.release("1"), FAIL_FILE=str(plan))
    before = fill(server)
    plan.write_text(f"{place} {way}\n", encoding="ascii")
    answer = server.update(scenario.release("2"), "--limit-ms", "400")
    check_refused(server, before, answer, code, reason)
    assert way == "return" or PLACES[place] in answer.reason
    plan.unlink()
    assert server.update(scenario.release("2")).committed
    assert server.ask("state") == f"{ITEMS} {5 + 6 * ITEMS} added {ITEMS - 1}"


def test_100_failures_in_a_row_leave_nothing_behind(
    built: Callable[..., Any], start: Callable[..., Any], tmp_path: Path
) -> None:
    """Memory, mappings, descriptors and children are what they were after the first few."""
    scenario = built(FOLDER)
    plan = tmp_path / "fail"
    server = start(scenario.release("1"), FAIL_FILE=str(plan))
    before = fill(server)
    failures = [failure for failure in FAILURES if failure[1] not in {"loop", "other"}]
    for number in range(100):
        place, way, code, _ = failures[number * 7 % len(failures)]
        plan.write_text(f"{place} {way}\n", encoding="ascii")
        answer = server.update_now(scenario.release("2"))
        assert answer.code == code, answer.text
        if number == 9:
            held = holdings(server)
    assert server.ask("sum") == before
    memory_kb, *rest = holdings(server)
    assert memory_kb <= held[0] + 256
    assert rest == held[1:]
    plan.unlink()
    assert server.update(scenario.release("2")).committed


def holdings(server: Any) -> list[int]:
    """Return a server's own memory in KiB, the numbers of mappings, descriptors and children."""
    proc = Path(f"/proc/{server.pid}")
    mappings = (proc / "maps").read_text(encoding="utf-8").splitlines()
    children = (proc / f"task/{server.pid}/children").read_text(encoding="ascii").split()
    descriptors = list((proc / "fd").iterdir())
    return [server.resident_kb(), len(mappings), len(descriptors), len(children)]


def fill(server: Any) -> str:
    """Give the server state and return its checksum."""
    server.ask(f"add {ITEMS}")
    return str(server.ask("sum"))


def check_refused(server: Any, before: str, answer: Any, code: str, reason: str) -> None:
    """Check that nothing but the answer tells of the attempt."""
    assert not answer.committed, answer.text
    assert server.ask("version") == "1"
    assert server.ask("sum") == before
    assert server.is_running()
    assert answer.code == code, answer.text
    assert re.search(reason, answer.reason), answer.text


def spoilt(release: Path, directory: Path, change: Callable[[bytearray, int], None]) -> Path:
    """Return a copy of a release, changed; `change` gets its bytes and where the identity is."""
    copy = directory / "spoilt.so"
    with release.open("rb") as file:
        section = ELFFile(file).get_section_by_name("kitsune_identity")
        assert section is not None
        offset = int(section["sh_offset"])
    data = bytearray(release.read_bytes())
    change(data, offset)
    copy.write_bytes(data)
    return copy


def newer(data: bytearray, identity: int) -> None:
    data[identity + IDENTITY_ABI] += 1


def older(data: bytearray, identity: int) -> None:
    data[identity + IDENTITY_ABI] -= 1


def of_another_program(data: bytearray, identity: int) -> None:
    data[identity + IDENTITY_PROGRAM] = ord("x")


def without_magic(data: bytearray, identity: int) -> None:
    data[identity : identity + 8] = bytes(8)


def cut_off(data: bytearray, identity: int) -> None:
    del data[len(data) // 2 :]


def emptied(data: bytearray, identity: int) -> None:
    data.clear()


def no_elf(data: bytearray, identity: int) -> None:
    data[:4] = b"text"


@pytest.mark.parametrize(
    ("change", "codes"),
    [
        (newer, {"K343"}),
        (older, {"K342"}),
        (of_another_program, {"K344"}),
        (without_magic, {"K341"}),
        (cut_off, {"K341", "K348"}),
        (emptied, {"K341"}),
        (no_elf, {"K341"}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_refused_release(
    change: Callable[[bytearray, int], None],
    codes: set[str],
    built: Callable[..., Any],
    start: Callable[..., Any],
    tmp_path: Path,
) -> None:
    scenario = built(FOLDER)
    server = start(scenario.release("1"))
    before = fill(server)
    answer = server.update(spoilt(scenario.release("2"), tmp_path, change))
    check_refused(server, before, answer, answer.code, "")
    assert answer.code in codes, answer.text


def test_release_of_another_parent_is_refused(
    built: Callable[..., Any], start: Callable[..., Any]
) -> None:
    scenario = built(FOLDER)
    server = start(scenario.release("1"))
    before = fill(server)
    check_refused(server, before, server.update(scenario.release("3")), "K345", "does not follow")


def test_release_that_runs_already_changes_nothing(
    built: Callable[..., Any], start: Callable[..., Any]
) -> None:
    scenario = built(FOLDER)
    server = start(scenario.release("1"))
    before = fill(server)
    answer = server.update(scenario.release("1"))
    assert '"outcome": "already-running"' in answer.text
    assert server.ask("sum") == before


def test_release_that_is_not_there_is_refused(
    built: Callable[..., Any], start: Callable[..., Any], tmp_path: Path
) -> None:
    server = start(built(FOLDER).release("1"))
    before = fill(server)
    check_refused(server, before, server.update(tmp_path / "none.so"), "K304", "none.so")
    check_refused(server, before, server.update_now(tmp_path / "none.so"), "K340", "No such file")


def test_rollback_when_a_library_is_missing(
    built: Callable[..., Any], start: Callable[..., Any], tmp_path: Path
) -> None:
    """The release asks for a library that is not on this machine: only loading it shows that."""
    scenario = built(FOLDER)

    def rename_libc(data: bytearray, identity: int) -> None:
        at = data.index(b"libc.so.6\0")
        data[at : at + 9] = b"libx.so.6"

    server = start(scenario.release("1"))
    before = fill(server)
    answer = server.update(spoilt(scenario.release("2"), tmp_path, rename_libc))
    check_refused(server, before, answer, "K348", "libx.so.6")


def test_rollback_when_memory_is_exhausted(
    built: Callable[..., Any], start: Callable[..., Any], tmp_path: Path
) -> None:
    """The new main takes all memory there is; what is left is enough for the old version."""
    scenario = built(FOLDER)
    plan = tmp_path / "fail"
    server = start(scenario.release("1"), FAIL_FILE=str(plan))
    before = fill(server)
    plan.write_text("main greedy\n", encoding="ascii")
    size = int(Path(f"/proc/{server.pid}/statm").read_text(encoding="ascii").split()[0]) * 4096
    resource.prlimit(server.pid, resource.RLIMIT_AS, (size + (256 << 20), -1))
    answer = server.update(scenario.release("2"), "--limit-ms", "20000")
    check_refused(server, before, answer, answer.code, "")
    assert answer.code in {"K351", "K354"}, answer.text


def test_rollback_when_the_new_state_finds_no_memory(
    built: Callable[..., Any], start: Callable[..., Any]
) -> None:
    """There is none for a second copy of a big state; a smaller one then finds it."""
    scenario = built(FOLDER)
    server = start(scenario.release("1"))
    server.ask("add 500000")
    before = fill(server)
    size = int(Path(f"/proc/{server.pid}/statm").read_text(encoding="ascii").split()[0]) * 4096
    resource.prlimit(server.pid, resource.RLIMIT_AS, (size + (8 << 20), -1))
    answer = server.update(scenario.release("2"))
    check_refused(server, before, answer, "K351", "memory")
    resource.prlimit(server.pid, resource.RLIMIT_AS, (-1, -1))
    assert server.update(scenario.release("2")).committed


def test_file_that_is_overwritten_after_the_update_does_no_harm(
    built: Callable[..., Any], start: Callable[..., Any], tmp_path: Path
) -> None:
    scenario = built(FOLDER)
    copy = tmp_path / "release.so"
    shutil.copyfile(scenario.release("2"), copy)
    server = start(scenario.release("1"))
    fill(server)
    assert server.update(copy).committed
    copy.write_bytes(bytes(copy.stat().st_size))
    assert server.ask("version").startswith("2 | ")
