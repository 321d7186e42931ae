"""What a failed call of Tango's means: who did not answer, and why, in words."""

from __future__ import annotations

from typing import Any

import tango

from ...model.errors import EndpointError

CONNECTION_LOST = "API_EventTimeout"
"""What Tango says of a subscription whose server sends no sign of life."""


def told(errors: Any) -> tuple[str, str]:
    """Reason and description of the first error of a stack that is not CORBA's, on one line."""
    if not errors:
        return "API_UnknownError", "Tango says no more"
    found = next((each for each in errors if each.reason != "API_CorbaException"), errors[0])
    return str(found.reason), " ".join(str(found.desc).split())


def no_answer(error: tango.DevFailed) -> bool:
    """Whether a call failed because nobody answered it, and not by what the device says."""
    if isinstance(error, tango.ConnectionFailed | tango.CommunicationFailed):
        return True
    return bool({str(each.reason) for each in error.args} & UNREACHABLE)


TIMED_OUT = frozenset(
    {
        "API_CommandTimedOut",  # another request has the device's monitor
        "API_DeviceTimedOut",
    }
)

UNREACHABLE = TIMED_OUT | frozenset(
    {
        "API_CantConnectToDevice",
        "API_CantConnectToDatabase",
        "API_CorbaException",
        "API_DeviceNotExported",
        "API_ServerNotRunning",
        "API_ShutdownInProgress",
    }
)


def endpoint_error(name: str, operation: str, error: tango.DevFailed) -> EndpointError:
    """What a failed call means for whoever cannot go on without it."""
    reason, message = told(error.args)
    return EndpointError(name, operation, f"{message} [{reason}]")
