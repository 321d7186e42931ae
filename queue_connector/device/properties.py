"""The device's properties as they are used, and what is wrong with those that are not.

In a Tango database a property is text, whatever the device says of its type, and whoever writes it
may write anything. So all of them are texts to Tango, and are read here: one that cannot be used
counts as not given, and is told with its name, its value and what is allowed.
"""

from __future__ import annotations

import math
from typing import Any

import attrs

from ..configdb import check_path
from ..configuration import attributes as static_attributes, plugins
from ..connectors.tango.static_attributes import StaticAttribute
from ..engine.supervisor import STOP_GRACE
from ..model.errors import ConfigError
from ..model.texts import printable, shortened

MAX_GRACE = 3600.0
"""Seconds that ``stop_grace`` may be at most."""

MAX_TOLD = 60
"""Characters of a bad value that are told."""


@attrs.frozen(kw_only=True)
class Properties:
    """What the properties say; ``faults`` names those that cannot be used, a line for each."""

    configuration: str
    path: str
    stop_grace: float
    metrics_port: int
    metrics_host: str
    flows: str = ""
    """The subarray whose flows are followed; empty for none."""
    flow_states: bool = True
    """Whether the states of the flows are told."""
    attributes: tuple[StaticAttribute, ...] | None = ()
    """None where the property cannot be used."""
    faults: tuple[str, ...] = ()

    @classmethod
    def of(cls, device: Any) -> Properties:
        """Read those of a device; nothing is ever raised for what they hold."""
        # Before anything is read that may name what they offer.
        unusable = plugins.load(plugins.asked_for(device.plugins))
        faults = [f"the property plugins: {error}" for error in unusable]

        def number(name: str, default: float, most: float, what: str) -> float:
            text = str(getattr(device, name)).strip()
            try:
                found = float(text or default)
            except ValueError:
                found = math.nan
            if 0 <= found <= most:
                return found
            faults.append(_fault(name, text, f"{what} from 0 to {most:.0f}"))
            return default

        path = str(device.exchanges_config_path).strip().replace("{}", str(device.subarray_id))
        if path:
            try:
                check_path(path)
            except ConfigError as error:
                (found,) = error.faults
                faults.append(_fault("exchanges_config_path", path, found.message))
                path = ""
        port = number("metrics_port", 0, (1 << 16) - 1, "a port")
        if port != int(port):
            faults.append(_fault("metrics_port", str(port), "a whole number"))
            port = 0

        def choice(name: str, *known: str) -> str:
            text = str(getattr(device, name)).strip().lower() or known[0]
            if text in known:
                return text
            faults.append(_fault(name, text, f"one of {', '.join(known)}"))
            return known[0]

        subarray = str(device.subarray_id).strip()
        wanted = choice("flows", "auto", "on", "off")
        if wanted == "on" and not subarray:
            faults.append("the property flows is 'on'; subarray_id must say of which subarray")
        if wanted == "on" and path:
            faults.append("the property flows is 'on'; exchanges_config_path must be empty then")
        others = path or "".join(device.exchanges_json).strip()
        flows = subarray if wanted == "on" or (wanted == "auto" and not others) else ""
        attributes: tuple[StaticAttribute, ...] | None = None
        try:
            attributes = static_attributes.parse("\n".join(device.attributes))
        except ConfigError as error:
            faults += [f"the property attributes: {fault}" for fault in error.faults]
        return cls(
            configuration="\n".join(device.exchanges_json),  # tools make a value of each line
            path=path,
            flows=flows,
            flow_states=choice("flow_states", "on", "off") == "on",
            stop_grace=number("stop_grace", STOP_GRACE, MAX_GRACE, "seconds"),
            metrics_port=int(port),
            metrics_host=str(device.metrics_host).strip(),
            attributes=attributes,
            faults=tuple(faults),
        )


def _fault(name: str, value: str, expected: str) -> str:
    return f"the property {name} is {printable(shortened(value, MAX_TOLD))!r}; expected {expected}"
