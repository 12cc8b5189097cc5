"""The commands for running programs: `run`, `update`, `rollback`, `status`.

In: parsed options; out: text or JSON lines on standard output, and an exit status that tells each
outcome apart (`OUTCOMES`). Called by cli.py, which registers them through `add_parsers`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kitsune_tool import channel, limits, lines, status
from kitsune_tool.channel import Answer
from kitsune_tool.errors import (
    EXIT_BUG,
    EXIT_DONE,
    EXIT_INPUT_WRONG,
    EXIT_USAGE,
    KitsuneError,
)
from kitsune_tool.status import ms, who

if TYPE_CHECKING:
    from kitsune_tool.probation import Failure

    _Parsers = argparse._SubParsersAction[argparse.ArgumentParser]

EXIT_REJECTED = 10
EXIT_ROLLED_BACK = 11
EXIT_WITHDRAWN = 12
EXIT_NO_CHANNEL = 13
EXIT_BUSY = 14
EXIT_ENDED = 15
EXIT_REFUSED = 16
EXIT_TAKEN_BACK = 17
EXIT_UNHEALTHY = 18
EXIT_REHEARSAL_FAILED = 19

OUTCOMES = {
    "updated": EXIT_DONE,
    "already-running": EXIT_DONE,
    "rejected": EXIT_REJECTED,
    "rolled-back": EXIT_ROLLED_BACK,
    "refused": EXIT_REFUSED,
    "withdrawn": EXIT_WITHDRAWN,
    "busy": EXIT_BUSY,
    "taken-back": EXIT_TAKEN_BACK,
    "unhealthy": EXIT_UNHEALTHY,
    "rehearsed": EXIT_DONE,
    "rehearsal-failed": EXIT_REHEARSAL_FAILED,
}
"""Exit statuses of an update's outcomes; "error" is told apart by its code."""

_ERRORS = {
    "K300": EXIT_NO_CHANNEL,
    "K302": EXIT_NO_CHANNEL,
    "K303": EXIT_NO_CHANNEL,
    "K363": EXIT_ENDED,
    "K364": EXIT_BUG,
    "K365": EXIT_NO_CHANNEL,
    "K368": EXIT_NO_CHANNEL,
}
_SHOWN_TYPES = 8
_DEFAULT_WAIT_MS = 10_000
_DEFAULT_LIMIT_MS = 600_000
"""How long a transaction may take as far as the client is concerned; the launcher's is shorter."""
_MARGIN_S = 30.0
_NOTING_S = 0.05
_WATCH_INTERVAL_MS = 1000


def add_parsers(parsers: _Parsers) -> None:
    """Register the commands of this module."""
    _add_run(parsers)
    _add_update(parsers)
    _add_rollback(parsers)
    _add_status(parsers)
    _add_gdb(parsers)


def _add_run(parsers: _Parsers) -> None:
    parser = parsers.add_parser("run", help="start a program from one of its releases")
    parser.add_argument(
        "--public-key",
        action="append",
        default=[],
        metavar="FILE",
        help="accept only releases that this key of minisign has signed (several: one of them)",
    )
    parser.add_argument(
        "--revocations",
        metavar="FILE",
        help="accept no release that this list names; it is read at each check",
    )
    _add_release(parser)
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="ARGUMENTS")
    parser.set_defaults(run=_guarded(_run), json=False)


def _add_update(parsers: _Parsers) -> None:
    parser = parsers.add_parser("update", help="make a running program its next release")
    parser.add_argument("program", metavar="PID|NAME")
    _add_release(parser)
    parser.add_argument(
        "--set-current",
        action="store_true",
        help="if it runs then, make it what the store's link 'current' leads to",
    )
    parser.add_argument(
        "--probation",
        type=_seconds,
        metavar="SECONDS",
        help="how long --health must succeed; else the program goes back to what it ran before",
    )
    parser.add_argument(
        "--health", metavar="COMMAND", help="a shell command, run at once and then every second"
    )
    _add_request_options(parser)
    rehearsals = parser.add_mutually_exclusive_group()
    rehearsals.add_argument(
        "--rehearse",
        action="store_true",
        help="only carry the update out in a copy of the process, and foretell what it needs",
    )
    rehearsals.add_argument(
        "--rehearse-first", action="store_true", help="do that, and update if it went well"
    )
    parser.set_defaults(run=_guarded(_update))


def _add_rollback(parsers: _Parsers) -> None:
    parser = parsers.add_parser(
        "rollback", help="make a running program its previous release, with the state of now"
    )
    parser.add_argument("program", metavar="PID|NAME")
    parser.add_argument("--to", metavar="VERSION", help="default: the version it was before")
    _add_request_options(parser)
    parser.set_defaults(run=_guarded(_rollback))


def _add_request_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print each answer as a line of JSON")
    parser.add_argument(
        "--store",
        type=Path,
        metavar="DIR",
        help="where ways back are looked for; default: that of the manifest here or above",
    )
    parser.add_argument(
        "--limit-ms",
        type=_milliseconds,
        default=0,
        metavar="N",
        help="time that the new version has for its start and the state; default: the launcher's",
    )
    parser.add_argument(
        "--limit",
        type=_phase_limit,
        action="append",
        default=[],
        metavar="PHASE=MS",
        help=f"the same for one phase: {', '.join(limits.PHASES)}; default: none (several)",
    )
    parser.add_argument(
        "--wait-ms",
        type=_milliseconds,
        default=0,
        metavar="N",
        help="time that the program has to reach an update point; "
        f"default: the release's, else {_DEFAULT_WAIT_MS}",
    )
    parser.add_argument(
        "--tree",
        action="store_true",
        help="update the program and all processes that it forked, all or none",
    )
    parser.add_argument(
        "--order",
        choices=["parent-first", "children-first"],
        default="parent-first",
        help="in which order the processes of a tree are stopped; default: %(default)s",
    )


def _add_status(parsers: _Parsers) -> None:
    parser = parsers.add_parser("status", help="tell what runs, and what became of its updates")
    parser.add_argument("program", nargs="?", metavar="PID|NAME", help="default: all")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--json", action="store_true")
    how.add_argument(
        "--watch",
        action="store_true",
        help="go on until interrupted: a view on a terminal, else a line for each change",
    )
    parser.add_argument(
        "--interval-ms",
        type=_milliseconds,
        default=_WATCH_INTERVAL_MS,
        metavar="N",
        help="time between two looks with --watch; default: %(default)s",
    )
    parser.set_defaults(run=_guarded(_status))


def _add_gdb(parsers: _Parsers) -> None:
    parser = parsers.add_parser("gdb", help="look at a program, or its core file, with gdb")
    parser.add_argument("program", metavar="PID|NAME|CORE")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="ARGUMENTS", help="of gdb")
    parser.set_defaults(run=_guarded(_gdb), json=False)


def _add_release(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "release",
        metavar="RELEASE",
        help="a file, or a version in the store of the manifest here or above",
    )


def _milliseconds(text: str) -> int:
    number = int(text)
    if not 1 <= number <= limits.LONGEST_MS:
        raise ValueError
    return number


def _phase_limit(text: str) -> tuple[str, int]:
    try:
        return limits.parse(text)
    except ValueError:
        wanted = f"PHASE=MS, and the phases are {', '.join(limits.PHASES)}"
        raise argparse.ArgumentTypeError(f"'{text}' is not {wanted}") from None


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 < number <= 86_400:
        raise ValueError
    return number


def _guarded(command: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    """Give errors of a command their own exit statuses, and the form that was asked for."""

    def guarded(options: argparse.Namespace) -> int:
        try:
            return command(options)
        except KitsuneError as error:
            if options.json:
                _print_json(_error_answer(error))
            else:
                print(error.report(), file=sys.stderr)
            return _ERRORS.get(error.code, EXIT_INPUT_WRONG)

    return guarded


def _error_answer(error: KitsuneError) -> Answer:
    answer = {"event": "done", "outcome": "error", "code": error.code, "reason": error.message}
    return answer | ({"hint": error.hint} if error.hint else {})


def _print_json(answer: Answer) -> None:
    print(json.dumps(answer), flush=True)


# -- run -----------------------------------------------------------------------------------------


def _run(options: argparse.Namespace) -> int:
    from kitsune_tool import launcher

    release = _release_path(options.release)
    launcher.check_machine(release)
    program = launcher.launcher_path()
    sys.stdout.flush()
    sys.stderr.flush()
    trust = [word for key in options.public_key for word in ("--public-key", key)]
    trust += ["--revocations", options.revocations] if options.revocations else []
    try:
        os.execv(program, [str(program), *trust, "--", str(release), *options.arguments])
    except OSError as error:
        raise KitsuneError(
            "K305",
            f"the launcher cannot be started: {error.strerror}: {program}",
            hint="the cache of built parts must allow programs to run; $XDG_CACHE_HOME moves it",
        ) from None


def _release_path(text: str) -> Path:
    """Return the release that is meant, as an absolute path without links."""
    path = Path(text)
    if path.is_file():
        return path.resolve()
    if os.sep not in text and (stored := _stored_release(text)):
        return stored.resolve()
    raise KitsuneError(
        "K304",
        f"there is no release '{text}'",
        hint="name a release's file, or a version that the store of the manifest here has",
    )


def _stored_release(version: str) -> Path | None:
    from kitsune_tool import config
    from kitsune_tool.store import Store

    try:
        manifest = config.load_manifest(config.find_manifest(Path()))
    except KitsuneError:
        return None
    path = Store(manifest.store, manifest.program).release(version)
    return path if path.is_file() else None


# -- update --------------------------------------------------------------------------------------


def _update(options: argparse.Namespace) -> int:
    from kitsune_tool import store

    if (options.probation is None) != (options.health is None):
        print("kitsune update: --probation and --health go together", file=sys.stderr)
        return EXIT_USAGE
    release = _release_path(options.release)
    if options.set_current:
        store.check_is_stored(release)
    program = channel.find(options.program)
    if options.tree and (options.rehearse or options.rehearse_first):
        print("kitsune update: a tree is not rehearsed; rehearse its processes", file=sys.stderr)
        return EXIT_USAGE
    if options.rehearse or options.rehearse_first:
        answer = _request(options, program, release, "rehearse")
        status = _tell(options, answer, release)
        if options.rehearse or answer.get("outcome") != "rehearsed":
            return status
    if options.probation is not None:
        exit_status = _update_on_probation(options, program, release)
    else:
        exit_status = _tell(options, _request(options, program, release), release)
    if options.set_current and exit_status == EXIT_DONE:
        store.set_current(release)
    return exit_status


def _request(
    options: argparse.Namespace, program: channel.Channel, release: Path, verb: str = "update"
) -> Answer:
    """Ask for an update, or its rehearsal, and return the last answer."""
    if options.tree:
        return _request_tree(options, program, release)
    held = _limits(options, release)
    limit_s = _longest_s(held) + _MARGIN_S
    words = [verb, os.fspath(release), limits.word(held), str(held[limits.WAIT])]
    words += [str(program.child)] if program.child else []
    answer = channel.ask(program, words, limit_s, _print_json if options.json else _show_progress)
    lines.add_lines(answer)
    return answer


def _limits(options: argparse.Namespace, release: Path) -> dict[str, int]:
    """Return the limits that are asked for: those of the command line, else the release's."""
    from kitsune_tool import store

    held = {limits.WAIT: _DEFAULT_WAIT_MS}
    with contextlib.suppress(KitsuneError):  # a release may lie anywhere, alone
        held |= dict(store.Description.read(release.parent / store.DESCRIPTION).limits)
    held |= dict(options.limit)
    held |= {limits.TOTAL: options.limit_ms} if options.limit_ms else {}
    return held | ({limits.WAIT: options.wait_ms} if options.wait_ms else {})


def _longest_s(held: dict[str, int]) -> float:
    return (held[limits.WAIT] + held.get(limits.TOTAL, _DEFAULT_LIMIT_MS)) / 1000


def _request_tree(options: argparse.Namespace, program: channel.Channel, release: Path) -> Answer:
    """Ask for an update of all processes and return the last answer."""
    if program.child:
        raise KitsuneError(
            "K368",
            f"process {program.child} is a child of {program.pid}; a tree is updated as a whole",
            hint=f"name the program: kitsune update --tree {program.pid} …",
        )
    # Each generation has its own time to come.
    held = _limits(options, release)
    limit_s = _longest_s(held) * 4 + _MARGIN_S
    times = [limits.word(held), str(held[limits.WAIT])]
    words = ["update-tree", os.fspath(release), *times, options.order]
    return channel.ask(program, words, limit_s, _print_json if options.json else _show_progress)


def _tell(options: argparse.Namespace, answer: Answer, release: Path) -> int:
    if options.json:
        _print_json(answer)
    else:
        _show_outcome(answer, release)
    return _exit_status(answer)


# -- going back ----------------------------------------------------------------------------------


def _rollback(options: argparse.Namespace) -> int:
    from kitsune_tool import waysback

    program = channel.find(options.program)
    running = _status_of(program)
    if options.to is not None and options.to == running.get("version"):
        return _tell(options, _running_already(running), Path())
    left = waysback.Left(
        str(running.get("program")),
        str(running.get("version")),
        frozenset({str(running.get("build_id")), str(running.get("version_id"))}),
    )
    places = waysback.stores(left.program, options.store)
    way = waysback.find(places, left, options.to, _came_from(running))
    return _tell(options, _request(options, program, way.release), way.release)


def _running_already(status: Answer) -> Answer:
    names = {"pid": status.get("pid"), "program": status.get("program")}
    return {"event": "done", "outcome": "already-running", "from": status.get("version")} | names


def _came_from(status: Answer) -> str | None:
    """Return the version that the program ran before, None if its history does not say."""
    done = [each for each in status.get("updates", []) if each.get("outcome") == "updated"]
    return str(done[-1]["from"]) if done else None


def _update_on_probation(
    options: argparse.Namespace, program: channel.Channel, release: Path
) -> int:
    """Update, and go back if the health command fails within the time. Without a way back nothing
    is done.
    """
    way = _way_back_from(options, _status_of(program), release)
    answer = _request(options, program, release)
    if answer.get("outcome") != "updated":
        return _tell(options, answer, release)
    if options.json:
        _print_json(answer | {"event": "updated", "probation_s": options.probation})
    else:
        _show_outcome(answer, release)
        print(f"{who(answer)}: on probation for {options.probation:g} s", flush=True)
    failure = _on_probation(options, answer)
    if failure is None:
        return _tell_passed(options, answer)
    return _take_back(options, program, answer, way, failure)


def _way_back_from(options: argparse.Namespace, status: Answer, release: Path) -> Path:
    """Return the release that leads from `release` back to what runs, or where that is running
    already, nothing that is ever used.
    """
    from kitsune_tool import objects, waysback

    build_id = objects.build_id(release).hex()
    identity = objects.read_identity(release)
    program = str(status.get("program"))
    running = {status.get("build_id"), status.get("version_id")}
    if build_id in running or identity is None or identity.program != program:
        return release  # the answer to the request tells what is the matter
    left = waysback.Left(program, identity.version, frozenset({build_id}))
    places = waysback.stores(program, options.store, release)
    return waysback.find_for(places, release, left, str(status.get("version_id"))).release


def _on_probation(options: argparse.Namespace, answer: Answer) -> Failure | None:
    from kitsune_tool import probation

    variables = {
        "KITSUNE_PID": str(answer.get("pid")),
        "KITSUNE_PROGRAM": str(answer.get("program")),
        "KITSUNE_VERSION": str(answer.get("to")),
    }
    try:
        return probation.watch(options.health, options.probation, variables)
    except KeyboardInterrupt:
        print(f"{who(answer)}: the probation ends here; {answer.get('to')} stays", file=sys.stderr)
        raise


def _tell_passed(options: argparse.Namespace, answer: Answer) -> int:
    if options.json:
        _print_json(answer | {"probation": "passed"})
    else:
        print(f"{who(answer)}: {answer.get('to')} has passed its probation")
    return EXIT_DONE


def _take_back(
    options: argparse.Namespace,
    program: channel.Channel,
    answer: Answer,
    way: Path,
    failure: Failure,
) -> int:
    """Go back and say why; if that fails too, the new version stays."""
    try:
        back = _request(options, program, way)
    except KitsuneError as error:
        back = _error_answer(error)
    is_back = back.get("outcome") == "updated"
    after = f"{failure.after_s:.1f} s after the update"
    reason = f"the health command {failure.why}, {after}"
    told = answer | {
        "outcome": "taken-back" if is_back else "unhealthy",
        "code": "K319",
        "reason": reason,
        "health_output": failure.output,
        "back": back,
    }
    if options.json:
        _print_json(told)
        return _exit_status(told)
    print(f"{way}: error[K319]: {reason}", file=sys.stderr)
    for line in failure.output.splitlines():
        print(f"  {line}", file=sys.stderr)
    _show_outcome(back, way)
    return _exit_status(told)


def _exit_status(answer: Answer) -> int:
    outcome = answer.get("outcome")
    if outcome in OUTCOMES:
        return OUTCOMES[str(outcome)]
    return _ERRORS.get(str(answer.get("code")), EXIT_BUG)


def _show_progress(answer: Answer) -> None:
    texts = {
        "checked": "the release is right for it",
        "requested": "waiting for its update point",
        "ready": "ready to be updated",
        "rehearsing": "it goes on; a copy of it rehearses the update",
    }
    event = str(answer.get("event"))
    print(f"{who(answer)}: {texts.get(event, event)}", file=sys.stderr, flush=True)


def _show_tree(answer: Answer, release: Path) -> None:
    """Print what became of each process, and the cause if it is a failure."""
    processes = answer.get("processes", [])
    if answer.get("outcome") in ("updated", "already-running"):
        print(f"{who(answer)}: {len(processes)} processes run {answer.get('to')}")
    else:
        cause = answer.get("process", answer.get("pid"))
        print(f"{who(answer)}: no process was updated, because of {cause}", file=sys.stderr)
        _show_error(answer, release)
    for each in processes:
        pause = f", pause {ms(each['pause_ns'])}" if "pause_ns" in each else ""
        code = f" [{each['code']}]" if "code" in each else ""
        print(f"  process {each['pid']}: {each['outcome']}{code}{pause}")


def _show_outcome(answer: Answer, release: Path) -> None:
    outcome = answer.get("outcome")
    if "processes" in answer:
        _show_tree(answer, release)
    elif outcome == "updated":
        print(f"{who(answer)}: {answer.get('from')} → {answer.get('to')}: updated")
        print(f"  {_durations(answer)}")
        _show_types(answer)
        _show_not_undone(answer)
    elif outcome == "rehearsed":
        _show_forecast(answer)
    elif outcome == "already-running":
        print(f"{who(answer)}: {answer.get('from')} is running already")
    else:
        print(f"{who(answer)}: {_failure_line(answer)}", file=sys.stderr)
        _show_error(answer, release)
        _show_stacks(answer)
        _show_not_undone(answer)


def _show_error(answer: Answer, release: Path) -> None:
    error = KitsuneError(str(answer.get("code", "K303")), str(answer.get("reason")))
    print(f"{release}: {error.report().partition(': ')[2]}", file=sys.stderr)


def _show_stacks(answer: Answer) -> None:
    """Print where the new version failed, or where the threads are that did not come."""
    if answer.get("stack"):
        _show_stack("the new version was in", answer["stack"])
    for thread in answer.get("threads", []):
        _show_stack(f"thread {thread['tid']} '{thread['name']}' is in", thread["stack"])
        if holder := thread.get("holder"):
            who = f"thread {holder['tid']} '{holder['name']}', which holds the lock, is in"
            _show_stack(who, holder["stack"])


def _show_stack(title: str, stack: list[lines.Frame]) -> None:
    if stack:
        print(f"  {title}", file=sys.stderr)
    for frame in stack:
        for line in lines.text_of(frame).splitlines():
            print(f"    {line}", file=sys.stderr)


def _failure_line(answer: Answer) -> str:
    texts = {
        "rejected": "not asked to update",
        "rolled-back": "the update was undone",
        "refused": "the update was not begun",
        "withdrawn": "the request was withdrawn",
        "busy": "not asked to update",
        "rehearsal-failed": "the update would fail",
    }
    text = texts.get(str(answer.get("outcome")), "no update")
    return f"{text}; version {answer.get('from', '?')} runs on"


def _show_not_undone(answer: Answer) -> None:
    for key, text in (("not_undone", "not undone"), ("withheld", "kept from the world")):
        if answer.get(key):
            print(f"  {text}: {answer[key]}", file=sys.stderr)


def _show_forecast(answer: Answer) -> None:
    others = answer.get("thread_count", 0)
    threads = f", with its {others} other threads" if others else ""
    print(f"{who(answer)}: {answer.get('from')} → {answer.get('to')}: rehearsed{threads}")
    print(f"  foretold: {_durations(answer)}")
    print(
        f"  foretold: {_mib(answer.get('memory_bytes', 0))} of memory during the update, of which "
        f"{_mib(answer.get('growth_bytes', 0))} are the new version's"
    )
    waited_ns = answer.get("waited_ns", 0)
    if waited_ns * 10 > answer.get("pause_ns", 0):
        print(f"  of that time the copy waited {ms(waited_ns)} for a processor that others had")
    print(f"  the program stood {ms(answer.get('stopped_ns', 0))} while it was copied")
    _show_types(answer)
    _show_not_undone(answer)


def _durations(answer: Answer) -> str:
    parts = [
        (name, answer.get(key, 0))
        for name, key in (
            ("snapshot", "snapshot_ns"),
            ("loading", "load_ns"),
            ("migration", "migrate_ns"),
        )
    ]
    shares = ", ".join(f"{name} {ms(value)}" for name, value in parts)
    objects = f"{answer.get('objects', 0)} objects ({answer.get('bytes', 0)} bytes) transformed"
    return f"{objects}; pause {ms(answer.get('pause_ns', 0))} ({shares})"


def _show_types(answer: Answer) -> None:
    for each in answer.get("types", [])[:_SHOWN_TYPES]:
        counts = [
            f"{each[key]} {what}"
            for key, what in (("moved", "moved"), ("in_place", "rewritten in place"))
            if each[key]
        ]
        print(f"    {each['type']}: {', '.join(counts)}")
    more = len(answer.get("types", [])) - _SHOWN_TYPES
    if more > 0:
        print(f"    and {more} more types")


def _mib(size_bytes: Any) -> str:
    return f"{size_bytes / (1 << 20):.1f} MiB"


# -- status --------------------------------------------------------------------------------------


def _status(options: argparse.Namespace) -> int:
    if options.watch:
        return _watch(options)
    answers = _statuses(options)
    time.sleep(_NOTING_S)  # update points that are passed meanwhile are in the second answer
    answers = _statuses(options)
    if options.json:
        print(json.dumps({"programs": answers}))
        return EXIT_DONE
    if not answers:
        print("no program is under control")
    for answer in answers:
        for line in status.lines_of(answer):
            print(line)
    return EXIT_DONE


def _status_of(program: channel.Channel) -> Answer:
    words = ["status", str(program.child)] if program.child else ["status"]
    return channel.ask(program, words, channel.CONNECT_LIMIT_S)


def _statuses(options: argparse.Namespace) -> list[Answer]:
    if options.program is None:
        return [answer for _, answer in channel.find_all()]
    return [_status_of(channel.find(options.program))]


def _watch(options: argparse.Namespace) -> int:
    """Show the state until interrupted, which is the way to end it; a named program may end too."""
    with contextlib.suppress(KeyboardInterrupt):
        status.watch(lambda: _statuses(options), sys.stdout, options.interval_ms / 1000)
    return EXIT_DONE


# -- gdb -----------------------------------------------------------------------------------------


def _gdb(options: argparse.Namespace) -> int:
    from kitsune_tool import launcher, resources

    script = ["-x", os.fspath(resources.debugger_script())]
    core = Path(options.program)
    if core.is_file():
        what = [os.fspath(launcher.launcher_path()), os.fspath(core)]
    else:
        pid = options.program if options.program.isdigit() else channel.find(options.program).pid
        what = ["-p", str(pid)]
    sys.stdout.flush()
    try:
        os.execvp("gdb", ["gdb", "-q", *script, *what, *options.arguments])
    except OSError as error:
        raise KitsuneError(
            "K320", f"gdb cannot be started: {error.strerror}", hint="install it: apt install gdb"
        ) from None
