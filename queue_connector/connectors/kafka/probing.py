"""Whether a broker answers and has a topic, with a client of its own that is gone afterwards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from confluent_kafka import libversion
from confluent_kafka.admin import AdminClient

from ...model.errors import EndpointError, counted
from ...model.probe import Probe
from .client import KafkaError, KafkaException, common_settings, describe, error_of, make_client
from .settings import Value

VERSION: str = libversion()[0]
"""That of librdkafka."""

PATIENCE = 5.0
"""Seconds that a broker has for an answer."""


def probe_topic(
    servers: str, topic: str, options: Mapping[str, Value], *, written: bool
) -> Iterator[Probe]:
    """Ask for the brokers and their topics; blocks for `PATIENCE` seconds at most."""
    where = f"Kafka at {servers}"
    said: list[str] = []

    def note(error: KafkaError) -> None:
        if error.code() != KafkaError._ALL_BROKERS_DOWN:  # why, is said beside it
            said.append(describe(error))

    try:
        settings = common_settings(servers, options, where, "looking")
        settings |= {"log_level": 0, "error_cb": note}
        client = make_client(AdminClient, settings, where, "looking")
        # Of all topics: whoever asks for one may have it made by that.
        metadata = client.list_topics(timeout=PATIENCE)
    except EndpointError as error:
        yield Probe(where, problem=error.reason, hint="mend the options of its exchanges")
        return
    except KafkaException as exception:
        client.poll(0)  # what librdkafka has to say of its connections
        why = "; ".join(dict.fromkeys(said)) or describe(error_of(exception))
        hint = "start it, or mend servers and options; nc -zv HOST PORT tells whether it listens"
        yield Probe(where, problem=why, hint=hint, awaited=True)
        return
    yield Probe(where, counted(len(metadata.brokers), "broker"))
    name, found = f"the topic {topic!r} at {servers}", metadata.topics.get(topic)
    if found is None:
        does = "is written once it is there" if written else "is read from its beginning then"
        seen = "it does not exist, or this log-in may not see it"
        yield Probe(name, problem=seen, hint=f"make it; it {does}", awaited=True)
    elif found.error is not None:
        yield Probe(name, problem=describe(found.error), hint="see the brokers' access lists")
    else:
        yield Probe(name, counted(len(found.partitions), "partition"))
