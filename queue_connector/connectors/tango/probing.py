"""Whether a device answers, and has an attribute that can be subscribed to or written."""

from __future__ import annotations

from collections.abc import Iterator

import tango

from ...model.probe import Probe
from .client import CALL_TIMEOUT, connected, thread_context
from .failures import told

_NO_EVENTS = frozenset({"API_AttributePollingNotStarted", "API_EventPropertiesNotSet"})


def probe_attribute(device: str, attribute: str, event_type: int | None) -> Iterator[Probe]:
    """Reach the device and look at the attribute; with an *event_type*, subscribe for a moment."""
    with thread_context():
        try:
            proxy = connected(device, CALL_TIMEOUT)
        except tango.DevFailed as error:
            hint = (
                "start its server, or mend device_name or TANGO_HOST; without a Tango database the "
                "name is tango://HOST:PORT/a/b/c#dbase=no"
            )
            yield Probe(f"the device {device}", problem=_said(error), hint=hint, awaited=True)
            return
        yield Probe(f"the device {device}", "it answers")
        name = f"the attribute {device}/{attribute}"
        try:
            info = proxy.get_attribute_config(attribute)
        except tango.DevFailed as error:
            has = ", ".join(sorted(proxy.get_attribute_list()))[:300]
            yield Probe(name, problem=_said(error), hint=f"it has {has}", awaited=True)
            return
        kind = tango.CmdArgType.values[info.data_type]
        found = f"{kind} {info.data_format}"
        if event_type is None:
            if info.writable is tango.AttrWriteType.READ:
                yield Probe(name, found, "it cannot be written", "name another attribute")
            else:
                yield Probe(name, found)
            return
        try:
            proxy.unsubscribe_event(
                proxy.subscribe_event(
                    attribute, tango.EventType.values[event_type], lambda _event: None
                )
            )
        except tango.DevFailed as error:
            reason, _ = told(error.args)
            hint = "see whether its host and event ports can be reached from here"
            if reason in _NO_EVENTS:
                hint = "have the device push its events, or have Tango poll the attribute"
            yield Probe(name, found, _said(error), hint, awaited=True)
            return
        yield Probe(name, f"{found}, and sends events")


def _said(error: tango.DevFailed) -> str:
    reason, message = told(error.args)
    return f"{message} [{reason}]"
