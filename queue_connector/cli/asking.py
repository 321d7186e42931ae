"""Asking running devices, in a way that Ctrl-C ends at once.

Tango waits for seconds for a device that is there and says nothing, and Python heeds no signal in a
thread that is inside of Tango. So none is asked in the main thread.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from ..configuration import document
from ..model.exchanges import QueueConnectorDescriptor
from ..runtime.answers import Answer
from ..runtime.process import signals_held
from .common import failure, tell

T = TypeVar("T")

_ASKED_WRONG = (
    "is it running, and is that its name? Without a Tango database it is what serve prints: "
    "tango://HOST:PORT/a/b/c#dbase=no"
)


def import_tango() -> Any:
    """PyTango, late: it takes most of a second, which only few commands need to wait for."""
    with signals_held():
        import tango
    return tango


def asked(question: Callable[[], T]) -> Answer[T]:
    """What a question to Tango will be answered."""
    return Answer(question, import_tango().EnsureOmniThread)


def reason(error: Any) -> str:
    """What Tango says of a ``DevFailed``, on one line."""
    return " ".join(error.args[0].desc.split())


def ask_device(device: str, *attributes: str) -> list[str]:
    """What attributes of a running device say; an end with status 1 when it cannot be asked."""
    tango = import_tango()

    def ask() -> list[str]:
        proxy = tango.DeviceProxy(device)
        return [proxy.read_attribute(name).value for name in attributes]

    try:
        return asked(ask).wait()
    except tango.DevFailed as error:
        what = f"cannot be asked for its {attributes[0]}"
        failure(f"{device}: {what}: {reason(error)}; {_ASKED_WRONG}")


def configuration_of(device: str, consequence: str) -> QueueConnectorDescriptor:
    """What a running device is configured with.

    An end with status 1 when it cannot be asked, or when its configuration cannot be read here:
    *consequence* says in words what was not done then.
    """
    (text,) = ask_device(device, "configuration")
    reading = document.examine(text)
    if reading.descriptor is None:
        from .. import __version__  # late, as it takes long to find out

        tell(f"{device}: its configuration cannot be read here", reading.faults, consequence)
        failure(
            f"this tool is of version {__version__}: use the one that is installed with the "
            "device, or one of the version that its attribute version tells; if the device has "
            "plugins, give their names with --plugins"
        )
    return reading.descriptor


class DeviceCommand:
    """A command of a running device, with a text as argument or with none.

    Calling it ends with status 1 when the device cannot be asked or refuses.
    """

    def __init__(self, device: str, name: str) -> None:
        self._device = device
        self._name = name
        self._proxy: Any = None

    def __call__(self, argument: str | None = None) -> Any:
        tango = import_tango()
        try:
            return asked(partial(self._ask, tango, argument)).wait()
        except tango.DevFailed as error:
            refused = error.args[0].reason.endswith("Error")  # one of ours: it did answer
            failure(f"{self._device}: {reason(error)}" + ("" if refused else f"; {_ASKED_WRONG}"))

    def _ask(self, tango: Any, argument: str | None) -> Any:
        if self._proxy is None:
            self._proxy = tango.DeviceProxy(self._device)
        return self._proxy.command_inout(self._name, argument)
