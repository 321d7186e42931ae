"""Which process this is among all there ever were, and whether another one has ended.

* identity  the machine's boot, the namespace of the number, the number, and when it began
* source    Linux, ``proc(5)``: ``/proc/PID/stat``, field 22; ``/proc/sys/kernel/random/boot_id``
"""

from __future__ import annotations

import os
from pathlib import Path

_STATE, _START_TIME = 0, 19  # of the fields behind the name, which may hold blanks and brackets
_ENDED = "ZX"  # what has ended, and nobody has asked how


def process_identity() -> str:
    """That of this process; empty where the system does not tell."""
    try:
        place = _place()
        return f"{place} {os.getpid()} {_began(os.getpid())}"
    except (OSError, LookupError, ValueError):
        return ""


def has_ended(identity: str) -> bool:
    """Whether the process of this identity has surely ended: only one of our own machine has."""
    try:
        place, number, began = identity.rsplit(" ", 2)
        if place != _place():
            return False
        return _began(int(number)) != began
    except (FileNotFoundError, ProcessLookupError):
        return True
    except (OSError, LookupError, ValueError):
        return False


def _place() -> str:
    """Where numbers of processes mean the same."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot} {os.readlink('/proc/self/ns/pid')}"


def _began(number: int) -> str:
    """When it began, in ticks since the boot.

    Raises:
        ProcessLookupError: it has ended.
    """
    fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
    if fields[_STATE] in _ENDED:
        raise ProcessLookupError(number)
    return fields[_START_TIME]
