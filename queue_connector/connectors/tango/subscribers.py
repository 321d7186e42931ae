"""Those who get the events of the device's attributes: none of them holds up anything.

A subscriber that is stopped, slow or gone without a word has what waits for it in ZeroMQ's queue,
and misses what is beyond a thousand events (`event_copies` tells why nobody waits for it). It is
named while it is slow, and its next events reach it as soon as it takes them. Where large events
make the queue take too much memory, the slowest one is cut off; it subscribes anew when it wakes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

import tango
import trio

from ...runtime.lane import Lane
from . import event_copies
from .event_connections import EventConnections, Ports

log = logging.getLogger(__name__)

BACKLOG = 64 << 20
"""Bytes of large events that may wait for slow subscribers, before the slowest one is cut off."""

BACKLOG_EVENTS = 3
"""The same as a number of the largest events, where that makes more bytes."""

LOOK = 1.0
"""Seconds between two looks at the subscribers' connections."""


class Subscribers:
    """The subscribers of a server's attributes, which come to the *ports* that Tango tells."""

    def __init__(self, ports: Callable[[], Ports | None]) -> None:
        self._connections = EventConnections(ports)
        self._largest = 0
        try:
            event_copies.install()
        except event_copies.CannotCopyError as error:
            log.warning("a slow subscriber of a large attribute can hold up the device: %s", error)

    @property
    def cut(self) -> int:
        """How many were cut off."""
        return self._connections.cut

    def slow(self) -> Mapping[str, float]:
        """The addresses of those that are slow now, with the seconds since when."""
        now = time.monotonic()
        return {slow.peer: now - slow.since for slow in self._connections.slow()}

    def told(self) -> list[str]:
        """A line for each of those that are slow now."""
        return [f"the subscriber at {peer} does not take its events" for peer in self.slow()]

    def pushed(self, size: int) -> None:
        """See to it that what waits is bounded, after an event of that many bytes; in the lane."""
        self._largest = max(self._largest, size)
        if event_copies.waiting() <= max(BACKLOG, BACKLOG_EVENTS * self._largest):
            return
        if (peer := self._connections.cut_slowest()) is not None:
            log.warning(
                "the subscriber at %s is cut off: large events that wait for it take %d MiB; "
                "it gets values again once it subscribes anew",
                peer,
                event_copies.waiting() >> 20,
            )

    async def watch(self, lane: Lane, on_change: Callable[[], None]) -> None:
        """Look at them for ever; *on_change* is called when others are slow than before."""
        before: set[str] = set()
        while True:
            await trio.sleep(LOOK)
            await lane.run(self._look)
            slow = set(self.slow())
            for peer in sorted(slow - before):
                log.warning("the subscriber at %s does not take its events", peer)
            for peer in sorted(before - slow):
                log.info("the subscriber at %s is not behind any more, or is gone", peer)
            if slow != before:
                before = slow
                on_change()

    def _look(self) -> None:
        try:
            self._connections.look()
        except tango.DevFailed as error:  # the server is not up yet, or is ending
            log.debug("the event ports are not known: %s", error.args[0].desc)
