"""What a connector writes of itself where only one may stream, and what it reads of others.

A record that says whose it is, and is left behind by a process that has ended, keeps nobody away.
"""

from __future__ import annotations

import json
import socket
import uuid
from typing import Any, Self

import attrs

from ..configdb import Versioned
from ..model import texts
from ..model.timescale import utc_now
from ..runtime.identity import has_ended, process_identity

_living: set[str] = set()
"""The tokens of those in this process that live."""


@attrs.frozen
class Holder:
    """One connector, from when it began to follow a path."""

    device: str
    host: str
    process: str
    """See `process_identity`."""
    token: str
    """Tells it from whatever else has this device, host and process."""
    since: str = ""
    """When it began to hold the path, in UTC."""
    released: bool = False
    """Whether it has stopped in order, and said so."""

    @classmethod
    def new(cls, device: str) -> Self:
        """One of this process."""
        return cls(device, socket.gethostname(), process_identity(), uuid.uuid4().hex)

    @classmethod
    def read(cls, found: Versioned | None) -> Self | None:
        """What stands there; None for nothing, and for what is not understood."""
        try:
            record = json.loads(found.value) if found is not None else {}
            named = {key: texts.name(str(record[key])) for key in ("device", "host", "since")}
            process, token = str(record["process"]), str(record["token"])
            return cls(process=process, token=token, released=bool(record["released"]), **named)
        except (KeyError, RecursionError, TypeError, ValueError):
            return None

    def text(self, **changes: Any) -> str:
        """What is written, with *changes*."""
        return json.dumps(attrs.asdict(attrs.evolve(self, **changes)))

    def holding(self) -> str:
        """What is written by one that holds the path from now on."""
        return self.text(since=utc_now())

    def __str__(self) -> str:
        since = f" since {self.since}" if self.since else ""
        return f"{self.device or 'a program'} on {self.host}{since}"

    @property
    def gone(self) -> bool:
        """Whether it surely streams nothing any more."""
        if self.released:
            return True
        if self.process and self.process == process_identity():
            return self.token not in _living
        return has_ended(self.process)

    def live(self) -> None:
        """It is at work from now on, as others in this process find."""
        _living.add(self.token)

    def end(self) -> None:
        """It is not any more."""
        _living.discard(self.token)
