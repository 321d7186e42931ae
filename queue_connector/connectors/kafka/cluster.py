"""One cluster with one login: how its clients are made, and what all who use it ask it together.

* asked     by one client in one thread of its own, so that no answer that is late holds up messages
* partitions  one look for the topics of everybody, every `LOOK_INTERVAL` seconds; offsets are
  asked for without waiting, and the answers are handed on as they come
* patience  a question gets `FIRST_PATIENCE` seconds; one that is not answered in time gets twice as
  many the next time, up to what the configuration allows (``request_timeout``)
* stranded  a client that was answered while its brokers were starting may forget them all, and
  never connect again (librdkafka, issue 5301). One that has had no answer for `STRANDED` seconds is
  put beside a new one; where that is answered, the old one is given up
* source    librdkafka, CONFIGURATION.md; Apache Kafka protocol, ``Metadata``, ``ListOffsets``
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

import attrs
from confluent_kafka import (
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from ...model.errors import EndpointError
from ...runtime.lane import Lane
from .client import (
    HOPELESS,
    STRANDED,
    Trouble,
    common_settings,
    describe,
    error_of,
    is_answered,
    make_client,
)
from .settings import Value

T = TypeVar("T")

LOOK_INTERVAL = 2.0
"""Seconds between looks for what has become of the topics."""

FIRST_PATIENCE = 0.5
"""Seconds that the first question to a broker gets."""

_LEISURE = 50  # of the time that making sense of an answer takes, between two looks
NO_SUCH_TOPIC = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC})

_spec: Any = OffsetSpec
EARLIEST, LATEST, at_time = _spec.earliest(), _spec.latest(), _spec.for_timestamp
"""What `Asker.begins` may ask for."""

_WAIT_INTERVAL = 0.25  # s between looks while a topic is missing, or somebody cannot go on
_EAGER = 10.0  # s for which that is done so often
_SECOND_CHANCE = 6.0  # s for a client to be answered after all: more than its longest back-offs
_REASON_INTERVAL = 5.0  # s between questions why a topic is not among all of them


@attrs.frozen
class Cluster:
    """Where a cluster is and how to log in: what has the same can share its clients."""

    servers: str
    options: tuple[tuple[str, Value], ...] = ()
    request_timeout: float = 5.0

    def settings(self, operation: str, trouble: Trouble | None = None) -> dict[str, Any]:
        """What every client is made with; reads the files that `options` refer to.

        Raises:
            EndpointError: a reference leads to nothing that can be used.
        """
        return {
            **common_settings(self.servers, dict(self.options), str(self), operation),
            **(trouble.settings() if trouble else {"log_level": 0}),
        }

    def make(self, client: Callable[[dict[str, Any]], T], settings: dict[str, Any]) -> T:
        """A client of librdkafka, see `make_client`."""
        return make_client(client, settings, str(self), "connecting")

    def __str__(self) -> str:
        return f"Kafka at {self.servers}"


@attrs.frozen
class Found:
    """What the cluster says of a topic."""

    leaders: Mapping[int, int]
    """Partition → the number of the broker that leads it, -1: none."""
    error: KafkaError | None = None

    @property
    def missing(self) -> bool:
        """Whether there is no such topic."""
        return self.error is not None and self.error.code() in NO_SUCH_TOPIC


_MISSING = Found({}, KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART))


class Watcher:
    """Somebody who wants to know of some topics; called in the asking thread."""

    def topics(self) -> Iterable[str]:
        """Of which topics."""
        raise NotImplementedError

    def looked(self, found: Mapping[str, Found]) -> None:
        """What there is of them; a topic that was not asked for is not among them."""
        raise NotImplementedError


class Asker:
    """Asks a cluster for what its readers want to know; ``async with`` opens and closes it."""

    def __init__(self, cluster: Cluster, log: logging.Logger) -> None:
        self.cluster = cluster
        self.trouble = Trouble(log, str(cluster))
        self.heard_at = 0.0
        """When the cluster has answered last; 0: not yet."""
        self.urgent = False
        """Whether somebody cannot go on before the next look."""
        self.patience = FIRST_PATIENCE
        """Seconds that the next question gets."""
        self._watchers: tuple[Watcher, ...] = ()
        self._client: AdminClient
        self._next_look = self._eager_until = 0.0
        self._reasons: dict[str, tuple[float, Found]] = {}
        self._suspected_at = 0.0
        self._probed_at = 0.0
        self._lane = Lane("kafka-asks", turn=self._turn, interval=_WAIT_INTERVAL)

    async def __aenter__(self) -> Asker:
        await self._lane.__aenter__()
        try:
            await self._lane.run(self._connect)
        except BaseException:
            await self._lane.__aexit__()
            raise
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self._watchers = ()
        await self._lane.__aexit__()  # bounded by the question that is being asked
        del self._client  # joins librdkafka's threads

    def watch(self, watcher: Watcher) -> None:
        """Tell *watcher* of its topics from now on, on the Trio thread."""
        self._watchers = (*self._watchers, watcher)

    def unwatch(self, watcher: Watcher) -> None:
        """Tell it no more, on the Trio thread."""
        self._watchers = tuple(other for other in self._watchers if other is not watcher)

    def hurry(self) -> None:
        """Look at once; any thread may ask for it."""
        self._eager_until = time.monotonic() + _EAGER
        self._next_look = 0.0
        self._lane.post(self._turn)

    def members(self, group: str) -> int:
        """How many members a group has, 0 if nobody says it; in the thread that asks.

        Asked of every broker: see `beginning` for why this client must not ask a coordinator.
        """
        found: Any = ()
        with suppress(KafkaException):  # it is only told; who needs an answer finds the reason
            found = self._client.list_groups(group, self.patience)
        return sum(len(one.members) for one in found)

    def begins(
        self,
        places: Iterable[tuple[str, int]],
        spec: Any,
        then: Callable[[tuple[str, int], int | KafkaError], None],
    ) -> None:
        """Ask where partitions begin, end, or reach a time, of each by itself; any thread may.

        *then* is called in librdkafka's thread; -1 means that a time is not reached.
        """
        asked = {TopicPartition(*place): spec for place in places}
        answers = self._client.list_offsets(
            asked,
            isolation_level=IsolationLevel.READ_COMMITTED,
            request_timeout=self.patience,
        )
        for place, future in answers.items():
            told = partial(then, (place.topic, place.partition))
            future.add_done_callback(partial(self._answer, told, _offset))

    def _answer(self, then: Callable[[Any], None], read: Callable[[Any], Any], done: Any) -> None:
        try:
            answer = read(done.result())
        except KafkaException as exception:
            error = error_of(exception)
            self.unanswered(error)
            then(error)
        else:
            self._heard(self.patience / 4)
            then(answer)

    # -- looks -------------------------------------------------------------------------------------

    def _connect(self) -> None:
        settings = self.cluster.settings("connecting", self.trouble)
        self._client = self.cluster.make(AdminClient, settings)
        self._suspected_at = 0.0
        self._probed_at = time.monotonic()

    def _turn(self) -> None:
        self._client.poll(0)  # serves what librdkafka has to say
        now = time.monotonic()
        if now < self._next_look:
            return
        wanted = {topic for watcher in self._watchers for topic in watcher.topics()}
        if not wanted:
            return
        self._next_look = now + LOOK_INTERVAL
        self.urgent = False
        worked = time.thread_time()
        found = self._look(wanted)
        leisure = _LEISURE * (time.thread_time() - worked)
        if found is None:
            self._next_look = now + _WAIT_INTERVAL
            self._replace_if_stranded()
            return
        self._suspected_at = 0.0
        for watcher in self._watchers:
            watcher.looked({topic: found[topic] for topic in watcher.topics() if topic in found})
        interval = LOOK_INTERVAL
        if self.urgent or any(one.error is not None for one in found.values()):
            interval = _WAIT_INTERVAL if now < self._eager_until else 1.0
        self._next_look = now + max(interval, leisure)

    def _look(self, wanted: set[str]) -> dict[str, Found] | None:
        """What there is of these topics; none: no answer.

        All topics are asked for. Of one by its name this client, which is a producer to librdkafka,
        would make the broker make it.
        """
        everything = self._ask(lambda patience: self._client.list_topics(timeout=patience))
        if everything is None:
            return None
        found = {}
        for topic in wanted:
            there = everything.topics.get(topic)
            found[topic] = self._reason(topic) if there is None else _found(there)
        for topic in set(self._reasons) - {t for t in wanted if t not in everything.topics}:
            del self._reasons[topic]
        return found

    def _reason(self, topic: str) -> Found:
        """Why a topic is not among all that there are: it is not, or may not be seen."""
        now = time.monotonic()
        asked_at, reason = self._reasons.get(topic, (-_REASON_INTERVAL, _MISSING))
        if now - asked_at > _REASON_INTERVAL:
            self._reasons[topic] = (now, reason)
            asked = self._client.describe_topics(
                TopicCollection([topic]), request_timeout=self.patience
            )
            asked[topic].add_done_callback(partial(self._reason_found, topic))
        return reason

    def _reason_found(self, topic: str, done: Any) -> None:
        error = done.exception()
        if isinstance(error, KafkaException) and error_of(error).code() in HOPELESS:
            self._reasons[topic] = (time.monotonic(), Found({}, error_of(error)))
            self._next_look = 0.0

    def _ask(self, question: Callable[[float], T]) -> T | None:
        began = time.monotonic()
        try:
            answer = question(self.patience)
        except KafkaException as exception:
            self.unanswered(error_of(exception))
            return None
        self._heard(time.monotonic() - began)
        return answer

    def _heard(self, took: float) -> None:
        self.heard_at = time.monotonic()
        self.patience = max(self.patience / 2, FIRST_PATIENCE, min(4 * took, self._longest))
        self.trouble.over()

    def unanswered(self, error: KafkaError) -> None:
        """A question was not answered: why, and the next ones get more time if that was short."""
        self.trouble.report(describe(error))
        if error.code() == KafkaError._TIMED_OUT:  # there is a broker, but it takes its time
            self.patience = min(2 * self.patience, self._longest)

    @property
    def _longest(self) -> float:
        return max(FIRST_PATIENCE, self.cluster.request_timeout)

    def _replace_if_stranded(self) -> None:
        """Go on with another client where a new one is answered and this one is not."""
        now = time.monotonic()
        if self._suspected_at:
            if now - self._suspected_at > _SECOND_CHANCE:
                self.trouble.report("its client is not answered, a new one is: connecting anew")
                with suppress(EndpointError):  # what it refers to may be there the next time
                    self._connect()
            return
        if now - max(self.heard_at, self._probed_at) > STRANDED:
            self._probed_at = now
            if self._new_one_is_answered():
                self._suspected_at = now

    def _new_one_is_answered(self) -> bool:
        try:
            settings = self.cluster.settings("connecting")
        except EndpointError:
            return False
        return is_answered(settings, 2 * self.patience)


def _found(topic: Any) -> Found:
    return Found({n: part.leader for n, part in topic.partitions.items()}, topic.error)


def _offset(answer: Any) -> int:
    offset: int = answer.offset
    return offset
