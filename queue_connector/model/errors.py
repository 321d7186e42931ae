"""The exception tree: whose fault it is, where it is, and what to do about it.

=======================  ==============================================================
`ConfigError`            the configuration says something that cannot be done
`DataError`              one datum does not fit; the next one may
`EndpointError`          a broker, device or database refused or cannot be reached
`UnknownExchangeError`   a command names an exchange that is not there
`StateError`             a command came in a state that does not allow it
`ClosedError`            a command came while the connector was being closed
`ExchangeError`          one of the above, with the exchange that met it
=======================  ==============================================================

Facts stand in fields; ``str(error)`` is the sentence for the person who must act.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Self, TypeVar

import attrs

from .texts import first, printable, shortened

MAX_FAULTS_TOLD = 20
"""Faults of a configuration that its error tells; programs find all of them in ``faults``."""

MAX_FAULT = 1000
"""Characters of one fault that the error tells."""


class QueueConnectorError(Exception):
    """The root of every error that this package raises on purpose."""


@attrs.frozen
class Finding:
    """What is to be said of one place in a configuration.

    ``path`` is a JSON path that starts at ``$``; ``hint`` is the way out and may be empty.
    """

    path: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        return printable(f"{self.path}: {self.message}" + (f" ({self.hint})" if self.hint else ""))

    def below(self, prefix: str) -> Self:
        """The same finding seen from further up: ``$.a`` below ``$.b[0]`` is ``$.b[0].a``."""
        return attrs.evolve(self, path=prefix + self.path.removeprefix("$"))


@attrs.frozen
class Fault(Finding):
    """One thing that is wrong in a configuration, which is refused for it."""


@attrs.frozen
class ConfigWarning(Finding):
    """One thing that is likely not what was meant; nothing is ever refused for it."""


class ConfigError(QueueConnectorError):
    """A configuration was refused whole; ``faults`` names everything that is wrong with it.

    The text names the first of them, since it goes into states, logs and Tango's errors.
    """

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        told = first(self.faults, MAX_FAULTS_TOLD, "more faults")
        super().__init__("\n".join(shortened(line, MAX_FAULT) for line in told))


class DataError(QueueConnectorError):
    """One datum does not fit what the exchange says of its data."""


@attrs.define(eq=False, slots=False)
class ConformError(DataError):
    """One value does not fit the dtype and shape that are expected of it."""

    expected: object
    found: str
    reason: str

    def __str__(self) -> str:
        return (
            f"expected {self.expected}, found {self.found}: {self.reason}; "
            "compare the exchange's dtype and shape with what the source sends"
        )


@attrs.define(eq=False, slots=False)
class DecodeError(DataError):
    """One payload does not fit the encoding, or what it holds does not fit dtype and shape."""

    encoding: str
    spec: object
    size: int
    reason: str

    def __str__(self) -> str:
        return (
            f"cannot decode {self.size} B as {self.encoding!r} to {self.spec}: {self.reason}; "
            "compare the exchange's dtype and shape with what the producer writes"
        )


@attrs.define(eq=False, slots=False)
class EncodeError(DataError):
    """One value cannot be written in the encoding that the sink is configured with."""

    encoding: str
    spec: object
    reason: str

    def __str__(self) -> str:
        return (
            f"cannot encode {self.spec} as {self.encoding!r}: {self.reason}; "
            "see the reference of encodings for what each one carries"
        )


@attrs.define(eq=False, slots=False)
class EndpointError(QueueConnectorError):
    """Something outside refused an operation, or could not be reached for it."""

    endpoint: str
    operation: str
    reason: str

    def __str__(self) -> str:
        return f"{self.endpoint}: {self.operation} failed: {self.reason}"


@attrs.define(eq=False, slots=False)
class StateError(QueueConnectorError):
    """A command came in a state in which it is not allowed."""

    command: str
    state: str
    allowed: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"{self.command} is not allowed in state {self.state}; "
            f"it is allowed in {', '.join(self.allowed)}"
        )


class UnknownExchangeError(QueueConnectorError):
    """A command names an exchange that is not there; ``hint`` says which are."""

    def __init__(self, exchange: str, hint: str) -> None:
        self.exchange = exchange
        self.hint = hint
        super().__init__(f"no exchange is called {exchange!r} ({hint})")


class ClosedError(QueueConnectorError):
    """A command came while the connector was being closed for good."""

    def __init__(self, command: str) -> None:
        super().__init__(f"{command} is too late: the connector is being closed")


class ExchangeError(QueueConnectorError):
    """An exchange stopped for ``cause``, which is one of the other errors or unexpected."""

    def __init__(self, exchange: str, cause: BaseException) -> None:
        self.exchange = exchange
        self.cause = cause
        expected = isinstance(cause, QueueConnectorError)
        super().__init__(f"{exchange}: " + (f"{cause}" if expected else f"unexpected {cause!r}"))


D = TypeVar("D", bound=DataError)


def untraced(error: D) -> D:
    """An error that is kept, without where it was raised, nor where its causes were.

    The frames that it was raised in, and those that called them, lead to what it is kept in, and so
    to itself: it and the datum would be there until Python looks for garbage.
    """
    one: BaseException | None = error
    while one is not None:
        one.__traceback__ = None
        one = one.__cause__ or one.__context__
    return error


def counted(number: int, what: str) -> str:
    """A number of things in words: ``1 fault``, ``2 faults``."""
    return f"{number} {what}" + ("" if number == 1 else "s")


def leaves(error: BaseException) -> Iterator[BaseException]:
    """The exceptions inside a (possibly nested) exception group, or the exception itself."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves(inner)
    else:
        yield error
