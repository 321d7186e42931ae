"""An attribute of another device, to be written: the calls of Tango, which block.

* units     seconds
* errors    `EndpointError` when the device cannot be reached, `NoAnswerError` when it says nothing
            in time, `RefusedError` when it does not take the value; nothing of Tango's escapes
* source    PyTango manual, "DeviceProxy"
"""

from __future__ import annotations

from typing import Any

import attrs
import tango

from ...model.errors import DataError, EndpointError
from .client import connected
from .failures import TIMED_OUT, no_answer, told


@attrs.define(eq=False, slots=False)
class RefusedError(DataError):
    """A device does not take a value, or has no such attribute to be written."""

    attribute: str
    reason: str

    def __str__(self) -> str:
        return f"{self.attribute} refused the value: {self.reason}"


class NoAnswerError(EndpointError):
    """A device was given a value, and did not say in time that it has taken it."""


class RemoteAttribute:
    """An attribute of another device to be written; connects when it is needed, and anew.

    The methods block and are called by one thread at a time.
    """

    def __init__(self, device: str, attribute: str, timeout: float) -> None:
        self._device = device
        self._attribute = attribute
        self._timeout = timeout
        self._proxy: Any = None
        self._info: Any = None

    @property
    def is_connected(self) -> bool:
        """Whether nothing was heard of a lost connection since the device was reached."""
        return self._proxy is not None

    @property
    def timeout(self) -> float:
        """How long the device has for an answer; a new one holds from the next connection on."""
        return self._timeout

    @timeout.setter
    def timeout(self, timeout: float) -> None:
        self._timeout = timeout
        self.close()

    def describe(self) -> Any:
        """Type, format and largest lengths: Tango's ``AttributeInfoEx``.

        Raises:
            EndpointError: the device cannot be reached, or says nothing in time.
            RefusedError: it has no such attribute.
        """
        if self._info is None:
            try:
                if self._proxy is None:
                    proxy = connected(self._device, self._timeout)
                    proxy.set_transparency_reconnection(False)  # who tries again is the sink
                    self._proxy = proxy
                self._info = self._proxy.get_attribute_config(self._attribute)
            except tango.DevFailed as error:
                raise self._error(error) from None
        return self._info

    def write(self, value: Any) -> None:
        """Write a value in the form that `describe` tells; on return the device has taken it.

        Raises:
            EndpointError: the device cannot be reached.
            NoAnswerError: it says nothing in time, and may have the value.
            RefusedError: the device does not take it.
        """
        info = self.describe()
        try:
            self._proxy.write_attribute(info, value)
        except tango.DevFailed as error:
            raise self._error(error) from None

    def close(self) -> None:
        """Forget the connection."""
        self._proxy = self._info = None

    def _error(self, error: tango.DevFailed) -> EndpointError | RefusedError:
        """What a failure means. What was known of the attribute may have changed with it."""
        self._info = None
        name = f"{self._device}/{self._attribute}"
        reason, message = told(error.args)
        said = f"{message} [{reason}]"
        if no_answer(error):
            self.close()  # a proxy waits a while before it connects anew
            timed_out = TIMED_OUT & {str(each.reason) for each in error.args}
            return (NoAnswerError if timed_out else EndpointError)(name, "writing", said)
        return RefusedError(name, said)
