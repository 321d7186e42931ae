"""The states of the device and of each group, and the one table of how they change.

=========  ==================================================
INIT       not ready yet
STANDBY    ready, not configured
OFF        configured, not streaming
OPEN       sources and sinks are being started
ON         streaming
CLOSE      sources are stopped, what is in flight is delivered
FAULT      stopped by an error; ``Reset`` leads out
=========  ==================================================
"""

from __future__ import annotations

import enum
from collections.abc import Iterable

from ..model.errors import StateError


class State(enum.StrEnum):
    """See the module's docstring."""

    INIT = "INIT"
    STANDBY = "STANDBY"
    OFF = "OFF"
    OPEN = "OPEN"
    ON = "ON"
    CLOSE = "CLOSE"
    FAULT = "FAULT"


class Health(enum.IntEnum):
    """How well a device does what it is configured to do, as SKA's ``healthState`` numbers it."""

    OK = 0
    DEGRADED = 1
    """It streams, but something of it waits, or a new configuration was refused."""
    FAILED = 2
    UNKNOWN = 3


class Trigger(enum.Enum):
    """What may change a state; the value names it in refusals, as the command if it is one."""

    INITIALISED = "initialised"
    CONFIGURE = "Configure"
    CONFIGURE_EMPTY = "Configure with no exchanges"
    START = "Start"
    OPENED = "opened"
    STOP = "Stop"
    CLOSED = "closed"
    STANDBY = "Standby"
    ABORT = "Abort"
    RESET = "Reset"
    FAIL = "error"


TRANSITIONS: dict[tuple[State, Trigger], State] = {
    (State.INIT, Trigger.INITIALISED): State.STANDBY,
    (State.STANDBY, Trigger.CONFIGURE): State.OFF,
    (State.STANDBY, Trigger.CONFIGURE_EMPTY): State.STANDBY,
    (State.OFF, Trigger.CONFIGURE): State.OFF,
    (State.OFF, Trigger.CONFIGURE_EMPTY): State.STANDBY,
    (State.OFF, Trigger.START): State.OPEN,
    (State.OFF, Trigger.STANDBY): State.STANDBY,
    (State.OPEN, Trigger.OPENED): State.ON,
    (State.OPEN, Trigger.STOP): State.CLOSE,
    (State.OPEN, Trigger.ABORT): State.OFF,
    (State.ON, Trigger.STOP): State.CLOSE,
    (State.ON, Trigger.ABORT): State.OFF,
    (State.CLOSE, Trigger.CLOSED): State.OFF,
    (State.CLOSE, Trigger.ABORT): State.OFF,
    (State.FAULT, Trigger.RESET): State.STANDBY,
    **{(state, Trigger.FAIL): State.FAULT for state in State},
}


def allowed(trigger: Trigger) -> tuple[State, ...]:
    """The states in which a trigger is allowed."""
    return tuple(state for state, known in TRANSITIONS if known is trigger)


def advance(state: State, trigger: Trigger) -> State:
    """The state that *trigger* leads to.

    Raises:
        StateError: it is not allowed in *state*.
    """
    try:
        return TRANSITIONS[state, trigger]
    except KeyError:
        raise StateError(trigger.value, state, allowed(trigger)) from None


_PRECEDENCE = (State.FAULT, State.OPEN, State.CLOSE, State.ON, State.OFF)


def aggregate(states: Iterable[State]) -> State:
    """The state of a device whose groups have these: the first of a fixed order that any has."""
    present = set(states)
    return next((state for state in _PRECEDENCE if state in present), State.STANDBY)
