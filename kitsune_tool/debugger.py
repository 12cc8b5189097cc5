"""Commands for gdb: the versions in a process or core file, and suspended stacks.

In: what the launcher's own variables say, by its debug information. Out: the commands `kitsune
versions` and `kitsune suspended`. gdb reads this file (`source`, or `gdb -x`);
`kitsune gdb` starts it so. Nothing of the process is changed: core files do as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import gdb
from gdb.unwinder import Unwinder, register_unwinder

_BUILD_ID_SIZE = 20
_SAVED = ("r15", "r14", "r13", "r12", "rbx", "rbp", "rip")
"""What kitsune__suspend pushes, from the lowest address on, above the floating-point control."""
_WORD = 8


@dataclass(frozen=True, slots=True)
class Image:
    """A version whose code is mapped. `file`: where it was loaded from, if it still lies there."""

    version: str
    path: str
    start: int
    build_id: bytes
    state: str

    @property
    def file(self) -> Path | None:
        """The release's file, or None if another build lies there by now, or nothing."""
        try:
            return Path(self.path) if self.build_id in Path(self.path).read_bytes() else None
        except OSError:
            return None


def images() -> Iterator[Image]:
    """Yield what is mapped, the newest first."""
    at = gdb.parse_and_eval("'load.c'::images")
    states = {
        int(gdb.parse_and_eval("'load.c'::current")): "runs",
        int(gdb.parse_and_eval("'load.c'::incoming")): "starts",
    }
    while int(at):
        yield Image(
            at["release"]["identity"]["version"].string(),
            at["path"].string(),
            int(at["start"]),
            bytes(int(at["build_id"][index]) for index in range(_BUILD_ID_SIZE)),
            states.get(int(at), "old"),
        )
        at = at["next"]


# -- suspended stacks ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Suspended:
    """A stack of the old version, while the new one starts on another."""

    title: str
    stack_pointer: int


def suspended() -> Iterator[Suspended]:
    """Yield the stacks of an update that is under way: none at any other time."""
    journal = gdb.parse_and_eval("kitsune__journal")
    if int(journal) and not int(journal["is_committed"]):
        yield Suspended("main thread", int(journal["old"]["stack_pointer"]))
    thread = gdb.parse_and_eval("'thread.c'::threads")
    while int(thread):
        if int(thread["place"]) and int(thread["place"]["is_parked"]):
            title = f"thread {int(thread['tid'])}, at '{thread['point'].string()}'"
            yield Suspended(title, int(thread["place"]["old"]["stack_pointer"]))
        thread = thread["next"]


class _FrameId:
    def __init__(self, stack_pointer: gdb.Value, instruction: gdb.Value) -> None:
        self.sp = stack_pointer
        self.pc = instruction


class _SuspendedUnwinder(Unwinder):
    """Makes the caller of the innermost frame that of a suspended context, while that is shown."""

    def __init__(self) -> None:
        super().__init__("kitsune-suspended")
        self.stack_pointer = 0
        self.enabled = False

    def __call__(self, frame: gdb.PendingFrame) -> gdb.UnwindInfo | None:
        if not self.stack_pointer:
            return None
        word = gdb.lookup_type("long").pointer()
        # gdb refuses a caller that lies below: so the innermost frame is said to lie there, too.
        here = gdb.Value(self.stack_pointer)
        info = frame.create_unwind_info(_FrameId(here, frame.read_register("rip")))
        at = self.stack_pointer + _WORD
        for name in _SAVED:
            info.add_saved_register(name, gdb.Value(at).cast(word).dereference())
            at += _WORD
        info.add_saved_register("rsp", gdb.Value(at))
        self.stack_pointer = 0
        return info


_unwinder = _SuspendedUnwinder()
register_unwinder(None, _unwinder, replace=True)


def _backtrace(stack: Suspended) -> str:
    """Return the stack as gdb's own command shows it, less the frame that is not of it."""
    _unwinder.stack_pointer = stack.stack_pointer
    _unwinder.enabled = True
    gdb.invalidate_cached_frames()
    try:
        shown = gdb.execute("backtrace", to_string=True)
    finally:
        _unwinder.enabled = False
        gdb.invalidate_cached_frames()
    return "".join(shown.splitlines(keepends=True)[1:])


# -- commands ------------------------------------------------------------------------------------


class _Prefix(gdb.Command):
    """Look at a program that Kitsune runs: its versions, and stacks that an update suspended."""

    def __init__(self) -> None:
        super().__init__("kitsune", gdb.COMMAND_USER, gdb.COMPLETE_NONE, True)


class _Versions(gdb.Command):
    """List the versions whose code is mapped, with their files and build-ids."""

    def __init__(self) -> None:
        super().__init__("kitsune versions", gdb.COMMAND_USER)

    def invoke(self, argument: str, from_tty: bool) -> None:
        """Print a line for each."""
        for image in images():
            where = image.path if image.file else f"{image.path} (not that build any more)"
            build_id = image.build_id.hex()
            print(
                f"{image.version}  {image.state}  at {image.start:#x}  {where}  build-id {build_id}"
            )


class _SuspendedStacks(gdb.Command):
    """Show the stacks of the old version while an update is under way."""

    def __init__(self) -> None:
        super().__init__("kitsune suspended", gdb.COMMAND_USER)

    def invoke(self, argument: str, from_tty: bool) -> None:
        """Print each with its thread."""
        found = list(suspended())
        if not found:
            print("no update is under way: no stack is suspended")
        for stack in found:
            print(f"{stack.title}:\n{_backtrace(stack)}")


_Prefix()
_Versions()
_SuspendedStacks()
