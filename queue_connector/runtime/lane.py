"""Trio → one ordered thread: many small jobs that must keep their order."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar, TypeVarTuple

import outcome
import trio

T = TypeVar("T")
Args = TypeVarTuple("Args")
Context = Callable[[], AbstractContextManager[Any]]
"""Makes what a thread must be inside while it calls into a client library."""


class _Job:
    __slots__ = ("function", "outcome", "task", "withdrawn")

    def __init__(self, function: Callable[[], Any], task: trio.lowlevel.Task | None) -> None:
        self.function = function
        self.task = task
        self.withdrawn = False
        self.outcome: outcome.Outcome[Any] | None = None


class Lane:
    """One thread that does jobs in the order in which they were given, many per wake-up.

    ``async with`` starts and ends the thread; ending waits for the jobs that were given. They may
    be different tasks that do so.

    With *turn*, the thread calls it again and again, and does jobs between two calls: that is the
    thread of one client that has to be polled. It blocks for at most `TICK` seconds and has to see
    to its own errors; whatever it raises ends the process's trust in it and is `failure`. With
    *interval*, the thread waits so many seconds for a job before it takes its next turn.
    """

    def __init__(
        self,
        name: str,
        context: Context = nullcontext,
        turn: Callable[[], None] | None = None,
        interval: float = 0.0,
    ) -> None:
        self.failure: BaseException | None = None
        self._turn = turn
        self._interval = interval
        self._name = name
        self._context = context
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._ended: trio.Event
        self._token: trio.lowlevel.TrioToken
        self._open = False

    async def __aenter__(self) -> Lane:
        self._token = trio.lowlevel.current_trio_token()
        self._ended = trio.Event()
        self._open = True
        self._thread = threading.Thread(target=self._loop, name=self._name, daemon=True)
        self._thread.start()
        await trio.lowlevel.checkpoint()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self._open = False
        self._jobs.put(None)
        with trio.CancelScope(shield=True):  # bounded by the jobs, each of which is bounded
            await self._ended.wait()
        self._thread.join()

    async def run(self, function: Callable[[*Args], T], *args: *Args) -> T:
        """Do ``function(*args)`` in the thread, after all that was given before.

        Cancelled before its turn, a job is not done at all; once begun, it is waited for.

        Raises:
            trio.ClosedResourceError: the lane has ended.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if not self._open:
            raise trio.ClosedResourceError(f"the lane {self._name} has ended")
        job = _Job(lambda: function(*args), trio.lowlevel.current_task())

        def abort(_raise_cancel: Any) -> trio.lowlevel.Abort:
            with self._lock:
                if job.outcome is None and not job.withdrawn and job.function is not _begun:
                    job.withdrawn = True
                    return trio.lowlevel.Abort.SUCCEEDED
            return trio.lowlevel.Abort.FAILED

        self._jobs.put(job)
        result: T = await trio.lowlevel.wait_task_rescheduled(abort)
        return result

    def post(self, function: Callable[[], None]) -> None:
        """Do ``function()`` in the thread, for nobody who waits; from any thread.

        It has to see to its own errors, as *turn* has. Once the lane has ended nothing is done.
        """
        if self._open:
            self._jobs.put(_Job(function, None))

    def _next_job(self) -> _Job | None:
        """The next one, after turns for as long as there is none."""
        while self._turn is not None:
            try:
                return self._jobs.get(self._interval > 0, self._interval or None)
            except queue.Empty:
                self._take_turn()
        return self._jobs.get()

    def _loop(self) -> None:
        ending = False
        while not ending:
            jobs = [self._next_job()]
            while not self._jobs.empty():
                jobs.append(self._jobs.get())
            done = []
            with self._context():
                for job in jobs:
                    if job is None:
                        ending = True
                        continue
                    with self._lock:
                        if job.withdrawn:
                            continue
                        function, job.function = job.function, _begun
                    job.outcome = outcome.capture(function)
                    if job.task is not None:
                        done.append(job)
                    elif isinstance(job.outcome, outcome.Error):
                        self.failure = job.outcome.error
            if done:
                self._token.run_sync_soon(self._wake, done)
        self._token.run_sync_soon(self._ended.set)

    def _take_turn(self) -> None:
        assert self._turn is not None
        try:
            with self._context():
                self._turn()
        except BaseException as error:  # told to whoever uses it; the thread still does jobs
            self.failure = error
            self._turn = None

    @staticmethod
    def _wake(done: list[_Job]) -> None:
        for job in done:
            assert job.outcome is not None
            assert job.task is not None
            trio.lowlevel.reschedule(job.task, job.outcome)


def _begun() -> None:
    """Marks a job of a `Lane` whose turn has come."""
