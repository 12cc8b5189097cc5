"""The text of `status`, and of its changes."""

import contextlib
import io

from kitsune_tool import status


def answer(**changes: object) -> status.Answer:
    return {
        "program": "kvd",
        "pid": 7,
        "version": "1.0",
        "build_id": "aa",
        "since": 0,
        "state": "idle",
        "images": [{"version": "1.0", "build_id": "aa", "file": "/s/1.so"}],
        "updates": [],
        **changes,
    }


UPDATED = {
    "serial": 1, "at": 0, "from": "1.0", "to": "2.0", "outcome": "updated", "pause_ns": 1_500_000,
    "objects": 3, "old_image": "",
}  # fmt: skip
OLD = {"version": "1.0", "build_id": "aa", "file": "/s/1.so"}
NEW = {"version": "2.0", "build_id": "bb", "file": "/s/2.so"}


def test_threads_memory_and_old_images_are_told() -> None:
    threads = [
        {"tid": 7, "name": "kvd", "state": "sleeping", "call": "poll", "point": "main", "seen": 0},
        {"tid": 8, "name": "w", "state": "running"},
    ]
    memory = {"resident_kb": 30, "own_kb": 20, "old_images_kb": 4}
    lines = list(
        status.lines_of(
            answer(build_id="bb", images=[NEW, OLD], threads=threads, memory=memory, thread_count=5)
        )
    )
    assert lines[1:4] == [
        "  memory 30 kB, 20 kB its own, 4 kB old code",
        "  still mapped: version 1.0, /s/1.so",
        lines[3],
    ]
    assert lines[3].startswith("  thread 7 'kvd' is sleeping in poll, last at 'main' ")
    assert lines[4:] == [
        "  thread 8 'w' is running, at no update point yet",
        "  and 3 more threads",
    ]


def test_changes_are_lines() -> None:
    first = answer()
    assert next(status.changes([], [first])).startswith("kvd (7): version 1.0 since ")
    assert list(status.changes([first], [first])) == []
    busy = answer(state="updating")
    assert list(status.changes([first], [busy])) == ["kvd (7): updating"]
    done = answer(version="2.0", build_id="bb", updates=[UPDATED], images=[NEW, OLD])
    (line,) = status.changes([first], [done])
    assert line.startswith("kvd (7): ")
    assert line.endswith("1.0 → 2.0: updated, 3 objects, pause 1.5 ms")
    unloaded = {**UPDATED, "old_image": "unloaded"}
    later = answer(version="2.0", build_id="bb", updates=[unloaded], images=[NEW])
    lines = list(status.changes([done], [later]))
    assert lines[0].endswith(", old image unloaded")
    assert lines[1:] == ["kvd (7): version 1.0 is not mapped any more"]
    assert list(status.changes([later], [])) == ["kvd (7): ended, or is not under control any more"]


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_view_that_is_overwritten() -> None:
    answers = iter([[answer()], []])
    terminal = _Terminal()
    with contextlib.suppress(StopIteration):
        status.watch(lambda: next(answers), terminal, 0)
    views = terminal.getvalue().split("\x1b[H")
    assert "kvd (7): version 1.0" in views[1]
    assert views[2].startswith("no program is under control\x1b[K\n\x1b[J")
