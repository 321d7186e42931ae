"""A flow, and the flows that it reads from → an exchange, as a configuration would write it.

================================  =================================================================
from → to                         sources and sink of the exchange
================================  =================================================================
data queue → attribute            ``KafkaConsumerSource`` → ``TangoLocalAttributeSink``, or
                                  ``TangoRemoteAttributeSink`` where the device is another one
data queue → map of attributes    ``KafkaConsumerSource`` → ``TangoObjectScatterAttributeSink``
attribute → data queue            ``TangoSubscriptionSource`` → ``KafkaProducerSink``
attribute → attribute, map        ``TangoSubscriptionSource`` → as above
data queue → data queue           bytes where the formats are equal, else objects
================================  =================================================================

What a source's ``parameters`` say in the words of a configuration is taken over: for that source,
or for the exchange and its sink, where the last source that says it counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ...model.errors import ConfigError
from ...model.option import step
from .choosing import our_sources
from .ends import Queue, Sink, TangoAttribute, attribute_of, refusal, sink_of, topics_of
from .entities import FLOWS, Entities, Flow, FlowKey, Json

_OF_EXCHANGE = ("dtype", "shape", "labels", "pipe", "on_error", "buffer")
_OF_SUBSCRIPTION = ("type", "stateless", "etype")
_OF_CONSUMER = ("start", "group_id", "variable", "options")
_OF_PRODUCER = ("timestamp_options", "message_max_bytes", "options")


class NotThereError(Exception):
    """A flow that is read from does not exist yet."""

    def __init__(self, uri: str) -> None:
        super().__init__(f"waits for {uri} to be created")


def exchange_of(flow: Flow, entities: Entities, device: str) -> dict[str, Any]:
    """The exchange that carries a flow; *device* is the Tango name of this connector.

    Raises:
        NotThereError: a flow that it reads from does not exist yet.
        ConfigError: the flow says something that cannot be understood; paths are of its value.
    """
    if flow.entity.fault is not None:
        raise ConfigError([flow.entity.fault])
    sink = sink_of(flow.entity.body.get("sink"), "$.sink", device)
    ends, sources, parameters = [], list[dict[str, Any]](), dict[str, Any]()
    for place, source in our_sources(flow):
        path, said = f"$.sources{step(place)}", _parameters(source)
        end = _resolved(source, path, flow.key, entities, device)
        ends.append(end)
        sources += _source(end, said, device)
        parameters |= said
    exchange = _carried(ends, sink)
    exchange["source"] = sources
    exchange["sink"] = _sink(sink, parameters)
    return exchange | {key: parameters[key] for key in _OF_EXCHANGE if key in parameters}


def _carried(sources: Sequence[Queue | TangoAttribute], sink: Sink) -> dict[str, Any]:
    """What the data are: said by the attribute, where one of the ends is one."""
    for end in (*sources, sink):
        if isinstance(end, TangoAttribute) and end.dtype is not None:
            return {"dtype": end.dtype, "shape": list(end.shape)}
    encodings = [end.encoding for end in (*sources, sink) if isinstance(end, Queue)]
    if not encodings:
        raise refusal("$.sink", "no end says of which dtype the data are", 'write "dtype"')
    alike = isinstance(sink, Queue) and all(one == encodings[0] for one in encodings)
    return {"dtype": "bytes" if alike else "object"}


def _parameters(source: Json) -> Json:
    said = source.get("parameters")
    return said if isinstance(said, dict) else {}


def _source(
    source: Queue | TangoAttribute, parameters: Json, device: str
) -> Iterator[dict[str, Any]]:
    if isinstance(source, Queue):
        given = {key: parameters[key] for key in _OF_CONSUMER if key in parameters}
        for topic in source.topics:
            yield {
                "type": "KafkaConsumerSource",
                "servers": source.servers,
                "topic": topic,
                "encoding": source.encoding,
            } | given
        return
    given = {"stateless": True} | {k: parameters[k] for k in _OF_SUBSCRIPTION if k in parameters}
    yield {
        "type": "TangoSubscriptionSource",
        "device_name": source.device or device,
        "attribute_name": source.name,
    } | given


def _sink(sink: Sink, parameters: Json) -> list[dict[str, Any]]:
    if isinstance(sink, Queue):
        given = {key: parameters[key] for key in _OF_PRODUCER if key in parameters}
        return [
            {
                "type": "KafkaProducerSink",
                "servers": sink.servers,
                "topic": topic,
                "encoding": sink.encoding,
            }
            | given
            for topic in sink.topics
        ]
    if isinstance(sink, TangoAttribute):
        if sink.device is not None:
            named = {"device_name": sink.device, "attribute_name": sink.name}
            return [{"type": "TangoRemoteAttributeSink"} | named]
        local = {"attribute_name": sink.name, "default_value": sink.default}
        return [{"type": "TangoLocalAttributeSink"} | local]
    shown = [
        {
            "attribute_name": selected.attribute.name,
            "dtype": selected.attribute.dtype,
            "shape": list(selected.attribute.shape),
            "path": selected.path,
            "filter": selected.condition,
            "default_value": selected.attribute.default,
        }
        for selected in sink
    ]
    return [{"type": "TangoObjectScatterAttributeSink", "attributes": shown}]


# -- where a flow reads from -----------------------------------------------------------------------


def _resolved(
    source: Json, path: str, reader: FlowKey, entities: Entities, device: str
) -> Queue | TangoAttribute:
    uri = source.get("uri")
    if not isinstance(uri, str):
        raise refusal(f"{path}.uri", f"expected a URI, found {uri!r:.60}", _URIS)
    found: Sink
    if uri.startswith("kafka://"):
        servers, _, topic = uri.removeprefix("kafka://").partition("/")
        encoding = _parameters(source).get("format", "msgpack_numpy")
        found = Queue(servers, topics_of(topic, f"{path}.uri"), encoding)
    elif uri.startswith("tango://"):
        found = attribute_of({"attribute_trl": uri, **_parameters(source)}, path, device)
    elif (key := FlowKey.parse(uri)) is not None and uri.startswith(f"{FLOWS}/"):
        if (flow := find(key, entities)) is None:
            raise NotThereError(uri)
        if flow.key == reader:
            raise refusal(f"{path}.uri", "the flow reads itself", "name the flow to read from")
        found = sink_of(flow.entity.body.get("sink"), f"{path}.uri: {flow.key.path} $.sink", device)
    else:
        raise refusal(f"{path}.uri", f"{uri!r:.100} names nothing to read from", _URIS)
    if isinstance(found, tuple):
        raise refusal(f"{path}.uri", "a map of attributes cannot be read from", "name one of them")
    return found


_URIS = "e.g. /flow/pb-test-20260101-a:data-queue:name, tango://a/b/c/attribute, kafka://host/topic"


def find(key: FlowKey, entities: Entities) -> Flow | None:
    """The flow of this key; else the one whose kind is written another way, if it can be read."""
    if (exact := entities.flow(key)) is not None:
        return exact
    for other, flow in entities.flows.get(key.pb_id, {}).items():
        alike = normalised(other.kind) == normalised(key.kind)
        if other.name == key.name and alike and can_be_read(flow):
            return flow
    return None


def normalised(kind: str) -> str:
    """A kind as it is compared."""
    return kind.lower().replace("-", "").replace("_", "")


def can_be_read(flow: Flow) -> bool:
    """Whether a flow's sink is something that data can be read from."""
    sink = flow.entity.body.get("sink")
    return isinstance(sink, dict) and ("attribute_trl" in sink or "topics" in sink)
