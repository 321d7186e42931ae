"""Messages of a Kafka topic as data, as a configuration says it; see `consumer_source`."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import TYPE_CHECKING, Literal

import attrs

from ...model.datatypes import DataSpec
from ...model.endpoints import SourceDescriptor, sources
from ...model.errors import Fault
from ...model.option import option
from ...model.services import Client, Services
from .settings import Value
from .subscription import Start
from .topic import KafkaTopicDescriptor

if TYPE_CHECKING:
    from .consumer_source import KafkaConsumerSource

MAX_OFFSET = 2**63 - 1
MAX_SESSION = 1800.0  # s, of a broker that is not told otherwise


@sources.register("KafkaConsumerSource")
@attrs.frozen(kw_only=True)
class KafkaConsumerSourceDescriptor(KafkaTopicDescriptor, SourceDescriptor):
    """Reads every partition of a topic, from its end as of the start unless told otherwise."""

    start: int | str = option(
        default="latest",
        ge=0,
        doc="Where reading begins: 'latest' is the end as of the start, 'earliest' the beginning; "
        "an offset; or a time in ISO 8601 with its zone, 2026-01-31T12:00:00Z, for the first "
        "message that is not older. Where the group has a position, that counts instead.",
    )
    group_id: str | None = option(
        default=None,
        min_length=1,
        doc="The consumer group under which Kafka keeps the position, for this source alone: of "
        "what every sink has accepted. A restart goes on there. Without, nothing is kept.",
    )

    members: Literal["single", "shared"] = option(
        default="single",
        doc="'shared': the connectors that give this topic and group_id share the partitions, by "
        "Kafka's consumer groups; each reads some, and takes over those of one that is gone. "
        "'single': this one reads all partitions, and nobody else may have the group.",
    )
    session_timeout: float = option(
        default=10.0,
        ge=6.0,
        unit="s",
        doc="With members 'shared': how long a member may be silent before the others take over "
        "its partitions. Where the broker itself is away for longer, some data come twice.",
    )
    request_timeout: float = option(
        default=5.0,
        gt=0.0,
        unit="s",
        doc="How long a question to the broker may take at most. Half a second is waited first, "
        "and longer as that proves too short; so only lines whose round trips take seconds need "
        "more than the default. Sources with different values share no client.",
    )

    @property
    def login(self) -> tuple[str, tuple[tuple[str, Value], ...], float]:
        """Where the cluster is, how to log in, and how long an answer may take."""
        return self.bootstrap, tuple(sorted(self.options.items())), self.request_timeout

    @property
    def client(self) -> Client:
        """A consumer of cluster and group; who reads a topic twice, or shares it, has another."""
        own = (self.topic,) if self.members == "shared" else ()
        return Client((type(self), self.login, self.group_id, *own), self.topic)

    @property
    def origin(self) -> Hashable:
        """Servers and topic, where offsets mean the same, and where reading was to begin."""
        return (type(self), self.bootstrap, self.topic, self.start, self.group_id)

    @property
    def bookmark(self) -> Hashable:
        """The group's position in the topic."""
        if self.group_id is None:
            return None
        return (type(self), self.bootstrap, self.topic, self.group_id)

    def faults(self, spec: DataSpec) -> Iterator[Fault]:
        """Also a start that is none."""
        yield from super().faults(spec)
        try:
            start = Start.parse(self.start)
        except ValueError as error:
            yield Fault(
                "$.start",
                f"{self.start!r:.80} is no place to begin: {error}",
                "write 'latest', 'earliest', an offset, or a time like 2026-01-31T12:00:00Z",
            )
        else:
            if start.value > MAX_OFFSET:
                yield Fault("$.start", f"no offset is larger than {MAX_OFFSET}", "write 'latest'")
        if self.members == "shared":
            yield from self._sharing_faults()

    def _sharing_faults(self) -> Iterator[Fault]:
        if self.session_timeout > MAX_SESSION:
            told = f"a broker lets nobody be silent for more than {MAX_SESSION:g} s"
            yield Fault("$.session_timeout", told, "write some ten seconds")
        if self.group_id is None:
            hint = "write a group_id, the same for all that share the topic"
            yield Fault("$.members", "'shared' needs a group whose members they are", hint)
        if isinstance(self.start, int):
            yield Fault(
                "$.start",
                "an offset is a place in one partition, and the members read different ones",
                "write 'latest', 'earliest', or a time like 2026-01-31T12:00:00Z",
            )

    def build(self, spec: DataSpec, services: Services) -> KafkaConsumerSource:
        """The source, not started."""
        from .consumer_source import KafkaConsumerSource

        return KafkaConsumerSource(self, spec, services)
