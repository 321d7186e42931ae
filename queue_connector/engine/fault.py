"""What is wrong with a group, as it is kept, told and written to a database."""

from __future__ import annotations

import attrs

from ..model.errors import ConfigError, QueueConnectorError
from ..model.texts import MAX_NAME, shortened
from ..model.timescale import utc_now


@attrs.frozen
class FaultRecord:
    """What is wrong with a group, for people and for programs.

    ``path`` is the JSON path of the first fault of a configuration; ``revision`` is that of the
    configuration in its database, 0 when it came from elsewhere.
    """

    error: str
    message: str
    path: str = ""
    revision: int = 0
    time: str = attrs.field(factory=utc_now)

    @classmethod
    def of(cls, error: BaseException, revision: int = 0) -> FaultRecord:
        """The record of an exception."""
        cause = getattr(error, "cause", error)
        path = cause.faults[0].path if isinstance(cause, ConfigError) and cause.faults else ""
        message = shortened(str(error) or repr(error))
        return cls(type(cause).__name__, message, shortened(path, MAX_NAME), revision)


def surprising(error: BaseException) -> BaseException | None:
    """The error if it is not one that is raised on purpose, so that its traceback is logged."""
    cause = getattr(error, "cause", error)
    return None if isinstance(cause, QueueConnectorError) else error
