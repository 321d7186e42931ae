"""Threads that a client library has made, and that call Python again and again.

Python forgets such a thread after each call, and takes it for a new one at the next: memory for its
frames is asked of the system and given back, for which the system interrupts the other processors.
Of an event of Tango's that is a third.

* source    Python's C API, "Non-Python created threads"
"""

from __future__ import annotations

import ctypes
import threading


class _Here(threading.local):
    remembered = False


_here = _Here()


def remember_this_thread() -> None:
    """Let Python know the thread that calls this from now on.

    What it knows of the thread is never freed: for those few that last as long as the process.
    """
    if not _here.remembered:
        ctypes.pythonapi.PyGILState_Ensure()  # and never `PyGILState_Release`
        _here.remembered = True
