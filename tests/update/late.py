"""Holds a process's next child before its first instruction, as a busy machine may (ptrace(2))."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_CONTINUE, _DETACH, _GET_EVENT_MESSAGE, _SEIZE = 7, 17, 0x4201, 0x4206
_TRACE_FORK, _EVENT_FORK = 0x2, 1
_ANY_KIND = 0x40000000  # of children: __WALL

_ptrace = ctypes.CDLL(None, use_errno=True).ptrace
_ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_ptrace.restype = ctypes.c_long


def _request(what: int, pid: int, data: int = 0) -> None:
    if _ptrace(what, pid, None, data) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), f"ptrace of {pid}")


class HeldChild(threading.Thread):
    """The one thread that may talk to the processes it traces; they go on when it ends."""

    def __init__(self, parent: int) -> None:
        super().__init__()
        self._parent = parent
        self._seized, self._caught, self._freed = (threading.Event() for _ in range(3))
        self._child = 0

    def run(self) -> None:
        """Catch the child at the fork, let the parent go on, and the child when it is freed."""
        _request(_SEIZE, self._parent, _TRACE_FORK)
        self._seized.set()
        while not self._child and not self._freed.wait(0.001):
            self._look()
        if self._child:
            os.waitpid(self._child, _ANY_KIND)
            _request(_DETACH, self._parent)
            self._caught.set()
            self._freed.wait()
            try:
                _request(_DETACH, self._child)
            except ProcessLookupError:  # it was killed, which its tracer is told first
                os.waitpid(self._child, _ANY_KIND)

    def _look(self) -> None:
        found, status = os.waitpid(self._parent, os.WNOHANG | _ANY_KIND)
        if found and status >> 16 == _EVENT_FORK:
            child = ctypes.c_ulong()
            _request(_GET_EVENT_MESSAGE, self._parent, ctypes.addressof(child))
            self._child = child.value
        elif found:
            _request(_CONTINUE, self._parent, os.WSTOPSIG(status) if status >> 16 == 0 else 0)

    def pid(self, patience_s: float) -> int:
        """Return the child, once it is there."""
        assert self._caught.wait(patience_s), "no child was forked"
        return self._child

    def free(self) -> None:
        """Let the child run."""
        self._freed.set()
        self.join()


@contextmanager
def held_child(parent: int) -> Iterator[HeldChild]:
    """Hold the next child of a process until it is freed, at the latest at the end."""
    tracer = HeldChild(parent)
    tracer.start()
    try:
        assert tracer._seized.wait(30), "the process cannot be traced"
        yield tracer
    finally:
        tracer.free()
