"""One consumer for all topics that a device reads from one cluster with one log-in.

Its thread polls, sorts what came by topic, and hands each topic its messages, once per burst.

* full      a source that has enough has its partitions paused, and nobody else's. Pausing throws
            away what was fetched ahead, so a short while is waited before
* apart     of what one topic or broker does, the others see nothing; what is asked is asked in
            another thread (`cluster`), since calls on one consumer wait for each other
* groups    what is settled is committed, for all topics of the group together (`committing`)
* source    librdkafka, CONFIGURATION.md; ``incremental_assign`` works outside groups
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, ClassVar

import trio
from confluent_kafka import Consumer, KafkaException, Message

from ...model.errors import EndpointError
from ...model.shared import Shared
from ...runtime.inbox import ToTrio
from ...runtime.lane import Lane
from ...runtime.worker import TICK
from .bookmark import Bookmark
from .client import STRANDED, describe, error_of
from .cluster import LOOK_INTERVAL, Asker, Cluster, Found, Watcher
from .committing import Committing
from .partitions import TopicPartitions
from .subscription import Subscription

FETCH_WAIT = 100
"""Milliseconds that a broker may hold back the answer that there is nothing.

Each such question names all partitions, so that idle ones cost the less the longer this is; and a
topic that is added is asked for with the next question.
"""

_MOST = 1000  # messages of a burst
_READ_AHEAD = 4 * 1024  # KiB that a consumer fetches beyond what was taken
_IDLE = 0.02  # s of a poll while nobody waits for anything but messages
_BUSY = 0.002  # s of a poll while somebody does
_HOLD = 0.02  # s that a full source may hold up others before it is paused
_HOLD_ALONE = 1.0  # s that it may when there are no others
_UPKEEP = 0.5  # s between looks at everything else
_SECOND_CHANCE = 6.0  # s for a client to be answered after all


class Reader(Watcher):
    """The consumer and its thread; ``async with`` opens and closes them."""

    is_member: ClassVar[bool] = False
    """Whether the group shares out the partitions, see `member`."""

    def __init__(
        self, shared: Shared, cluster: Cluster, group: str | None, log: logging.Logger
    ) -> None:
        self.asker: Asker
        self.bookmark: Bookmark | None = None
        self._shared = shared
        self._cluster = cluster
        self._group = group
        self._log = log
        self._claimed: set[str] = set()
        self._topics: dict[str, TopicPartitions] = {}
        self.unmarked: set[TopicPartitions] = set()
        self._committing: Committing | None = None
        self._full: set[TopicPartitions] = set()
        self._orders: deque[Callable[[], object]] = deque()
        self._consumer: Consumer | None = None
        self._heard_at = self._suspected_at = 0.0
        self._next_upkeep = 0.0
        self._hurried_until = 0.0
        self._failure: Exception | None = None
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Reader:
        self.tell = ToTrio()
        async with AsyncExitStack() as opening:
            self.asker = await opening.enter_async_context(
                self._shared.use(self._cluster, lambda: Asker(self._cluster, self._log))
            )
            if self._group is not None:
                self.bookmark = Bookmark(self._group, self.asker.trouble, shared=self.is_member)
                self._committing = Committing(self.bookmark, self._topics, self.unmarked, self.tell)
            self._lane = Lane("kafka-reads", turn=self._turn)
            await opening.enter_async_context(self._lane)
            await self._lane.run(self._connect)
            self.asker.watch(self)
            opening.callback(self.asker.unwatch, self)
            self._stack = opening.pop_all()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self.asker.unwatch(self)
        await self._lane.run(self._close)
        await self._stack.aclose()

    def claim(self, subscription: Subscription) -> bool:
        """Read its topic, unless it is read for somebody else already."""
        if subscription.topic in self._claimed:
            return False
        self._claimed.add(subscription.topic)
        if self._committing is not None:
            subscription.on_moved = partial(self._committing.moved, subscription.topic)
        subscription.condition.waits(str(self._cluster))
        self._lane.post(partial(self._add, subscription))
        return True

    async def leave(self, subscription: Subscription, grace: float) -> None:
        """Commit what was settled of the topic, and read it no more."""
        subscription.close()
        if self._committing is not None:
            self._lane.post(partial(self._committing.leaves, subscription))
            with trio.move_on_after(grace):
                await subscription.committed.wait()
        await self._lane.run(self._remove, subscription)
        self._claimed.discard(subscription.topic)

    # -- what partitions need ----------------------------------------------------------------------

    @property
    def consumer(self) -> Consumer:
        """The client that reads."""
        assert self._consumer is not None
        return self._consumer

    def post(self, function: Callable[..., object], *args: Any) -> None:
        """Call it in the thread that polls; any thread may ask."""
        self._orders.append(partial(function, *args))

    # -- in the thread that asks -------------------------------------------------------------------

    def topics(self) -> tuple[str, ...]:
        """The topics that are read."""
        return tuple(self._topics)

    def looked(self, found: Mapping[str, Found]) -> None:
        """What the cluster says of them."""
        self.post(self._looked, found)

    # -- in the thread that polls ------------------------------------------------------------------

    def _connect(self) -> None:
        self._heard_at = time.monotonic()
        self._suspected_at = 0.0
        self._consumer = self._cluster.make(Consumer, self._settings())

    def _settings(self) -> dict[str, Any]:
        return {
            **self._cluster.settings("reading", self.asker.trouble),
            "group.id": "queue-connector",  # librdkafka asks for one
            **(self.bookmark.settings() if self.bookmark else {}),
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
            "fetch.queue.backoff.ms": 5,
            "fetch.wait.max.ms": FETCH_WAIT,
            "queued.min.messages": 10_000,
            "queued.max.messages.kbytes": _READ_AHEAD,
        }

    def _close(self) -> None:
        if self._consumer is not None:
            self._consumer.close()
        self._consumer = None

    def _add(self, subscription: Subscription) -> None:
        if self._failure is not None:
            self.tell(subscription.fail, self._failure)
            return
        self._topics[subscription.topic] = self._read(subscription)
        self._hurried_until = time.monotonic() + 1.0
        self.asker.hurry()

    def _read(self, subscription: Subscription) -> TopicPartitions:
        return TopicPartitions(self, subscription)

    def _remove(self, subscription: Subscription) -> None:
        if self._committing is not None:
            self._committing.left(subscription)
        topic = self._topics.pop(subscription.topic, None)
        if topic is not None:
            self._full.discard(topic)
            self.unmarked.discard(topic)
            topic.close()

    def _turn(self) -> None:
        if self._consumer is None:
            time.sleep(TICK)  # until the jobs that open or end it have come
            return
        try:
            self._take_turn()
        except Exception as error:
            self._log.exception("%s: reading ended", self._cluster)
            self._failure = error
            for topic in self._topics.values():
                self.tell(topic.subscription.fail, error)
            raise

    def _take_turn(self) -> None:
        for _ in range(len(self._orders)):
            self._orders.popleft()()
        now = time.monotonic()
        if now >= self._next_upkeep:
            self._next_upkeep = now + _UPKEEP
            self._keep_up(now)
        if self._committing is not None:
            self._committing.commit(self.consumer)
        if self._full and self._is_held_up(now):
            time.sleep(_BUSY)
            return
        first = self.consumer.poll(self._patience(now))
        if first is not None:
            self._heard_at = time.monotonic()
            self._sort((first, *self.consumer.consume(_MOST - 1, 0)))

    def _patience(self, now: float) -> float:
        """How long to poll: whatever else is wanted waits for the end of it."""
        urgent = self._committing is not None and self._committing.urgent
        if urgent or now < self._hurried_until:
            return _BUSY
        return _IDLE if self._full or now - self._heard_at < 1.0 else TICK

    def _sort(self, burst: tuple[Message[Any, Any], ...]) -> None:
        by_topic: dict[str | None, list[Message[Any, Any]]] = {}
        for message in burst:
            by_topic.setdefault(message.topic(), []).append(message)
        for name, messages in by_topic.items():
            topic = self._topics.get(name or "")
            if topic is None or topic.subscription.closing:
                continue
            topic.take(messages)
            if topic.subscription.full:
                self._full.add(topic)
        self.asker.trouble.over()

    def _is_held_up(self, now: float) -> bool:
        """Whether to poll later: a source that is full will soon have room."""
        held = False
        for topic in list(self._full):
            if topic.subscription.has_room or topic.subscription.closing:
                self._full.discard(topic)
                topic.full_since = 0.0
                if topic.assignment.paused:
                    topic.assignment.resume()
            elif not topic.assignment.paused:
                topic.full_since = topic.full_since or now
                patience = _HOLD if len(self._topics) > len(self._full) else _HOLD_ALONE
                if now - topic.full_since < patience:
                    held = True
                else:
                    topic.assignment.pause()
        return held

    # -- now and then ------------------------------------------------------------------------------

    def _looked(self, found: Mapping[str, Found]) -> None:
        now = time.monotonic()
        for name, one in found.items():
            topic = self._topics.get(name)
            if topic is not None:
                topic.looked(one, now)
                topic.look_for_lost()
                if topic.asking:
                    self._hurried_until = now + 0.2  # the answers come soon

    def _keep_up(self, now: float) -> None:
        trouble = self.asker.trouble
        if trouble.refusal is not None and trouble.refused:
            for topic in self._topics.values():
                topic.fail(trouble.refusal)
        if now - max(self.asker.heard_at, self._heard_at) > 2 * LOOK_INTERVAL:
            for topic in self._topics.values():
                topic.unreachable(trouble.latest)
        for topic in self._topics.values():
            topic.note_ends()
        if self._topics:
            self._renew_if_stranded(now)
        if self._committing is not None:
            self._committing.check_if_due(self.consumer, now)

    def _renew_if_stranded(self, now: float) -> None:
        """Go on with another client where the cluster answers, but not this one."""
        if now - self._heard_at < STRANDED:
            return
        try:
            self.consumer.list_topics(next(iter(self._topics)), 0.2 + self.asker.patience / 4)
        except KafkaException as exception:
            if now - self.asker.heard_at > 2 * LOOK_INTERVAL:
                self._suspected_at = 0.0  # an outage
                return
            self._suspected_at = self._suspected_at or now
            if now - self._suspected_at < _SECOND_CHANCE:
                return
            reason = "its client is not answered and another one is: connecting anew"
            self.asker.trouble.report(f"{reason} ({describe(error_of(exception))})")
            self._renew()
        else:
            self._heard_at = time.monotonic()
            self._suspected_at = 0.0

    def _renew(self) -> None:
        self.consumer.close()
        try:
            self._connect()
        except EndpointError as error:
            for topic in self._topics.values():
                self.tell(topic.subscription.fail, error)
            return
        for topic in self._topics.values():
            topic.assignment.anew()
