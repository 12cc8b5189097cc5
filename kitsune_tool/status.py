"""What programs say of themselves → text: once, as a view that is kept up to date, or as changes.

In: answers to `status`, as channel.py gets them. Out: lines. Called by control.py, which asks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, TextIO

Answer = dict[str, Any]

_TO_TOP = "\x1b[H"
_CLEAR_LINE = "\x1b[K"
_CLEAR_BELOW = "\x1b[J"
_SHOWN_THREADS = 64


def who(answer: Answer) -> str:
    """Return a program's name and process id."""
    return f"{answer.get('program', '?')} ({answer.get('pid', '?')})"


def ms(duration_ns: Any) -> str:
    """Return a duration as milliseconds."""
    return f"{duration_ns / 1e6:.1f} ms"


def lines_of(answer: Answer) -> Iterator[str]:
    """Yield the lines that tell a program's state, its history last."""
    since = _clock(answer.get("since", 0))
    yield f"{who(answer)}: version {answer.get('version')} since {since}, {answer.get('state')}"
    if memory := answer.get("memory"):
        old = f", {memory['old_images_kb']} kB old code" if memory.get("old_images_kb") else ""
        yield f"  memory {memory['resident_kb']} kB, {memory['own_kb']} kB its own{old}"
    yield from _images(answer)
    threads = answer.get("threads", [])
    for thread in threads[:_SHOWN_THREADS]:
        yield f"  {_thread(thread)}"
    if (count := answer.get("thread_count", 0)) > len(threads[:_SHOWN_THREADS]):
        yield f"  and {count - len(threads[:_SHOWN_THREADS])} more threads"
    for update in answer.get("updates", []):
        yield f"  {past(update)}"
    yield from _children(answer)


def _images(answer: Answer) -> Iterator[str]:
    """Yield what images that ran before are still mapped, and why as far as that is known."""
    for image in answer.get("images", []):
        if image.get("words") is not None:
            yield from _held(image)
        elif image.get("build_id") != answer.get("build_id"):
            yield f"  still mapped: version {image['version']}, {image['file']}"


def _held(image: Answer) -> Iterator[str]:
    size_kb = (image["end"] - image["start"]) // 1024
    yield f"  version {image['version']} stays, {size_kb} KB: {image['words']} words point into it"
    for word in image["first"]:
        at = f" at {word['at']:#x}" if word["at"] else ""
        yield f"    {word['in']}{at} → {word['to']}"
    if len(image["first"]) < image["words"]:
        yield f"    and {image['words'] - len(image['first'])} more"
    if image["code"] != "runs" or image["calls"]:
        yield f"    calls of its functions are {image['code']}; so far {image['calls']}"


def _children(answer: Answer) -> Iterator[str]:
    """Yield the processes that a program forked, each below its parent."""
    children = answer.get("children", [])
    pids = {child["pid"] for child in children}

    def below(parent: int, depth: int) -> Iterator[str]:
        for child in children:
            # One whose own parent has ended is shown below the program.
            above = child["parent"] if child["parent"] in pids else answer.get("pid")
            if above == parent:
                line = f"child {child['pid']}: version {child['version']}, {child['state']}"
                yield "  " * depth + line
                yield from below(child["pid"], depth + 1)

    yield from below(answer.get("pid", 0), 1)
    if answer.get("left_out"):
        yield f"  children that cannot be updated: {answer['left_out']}"


def _thread(thread: Answer) -> str:
    call = f" in {thread['call']}" if thread.get("call") else ""
    text = f"thread {thread['tid']} '{thread['name']}' is {thread['state']}{call}"
    if not thread.get("point"):
        return f"{text}, at no update point yet"
    return f"{text}, last at '{thread['point']}' {_clock(thread['seen'])}"


def past(update: Answer) -> str:
    """Return an entry of the history as a line."""
    start = f"{_clock(update['at'])}  {update['from']} → {update['to'] or '?'}"
    if update["outcome"] != "updated":
        return f"{start}: failed [{update['code']}]: {update['reason']}"
    image = f", old image {update['old_image']}" if update["old_image"] else ""
    pause = f"{update['objects']} objects, pause {ms(update['pause_ns'])}"
    return f"{start}: updated, {pause}{image}"


def _clock(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


# -- kept up to date -----------------------------------------------------------------------------


def watch(ask: Callable[[], list[Answer]], output: TextIO, interval_s: float) -> None:
    """Show what `ask` returns, again and again, until a KeyboardInterrupt (which goes on).

    On a terminal the whole view is shown; elsewhere first the state, then a line for each change.
    """
    before: list[Answer] = []
    while True:
        now = ask()
        if output.isatty():
            _show_view(now, output)
        else:
            output.writelines(f"{line}\n" for line in changes(before, now))
        output.flush()
        before = now
        time.sleep(interval_s)


def _show_view(answers: list[Answer], output: TextIO) -> None:
    lines = [line for answer in answers for line in lines_of(answer)]
    text = f"{_CLEAR_LINE}\n".join(lines or ["no program is under control"])
    output.write(f"{_TO_TOP}{text}{_CLEAR_LINE}\n{_CLEAR_BELOW}")


def changes(before: list[Answer], now: list[Answer]) -> Iterator[str]:
    """Yield a line for each difference that an operator would want to know.

    These are programs that come and go, states, updates that ended, and old images that went.
    """
    known = {answer["pid"]: answer for answer in before}
    for answer in now:
        old = known.pop(answer["pid"], None)
        if old is None:
            yield next(lines_of(answer))
        else:
            yield from _changes_of(old, answer)
    for gone in known.values():
        yield f"{who(gone)}: ended, or is not under control any more"


def _changes_of(old: Answer, new: Answer) -> Iterator[str]:
    seen = {update["serial"]: update for update in old.get("updates", [])}
    for update in new.get("updates", []):
        if update != seen.get(update["serial"]):
            yield f"{who(new)}: {past(update)}"
    if old.get("state") != new.get("state"):
        yield f"{who(new)}: {new.get('state')}"
    kept = {image["build_id"] for image in new.get("images", [])}
    for image in old.get("images", []):
        if image["build_id"] not in kept:
            yield f"{who(new)}: version {image['version']} is not mapped any more"
