"""What flows read from and write to: data queues, Tango attributes, maps of attributes.

* told apart   by their fields: the names of their kinds differ between versions
* errors       `ConfigError` with paths of the flow's value
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from ...model.errors import ConfigError, Fault
from ...model.option import step
from .entities import Json


@attrs.frozen
class Queue:
    """A data queue: topics of a Kafka cluster, and the encoding of what is in them."""

    servers: str
    topics: tuple[str, ...]
    encoding: Any


@attrs.frozen
class TangoAttribute:
    """An attribute of a device: None is this connector."""

    device: str | None
    name: str
    dtype: Any
    shape: tuple[int, ...]
    default: Any


@attrs.frozen
class Selected:
    """An attribute of a map, and what it shows of the data."""

    attribute: TangoAttribute
    path: Any
    condition: Any


Sink = Queue | TangoAttribute | tuple[Selected, ...]


def sink_of(sink: object, path: str, device: str) -> Sink:
    """What a flow's sink is.

    Raises:
        ConfigError: it is nothing that this connector knows.
    """
    if not isinstance(sink, dict):
        raise refusal(path, f"expected an object, found {sink!r:.60}", _SINKS)
    if "attribute_trl" in sink:
        return attribute_of(sink, path, device)
    if "attributes" in sink:
        return _map(sink["attributes"], f"{path}.attributes", device)
    if "topics" in sink or "host" in sink:
        return _queue(sink, path)
    kind = str(sink.get("kind", "none"))[:60]
    raise refusal(path, f"the kind {kind!r} is none that data can be carried to", _SINKS)


_SINKS = "a data queue has host and topics, an attribute has attribute_trl, a map has attributes"


def _queue(sink: Json, path: str) -> Queue:
    host = sink.get("host")
    hosts = [one for one in (host if isinstance(host, list) else [host]) if isinstance(one, str)]
    servers = ",".join(one.removeprefix("kafka://").partition("/")[0] for one in hosts)
    if not servers.strip(","):
        raise refusal(f"{path}.host", f"expected a host, found {host!r:.60}", "e.g. kafka:9092")
    encoding = sink.get("format", sink.get("encoding"))
    return Queue(servers, topics_of(sink.get("topics"), f"{path}.topics"), encoding)


def topics_of(topics: object, path: str) -> tuple[str, ...]:
    """One topic or several."""
    found = topics if isinstance(topics, list) else [topics]
    if not found or not all(isinstance(topic, str) and topic for topic in found):
        raise refusal(path, f"expected a topic or a list, found {topics!r:.60}", "write its name")
    return tuple(found)


def attribute_of(sink: Json, path: str, device: str) -> TangoAttribute:
    """The attribute that an object describes."""
    trl = sink.get("attribute_trl", sink.get("trl"))
    where, name = parse_trl(trl, f"{path}.attribute_trl")
    return TangoAttribute(
        None if is_own(where, device) else where,
        name,
        sink.get("dtype", sink.get("data_type")),
        shape_of(sink, path),
        sink.get("default_value", sink.get("default", "")),
    )


def parse_trl(trl: object, path: str) -> tuple[str, str]:
    """The device and the attribute of a Tango resource locator; no device where it names none."""
    if not isinstance(trl, str) or not trl:
        raise refusal(path, f"expected an attribute, found {trl!r:.60}", _TRLS)
    address, _, fragment = trl.removeprefix("tango://").partition("#")
    parts = address.strip("/").split("/")
    if len(parts) not in (1, 4, 5) or not all(parts):
        raise refusal(path, f"{trl!r:.100} is not the name of an attribute", _TRLS)
    *device, name = parts
    where = "/".join(device)
    if len(device) == 4:  # with the host of a database, or of a server
        where = f"tango://{where}" + (f"#{fragment}" if fragment else "")
    return where, name


_TRLS = "e.g. tango://domain/family/member/attribute"


def is_own(device: str, own: str) -> bool:
    """Whether a device of a locator is this connector: its host says nothing, there may be many."""
    bare = device.removeprefix("tango://").partition("#")[0].split("/")[-3:]
    return not device or "/".join(bare).lower() == own.lower()


def shape_of(sink: Json, path: str) -> tuple[int, ...]:
    """The largest dimensions, by Tango's way to say them."""
    lengths = []
    for key, default in (("max_dim_y", 0), ("max_dim_x", 1)):
        length = sink.get(key, default)
        if length is None:
            length = default
        if not isinstance(length, int) or isinstance(length, bool) or length < 0:
            raise refusal(f"{path}.{key}", f"expected a length, found {length!r:.60}", "0 or more")
        lengths.append(length)
    rows, columns = lengths
    if rows:
        return (rows, max(columns, 1))
    return (columns,) if columns > 1 else ()


def _map(attributes: object, path: str, device: str) -> tuple[Selected, ...]:
    """A list of pairs or of objects, or a mapping of names: all of it has been seen or told of."""
    items: Iterable[tuple[str, object]]
    if isinstance(attributes, dict):
        items = [
            (
                f"{path}{step(name)}",
                {"attribute_trl": name} | item if isinstance(item, dict) else item,
            )
            for name, item in attributes.items()
        ]
    elif isinstance(attributes, list):
        items = [(f"{path}{step(place)}", item) for place, item in enumerate(attributes)]
    else:
        raise refusal(path, f"expected a list, found {attributes!r:.60}", _ENTRIES)
    found, faults = [], list[Fault]()
    for where, item in items:
        try:
            found.append(_selected(item, where, device))
        except ConfigError as error:
            faults += error.faults
    if faults or not found:
        raise ConfigError(faults or [Fault(path, "there are no attributes", _ENTRIES)])
    return tuple(found)


_ENTRIES = 'each is [{"attribute_trl": …, "dtype": …}, {"select": JMESPath, "when": JMESPath}]'


def _selected(item: object, path: str, device: str) -> Selected:
    named: Mapping[str, Any]
    if isinstance(item, list | tuple) and item and all(isinstance(part, dict) for part in item):
        named, said = item[0], {key: part[key] for part in item[1:] for key in part}
    elif isinstance(item, dict):
        named = said = item
    else:
        raise refusal(path, f"expected a pair or an object, found {item!r:.60}", _ENTRIES)
    made = attribute_of(named, path, device)
    if made.device is not None:
        message = f"the attribute {made.name!r} is one of {made.device}, not of this connector"
        raise refusal(f"{path}.attribute_trl", message, f"it is {device}")
    return Selected(made, _either(said, ("select", "path"), "@"), _either(said, ("when", "filter")))


def _either(said: Json, keys: Sequence[str], default: Any = None) -> Any:
    return next((said[key] for key in keys if said.get(key) is not None), default)


def refusal(path: str, message: str, hint: str) -> ConfigError:
    """What is wrong with a flow, as an error."""
    return ConfigError([Fault(path, message, hint)])
