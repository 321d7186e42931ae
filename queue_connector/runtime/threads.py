"""The threads of this process, as Linux tells of them; elsewhere nothing is known of any.

* names     a thread has the name of the one that has started it, until it is given another
* source    Linux, ``proc(5)``: ``/proc/PID/task/TID/stat`` and ``comm``
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from typing import NamedTuple

from .worker import current_thread

_TASKS = "/proc/self/task"


class Thread(NamedTuple):
    """One, at the moment when it was looked at."""

    number: int
    name: str
    asleep: bool
    """Whether it waits for something; one that would run, if it were let, does not."""


def are_known() -> bool:
    """Whether the system tells of them."""
    return os.path.isdir(_TASKS)


def others() -> Iterator[Thread]:
    """All but the one that calls this."""
    own = current_thread()
    for task in os.listdir(_TASKS) if are_known() else ():
        if int(task) != own and (thread := _look(int(task))) is not None:
            yield thread


def in_python() -> set[int | None]:
    """The numbers of those that are in Python, in the middle of whatever was called."""
    frames = sys._current_frames()
    return {thread.native_id for thread in threading.enumerate() if thread.ident in frames}


@contextlib.contextmanager
def named(name: str) -> Iterator[None]:
    """Give the threads that this one starts a name by which they are known, where it can be."""
    before = _look(current_thread()) if are_known() else None
    _rename(name)
    try:
        yield
    finally:
        if before is not None:
            _rename(before.name)


def _look(number: int) -> Thread | None:
    try:
        with open(f"{_TASKS}/{number}/stat") as file:
            _, _, stat = file.read().partition("(")
    except OSError:
        return None  # it has ended
    name, _, rest = stat.rpartition(") ")
    return Thread(number, name, rest.startswith("S"))


def _rename(name: str) -> None:
    with contextlib.suppress(OSError), open(f"{_TASKS}/{current_thread()}/comm", "w") as file:
        file.write(name)
