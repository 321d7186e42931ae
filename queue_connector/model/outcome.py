"""What may become of a datum: the ends that a ledger counts."""

from __future__ import annotations

from typing import Literal

import attrs


@attrs.frozen
class Outcome:
    """What has become of a datum.

    ``detail`` is the reason for which it was dropped, or what a policy did with one that failed.
    One that is ``final`` need not come again; another one should, where its source can repeat it.
    """

    kind: Literal["delivered", "filtered", "failed", "dropped"]
    detail: str = ""
    final: bool = True


DELIVERED = Outcome("delivered")
FILTERED = Outcome("filtered")
REFUSED = Outcome("failed")
FAULTED = Outcome("failed", final=False)
SKIPPED = Outcome("failed", "skipped")
DEAD_LETTERED = Outcome("failed", "dead_lettered")
ABORTED = Outcome("dropped", "aborted", final=False)
BUFFER_FULL = Outcome("dropped", "buffer full")
SUPERSEDED = Outcome("dropped", "superseded")
