"""Snapshots as text, in Prometheus's format and in OpenMetrics'; see `metrics`."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import trio
from prometheus_client import exposition
from prometheus_client.metrics_core import (
    Metric,
)
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.process_collector import ProcessCollector

from ..runtime.worker import Worker
from .metrics import Snapshot

MIN_AGE = 0.2
"""Seconds for which an answer is given again, so that asking often costs the streams nothing."""


# -- as text ---------------------------------------------------------------------------------------


class _WithProcess:
    """A snapshot, and after it what the process takes up: memory, CPU, descriptors."""

    def __init__(self, snapshot: Snapshot, process: ProcessCollector) -> None:
        self._collectors = (snapshot, process)

    def collect(self) -> Iterator[Metric]:
        for collector in self._collectors:
            yield from collector.collect()


def text(snapshot: Snapshot) -> str:
    """The metrics of a snapshot in Prometheus's text format."""
    return exposition.generate_latest(snapshot).decode()


class Exposition:
    """Answers scrapes with the numbers of the moment, in the format that the client reads.

    Numbers are taken on the Trio thread, all at once; the text is written in a worker thread,
    one at a time, so that a large device's answer does not hold up its streams.
    """

    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        self._snapshot = snapshot
        self._process = ProcessCollector(registry=None)
        self._worker = Worker()
        self._writing = trio.Lock()
        self._answers: dict[bool, tuple[float, str, bytes]] = {}

    async def answer(self, accept: str) -> tuple[str, bytes]:
        """The content type and the text, for what an ``Accept`` header says."""
        wants_openmetrics = "application/openmetrics-text" in accept
        async with self._writing:
            known = self._answers.get(wants_openmetrics)
            if known is None or trio.current_time() - known[0] >= MIN_AGE:
                known = await self._write(wants_openmetrics)
                self._answers[wants_openmetrics] = known
        return known[1:]

    async def _write(self, wants_openmetrics: bool) -> tuple[float, str, bytes]:
        taken = trio.current_time()
        source = _WithProcess(self._snapshot(), self._process)
        if wants_openmetrics:
            written = await self._worker.run(openmetrics.generate_latest, source)
            return taken, openmetrics.CONTENT_TYPE_LATEST, written
        written = await self._worker.run(exposition.generate_latest, source)
        return taken, exposition.CONTENT_TYPE_PLAIN_0_0_4, written
