"""The libraries in C++ that PyTango has loaded, for what they can do and PyTango does not hand on.

* source    Linux, ``proc(5)``: ``/proc/PID/maps``
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator

_MAPS = "/proc/self/maps"


def loaded(name: str) -> ctypes.CDLL:
    """The library of that name, such as ``libtango``, which is a file of its own.

    Raises:
        LookupError: it is not loaded, or part of another library.
        OSError: the system does not tell what is loaded.
    """
    for *_, path in maps():
        if re.search(rf"/{name}[^/]*\.so[^/]*$", path):
            return ctypes.CDLL(path)
    raise LookupError(f"{name} is not loaded as a library of its own")


def maps() -> Iterator[tuple[int, int, str, str]]:
    """What is mapped where: the begin, the end, the permissions, and the file if it is one."""
    with open(_MAPS) as file:
        lines = file.readlines()
    for line in lines:
        where, permissions, *_, last = line.split()
        begin, end = where.split("-")
        yield int(begin, 16), int(end, 16), permissions, last
