"""The ways to fail: what is done, and what the answer to the request must say of it.

Most happen in the new version's code (`Inside`, see program/common/ways.h), at a place of its way
to the update point. Others are a release that is no good, state that cannot be carried over, a
program that does not arrive, or somebody who disturbs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from failures import build

SHORT_MS = 250
LONG_MS = 30_000
ANYWHERE = "one", "threads", "children", "child"
PLACES = {
    "constructor": r"in a constructor",
    "prestart": "in the hook _kitsune_prestart_xform",
    "main": "in the new main",
    "rule": "while state was transformed",
    "migrated": "in the new main",
    "mainupdate": "in the hook _kitsune_mainupdate_xform",
    "worker": "in the new version's thread 'serve_worker'",
}
"""Where the new version can fail, and how the answer calls it."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way to fail; `codes` and `reason` (a pattern) are what may be answered.

    `place` and `what` go to the file that the new version reads. `spoil` changes the release;
    `before` and `after` are requests to the server; `act` is a function of act.py. `note` is what
    the answer says (a pattern) that it could not undo.
    """

    name: str
    codes: frozenset[str]
    reason: str
    place: str = ""
    what: str = ""
    spoil: build.Spoiler | None = None
    before: str = ""
    after: str = ""
    act: str = ""
    note: str = ""
    limit_ms: int = LONG_MS
    wait_ms: int = LONG_MS
    kinds: tuple[str, ...] = field(default=ANYWHERE)


def inside(what: str, code: str, reason: str, *places: str, limit_ms: int = LONG_MS) -> list[Way]:
    """Return a way of the new version's code at each of these places (default: in main)."""
    return [
        Way(
            f"{what if what.startswith('_') else what.replace('_', ' ')}, {place}",
            frozenset(code.split()),
            f"{reason}.*{PLACES[place]}" if PLACES[place] else reason,
            place,
            what,
            limit_ms=limit_ms,
            kinds=("threads",) if place == "worker" else ANYWHERE,
        )
        for place in (places or ("main",))
    ]


def crashes(what: str, signal: str, *places: str) -> list[Way]:
    """Return a way that ends in a signal."""
    return inside(what, "K354", signal, *places)


def waits(what: str, *places: str) -> list[Way]:
    """Return a way that lasts for ever."""
    return inside(what, "K356", "the time limit ran out", *places, limit_ms=SHORT_MS)


def ends(what: str, call: str, *places: str) -> list[Way]:
    """Return a way that would end the process or thread."""
    return inside(what, "K357", call, *places)


SEGV, ABRT = "SIGSEGV", "SIGABRT"
EVERYWHERE = tuple(PLACES)


def _lost() -> Iterator[Way]:
    """First of all: what the new version has mapped then stays, and later growth is looked at."""
    yield Way(
        "the snapshot is killed during the update",
        frozenset({"K356"}),
        "",
        "main",
        "wait_asleep",
        act="kill_snapshot",
        note="the snapshot was lost",
        limit_ms=2 * SHORT_MS,
    )


def _crashes() -> Iterator[Way]:
    yield from crashes("segv", SEGV, *EVERYWHERE)
    yield from crashes("bus", "SIGBUS", *EVERYWHERE)
    yield from crashes("fpe", "SIGFPE", *EVERYWHERE)
    yield from crashes("ill", "SIGILL", *EVERYWHERE)
    yield from crashes("abrt", ABRT, *EVERYWHERE)
    yield from crashes("trap", "SIGTRAP")
    yield from crashes("raise_sys", "SIGSYS")
    for what in (
        "call_null", "jump_wild", "write_beyond_addresses", "write_constant", "run_data",
        "privileged", "raise_segv", "smash_stack", "jump_over_guard", "jump_by_garbage",
        "crash_in_sort", "crash_in_once", "crash_in_library",
    ):  # fmt: skip
        yield from crashes(what, SEGV)
    for what in (
        "fail_assertion", "__stack_chk_fail", "overrun_checked_buffer", "overrun_checked_text",
    ):  # fmt: skip
        yield from crashes(what, ABRT)
    yield from crashes("crash_with_linkers_lock", SEGV, "main", "worker")
    yield from crashes("crash_in_atfork", SEGV)
    yield from inside("overflow", "K355", "stack overflow", *EVERYWHERE)


def _heap() -> Iterator[Way]:
    for what in ("free_twice", "grow_wrong_block"):
        yield from crashes(what, ABRT)
    for what in ("free_middle", "free_mapped"):
        yield from crashes(what, f"{ABRT}|{SEGV}")
    # libc looks for the block's neighbours, which may lie in the stack's guard.
    yield from inside("free_stack", "K354 K355", f"{ABRT}|{SEGV}|stack overflow")
    yield from crashes("break_top", ABRT, "main", "rule", "worker")
    yield from crashes("poison_list", f"{ABRT}|{SEGV}")
    yield from crashes("break_free_block", f"{ABRT}|{SEGV}", "main", "worker")


def _ends() -> Iterator[Way]:
    yield from ends("exit", r"called exit\(3\)", *EVERYWHERE)
    yield from ends("_exit", r"called _exit\(3\)", *EVERYWHERE)
    yield from ends("end_by_Exit", r"called _Exit\(3\)")
    yield from ends("end_quickly", r"called quick_exit\(3\)")
    yield from ends("end_by_errx", r"a library called exit\(3\)", "main", "worker")
    yield from ends("end_by_error", r"a library called exit\(3\)")
    yield from ends("end_by_pthread_exit", r"called pthread_exit\(\)", "main", "worker")
    yield from ends("end_by_thrd_exit", r"called thrd_exit\(\)", "main", "worker")
    yield from ends("end_by_cancellation", "", "main", "worker")
    yield from ends("end_in_exit_handler", r"called exit\(3\)")
    yield from ends("end_by_syscall", r"called syscall\(SYS_exit_group, 3\)")
    yield from ends("end_thread_by_syscall", r"called syscall\(SYS_exit, 3\)", "worker")
    yield Way("main returns", frozenset({"K358"}), "main returned 0", "main", "return")
    yield Way(
        "start function returns",
        frozenset({"K358"}),
        "start function returned before",
        "worker",
        "return",
        kinds=("threads",),
    )
    for what, call in (
        ("call_execve", "execve"), ("call_execlp", "execvp"), ("call_daemon", "daemon"),
        ("create_thread", "pthread_create"), ("create_c11_thread", "thrd_create"),
    ):  # fmt: skip
        yield from inside(what, "K359", rf"called {call}\(\)")
    yield from inside("execute_by_syscall", "K359", r"called syscall\(SYS_execve\)")


def _waits() -> Iterator[Way]:
    yield from waits("loop", "constructor", "main", "rule", "worker")
    yield Way(
        "goes on to another point",
        frozenset({"K356"}),
        "the time limit ran out",
        "main",
        "other",
        limit_ms=SHORT_MS,
    )
    for what in (
        "loop_in_malloc", "loop_in_stdio", "loop_in_kernel", "loop_with_all_blocked",
        "loop_blocked_by_syscall",
        "wait_in_read", "wait_in_write", "wait_in_recv", "wait_in_poll", "wait_in_select",
        "wait_in_epoll", "wait_for_condition", "wait_for_own_mutex", "wait_for_rwlock",
        "wait_for_semaphore", "wait_for_barrier", "wait_for_futex", "wait_for_signal",
        "wait_asleep", "wait_for_child", "wait_for_client",
    ):  # fmt: skip
        yield from waits(what)


def _messes() -> Iterator[Way]:
    for what in (
        "after_ignoring", "after_handling", "after_altstack",
        "after_signals_to_itself", "after_closing_all", "after_covering_all", "after_opening",
        "after_changing_flags", "after_unwatching", "after_filling_pipe", "after_broken_pipe",
        "after_chdir", "after_locale", "after_environment", "after_clearing_environment",
        "after_timers", "after_keys", "after_registering", "after_stdio", "with_stdio_lock",
        "with_old_lock", "after_rounding", "after_limits", "after_growing_break", "after_unmapping",
        "after_protecting", "after_covering", "after_discarding", "after_moving_memory",
        "after_mapping", "after_rewriting_old_code",
    ):  # fmt: skip
        yield from crashes(what, SEGV)
    yield from crashes("after_shrinking_break", f"{ABRT}|{SEGV}")
    yield from crashes("spoil", SEGV, *list(PLACES)[1:])
    for what in ("after_renaming", "after_affinity", "after_blocking"):
        yield from crashes(what, SEGV, "main", "worker")
    yield Way(
        "after fork, main",
        frozenset({"K354"}),
        SEGV,
        "main",
        "after_fork",
        note="started a process",
    )


def _old_code() -> Iterator[Way]:
    old = "went back into the code of the old one"
    for what in ("call_old_code", "jump_to_old_frame"):
        yield Way(f"{what.replace('_', ' ')}, main", frozenset({"K358"}), old, "main", what)
    yield from inside("arrive_too_early", "K359", "", "prestart", "rule", "mainupdate")


def _shortages() -> Iterator[Way]:
    yield from inside("use_up_descriptors", "K357", r"a library called exit\(3\)")
    yield from inside("use_up_mappings", "K354 K351", "")
    both = frozenset({"K351", "K354"})
    memory = "memory"
    yield Way("no memory for the new main", both, memory, "main", "greedy", act="little_memory")
    yield Way("no memory for an update at all", both, memory, act="no_memory")
    room = "the release cannot be copied: File too large"
    yield Way("no room for a copy of the release", frozenset({"K340"}), room, act="no_room")
    yield Way("no descriptor for the release", frozenset({"K366"}), "", act="no_descriptors")


def _spoilt() -> Iterator[Way]:
    for spoil, codes in (
        (build.newer, "K343"),
        (build.older, "K342"),
        (build.of_another_program, "K344"),
        (build.without_magic, "K341"),
        (build.cut_off, "K341 K348"),
        (build.emptied, "K341"),
        (build.no_elf, "K341"),
        (build.of_another_parent, "K345"),
        (build.without_library, "K348"),
        (build.without_symbol, "K348"),
    ):
        name = f"release {spoil.__name__.replace('_', ' ')}"
        yield Way(name, frozenset(codes.split()), "", spoil=spoil)
    for act, code, reason in (
        ("first_release", "K345 K347", ""),
        ("wrong_layout", "K346", "other types"),
        ("missing_file", "K340", "No such file"),
        ("directory", "K360 K340", ""),
        ("writable_file", "K360", ""),
        ("pipe", "K360", ""),
        ("malformed_request", "K364", ""),
        ("unknown_request", "K364", ""),
        ("oversized_request", "K364", ""),
    ):
        yield Way(act.replace("_", " "), frozenset(code.split()), reason, act=act)


def _state() -> Iterator[Way]:
    for what, reason in (
        ("gone", "the function 'main.c/gone', which the new version does not have"),
        ("dropped", "'main.c/dropped'"),
        ("nowhere", "where there is no memory"),
        ("stack", "on the stack of the old version"),
        ("count", "which no memory can hold|where there is no memory"),
        ("middle", ""),
    ):
        name = f"state that cannot be carried over: {what}"
        yield Way(name, frozenset({"K353"}), reason, before=f"set {what}", after="set nothing")


def _arrivals() -> Iterator[Way]:
    late = frozenset({"K361"})
    yield Way("main waits in flock", late, "flock", act="stall", wait_ms=SHORT_MS)
    yield Way("main loops", late, "it is running|spin", act="spin", wait_ms=SHORT_MS)
    for what, reason in (("lock", "waits for the lock"), ("loop", "it runs")):
        yield Way(
            f"a thread does not arrive: {what}",
            late,
            reason,
            before=f"set {what}",
            after="set nothing",
            act="astray",
            wait_ms=SHORT_MS,
            kinds=("threads",),
        )
    yield Way(
        "a thread of a library",
        frozenset({"K349"}),
        "was not made by the program's own code",
        before="set library",
        after="set no library",
    )


def _disturbances() -> Iterator[Way]:
    yield Way("client goes away", frozenset({"K361"}), "went away", act="client_leaves")
    yield Way("helper is killed before", frozenset({"K362", "K300", "K303"}), "", act="kill_helper")
    yield Way(
        "helper is killed during the update",
        frozenset({"K356", "K303"}),
        "",
        "main",
        "wait_asleep",
        act="kill_helper_during",
        limit_ms=2 * SHORT_MS,
    )
    yield Way(
        "second request meanwhile",
        frozenset({"K350"}),
        "",
        "main",
        "wait_asleep",
        act="second_request",
        limit_ms=2 * SHORT_MS,
    )


WAYS: tuple[Way, ...] = tuple(
    way
    for group in (
        _lost, _spoilt, _crashes, _heap, _ends, _waits, _messes, _old_code, _shortages, _state,
        _arrivals, _disturbances,
    )
    for way in group()
)  # fmt: skip
