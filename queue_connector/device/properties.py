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
    standby: bool = False
    """Whether it waits where another device streams what it is to stream."""
    attributes: tuple[StaticAttribute, ...] | None = ()
    """None where the property cannot be used."""
    faults: tuple[str, ...] = ()

    @classmethod
    def of(cls, device: Any) -> Properties:
        """Read those of a device; nothing is ever raised for what they hold."""
        reader = _Reader(device)
        reader.load_plugins()  # before anything is read that may name what they offer
        path = reader.path()
        configuration = "\n".join(device.exchanges_json)  # tools make a value of each line
        flows = reader.flows(otherwise=bool(path or configuration.strip()))
        return cls(
            configuration=configuration,
            path=path,
            flows=flows,
            flow_states=reader.choice("flow_states", "on", "off") == "on",
            standby=reader.standby(bool(flows or reader.text("exchanges_config_path"))),
            stop_grace=reader.number("stop_grace", STOP_GRACE, MAX_GRACE, "seconds"),
            metrics_port=reader.port("metrics_port"),
            metrics_host=reader.text("metrics_host"),
            attributes=reader.attributes(),
            faults=tuple(reader.faults),
        )


class _Reader:
    """Reads the properties of a device, and collects what is wrong with them."""

    def __init__(self, device: Any) -> None:
        self.faults: list[str] = []
        self._device = device

    def text(self, name: str) -> str:
        return str(getattr(self._device, name)).strip()

    def number(self, name: str, default: float, most: float, what: str) -> float:
        text = self.text(name)
        try:
            found = float(text or default)
        except ValueError:
            found = math.nan
        if 0 <= found <= most:
            return found
        self._refuse(name, text, f"{what} from 0 to {most:.0f}")
        return default

    def port(self, name: str) -> int:
        found = self.number(name, 0, (1 << 16) - 1, "a port")
        if found == int(found):
            return int(found)
        self._refuse(name, str(found), "a whole number")
        return 0

    def choice(self, name: str, *known: str) -> str:
        """One of those known; the first is the default."""
        text = self.text(name).lower() or known[0]
        if text in known:
            return text
        self._refuse(name, text, f"one of {', '.join(known)}")
        return known[0]

    def path(self) -> str:
        name = "exchanges_config_path"
        path = self.text(name).replace("{}", str(self._device.subarray_id))
        try:
            return check_path(path) if path else ""
        except ConfigError as error:
            (fault,) = error.faults
            self._refuse(name, path, fault.message)
            return ""

    def flows(self, *, otherwise: bool) -> str:
        """The subarray whose flows are to be followed; *otherwise* it is configured."""
        subarray = self.text("subarray_id")
        wanted = self.choice("flows", "auto", "on", "off")
        if wanted == "on" and not subarray:
            self.faults.append("the property flows is 'on'; subarray_id must say of which subarray")
        if wanted == "on" and self.text("exchanges_config_path"):
            self.faults.append("the property flows is 'on'; exchanges_config_path must be empty")
        return subarray if wanted == "on" or (wanted == "auto" and not otherwise) else ""

    def standby(self, follows: bool) -> bool:
        """*follows* says whether the device follows anything that another may follow too."""
        wanted = self.choice("standby", "false", "true") == "true"
        if wanted and not follows:
            self.faults.append(
                "the property standby is true; exchanges_config_path or subarray_id must say "
                "what for"
            )
        return wanted

    def attributes(self) -> tuple[StaticAttribute, ...] | None:
        try:
            return static_attributes.parse("\n".join(self._device.attributes))
        except ConfigError as error:
            self.faults += [f"the property attributes: {fault}" for fault in error.faults]
            return None

    def load_plugins(self) -> None:
        errors = plugins.load(plugins.asked_for(self._device.plugins))
        self.faults += [f"the property plugins: {error}" for error in errors]

    def _refuse(self, name: str, value: str, expected: str) -> None:
        shown = printable(shortened(value, MAX_TOLD))
        self.faults.append(f"the property {name} is {shown!r}; expected {expected}")
