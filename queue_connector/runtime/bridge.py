"""The bridges between threads and Trio: the only file with tokens, and with threads that meet Trio.

==============  ==============================  ==============================================
bridge          from → to                       what it is for
==============  ==============================  ==============================================
`Worker`        Trio → a thread, and back       blocking calls of one client, one at a time
`Lane`          Trio → one ordered thread       many small jobs that must keep their order
`ToTrio`        any thread → Trio               calls that nobody waits for
`Inbox`         any thread → Trio               callbacks that must not block
`Bell`          any thread → Trio               a burst of news that one function looks at
`Mailbox`       any thread → Trio               many sources of callbacks, one wake-up for all
`TrioThread`    any thread → the Trio loop      the loop itself, in a thread of its own
`OneAtATime`    between worker threads          what a library cannot do in several at once
`Renewal`       between threads of a host       what is ended and begun anew by one at a time
==============  ==============================  ==============================================

A hop costs some 50 to 100 µs, so it is paid per batch and never per datum. A function that a
`Worker` runs may loop as long as it calls `check_cancelled` every `TICK` seconds: that is how a
cancelled task gets its thread back, and no thread is ever abandoned.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any, Generic, TypeVar, TypeVarTuple

import outcome
import trio

from ..model.errors import QueueConnectorError

CANCEL_GRACE = 20.0
"""Seconds that a cancelled Trio loop has for what is shielded, before its thread is given up."""

TICK = 0.1
"""Seconds that a blocking call inside a `Worker` may take before it looks at cancellation."""

T = TypeVar("T")
Args = TypeVarTuple("Args")
Context = Callable[[], AbstractContextManager[Any]]
"""Makes what a thread must be inside while it calls into a client library."""


def check_cancelled() -> None:
    """Raise `trio.Cancelled` in a worker thread whose task was cancelled."""
    trio.from_thread.check_cancelled()


def current_thread() -> int:
    """What tells the calling thread from the others that are alive."""
    return threading.get_ident()


class Worker:
    """Runs the blocking calls of one client in a thread, one call at a time, or *most* at once.

    Each worker has a limiter of its own, so that a client that blocks never uses up threads that
    another one waits for.
    """

    def __init__(self, context: Context = nullcontext, most: int = 1) -> None:
        self._context = context
        self._limiter = trio.CapacityLimiter(most)

    async def run(self, function: Callable[[*Args], T], *args: *Args) -> T:
        """Call ``function(*args)`` in the thread and give back what it returns.

        A call that has begun is waited for even when the task is cancelled, and its result is
        not lost: cancellation shows at the next checkpoint, unless *function* itself looks for
        it with `check_cancelled`.
        """

        def call() -> T:
            with self._context():
                return function(*args)

        return await trio.to_thread.run_sync(call, limiter=self._limiter)


class OneAtATime:
    """``with`` it, one worker thread of all goes on: for what a library cannot do in parallel.

    Waiting for it blocks the thread, so what is done inside must be bounded.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_exc: object) -> None:
        self._lock.release()


class Renewal:
    """Lets one thread at a time end something and begin it anew, in two calls of its host's."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holder = 0
        self._waiting: set[int] = set()
        self._closed = self._ended = False

    @property
    def under_way(self) -> bool:
        """Whether it has been ended, and not begun anew."""
        return self._lock.locked()

    def begin(self, patience: float) -> bool:
        """Be the one that ends it and begins it anew; False where others were for so long.

        After `close` nobody is any more.
        """
        self._waiting.add(current_thread())
        try:
            found = self._acquire(patience, lambda: self._closed)
            if found and self._closed:  # it was closed while this thread waited for its turn
                self.end()
            return found and not self._closed
        finally:
            self._waiting.discard(current_thread())

    def end(self) -> None:
        """It has been begun anew, by this thread; for any other one nothing happens."""
        if self._holder == current_thread():
            self._holder = 0
            self._lock.release()

    def close(self, patience: float) -> bool:
        """End it for good; whether nobody has it in hand any more, nor waits to, after so long.

        The calling thread must not be the one that `begin` chose.
        """
        self._closed = True
        end = time.monotonic() + patience
        self._ended = self._ended or self._acquire(patience, lambda: self._ended)
        while self._waiting and time.monotonic() < end:
            time.sleep(TICK / 10)
        return self._ended and not self._waiting

    def _acquire(self, patience: float, given_up: Callable[[], bool]) -> bool:
        end = time.monotonic() + patience
        while not given_up():
            if self._lock.acquire(timeout=TICK):
                self._holder = current_thread()
                return True
            if time.monotonic() > end:
                break
        return False


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


class Bell:
    """Has a function called on the Trio thread, once for all the rings since it was called last.

    Made on the Trio thread. The function has to see to its own errors: nobody waits for it.
    """

    def __init__(self, function: Callable[[], None]) -> None:
        self._function = function
        self._rung = False
        self._token = trio.lowlevel.current_trio_token()

    def ring(self) -> None:
        """Have it called soon; from any thread."""
        if not self._rung:
            self._rung = True
            with suppress(trio.RunFinishedError):  # the loop is over, and so is who would look
                self._token.run_sync_soon(self._answer)

    def _answer(self) -> None:
        self._rung = False  # before it looks: what comes while it does rings again
        self._function()


class ToTrio:
    """Calls functions on the Trio thread, from any thread, in order and without waiting."""

    def __init__(self) -> None:
        self._token = trio.lowlevel.current_trio_token()

    def __call__(self, function: Callable[[*Args], object], *args: *Args) -> None:
        """Call ``function(*args)`` soon, unless the loop is over; it must not raise."""
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(function, *args)


class Inbox(Generic[T]):
    """What callbacks of any thread hand to one Trio task, without ever blocking them.

    Beyond *limit* items the oldest is dropped and counted in ``overflowed``. Made on the Trio
    thread; one task at a time may receive.
    """

    def __init__(self, limit: float) -> None:
        self.overflowed = 0
        self._items: deque[T] = deque()
        self._limit = limit
        self._lock = threading.Lock()
        self._awaited = False
        self._arrived = trio.Event()
        self._closed = False
        self._token = trio.lowlevel.current_trio_token()

    def put(self, item: T) -> None:
        """Append one item, from any thread."""
        with self._lock:
            if self._closed:
                return
            self._items.append(item)
            if len(self._items) > self._limit:
                self._items.popleft()
                self.overflowed += 1
            if not self._awaited:
                return
            self._awaited = False
        with suppress(trio.RunFinishedError):  # the loop is over, and so is whoever could receive
            self._token.run_sync_soon(self._wake)

    def close(self) -> None:
        """Take nothing more; what is inside can still be received. From the Trio thread."""
        with self._lock:
            self._closed = True
        self._arrived.set()

    def _wake(self) -> None:
        self._arrived.set()

    async def receive(self, most: int) -> list[T]:
        """The oldest items, at least one and at most *most*. A cancelled call loses nothing.

        Raises:
            trio.EndOfChannel: closed, and everything was received.
        """
        await trio.lowlevel.checkpoint()
        while True:
            with self._lock:
                if self._items:
                    self._awaited = False
                    return [self._items.popleft() for _ in range(min(most, len(self._items)))]
                if self._closed:
                    raise trio.EndOfChannel
                if not self._awaited:  # who was cancelled may have left it set, with its event
                    self._awaited, self._arrived = True, trio.Event()
                arrived = self._arrived
            await arrived.wait()


class Mailbox(Generic[T]):
    """What the callbacks of one origin hand over; *arrived* is called when there is something.

    The bell is an `Inbox` without a limit: a mailbox stands in it once, however much is inside,
    so that a burst of many origins costs one wake-up. Whoever answers the bell calls `heard`.
    Beyond *limit* items the oldest is dropped and counted in ``overflowed``.
    """

    def __init__(self, bell: Inbox[Any], limit: int, arrived: Callable[[], None]) -> None:
        self.overflowed = 0
        self._bell = bell
        self._arrived = arrived
        self._limit = limit
        self._items: deque[T] = deque()
        self._lock = threading.Lock()
        self._rung = False
        self._closed = False

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: T) -> None:
        """Append one item, from any thread."""
        with self._lock:
            if self._closed:
                return
            self._items.append(item)
            if len(self._items) > self._limit:
                self._items.popleft()
                self.overflowed += 1
            if self._rung:
                return
            self._rung = True
        self._bell.put(self)

    def heard(self) -> bool:
        """The bell was answered, and rings again for the next item; whether there are several."""
        with self._lock:
            self._rung = False
        self._arrived()
        return len(self._items) > 1

    def take(self, most: int) -> list[T]:
        """The oldest items, at most *most*, perhaps none."""
        with self._lock:
            return [self._items.popleft() for _ in range(min(most, len(self._items)))]

    def close(self) -> None:
        """Take nothing more; what is inside can still be taken."""
        with self._lock:
            self._closed = True


class LoopStoppedError(QueueConnectorError):
    """A call came for a Trio loop that is not running, or that stopped during the call."""


class TrioThread:
    """``trio.run(main)`` in a thread of its own, for a host whose threads are not Trio's.

    *main* is given a function to call once it is ready for calls, and an event that is set when
    it shall end in order.
    """

    def __init__(
        self,
        main: Callable[[Callable[[], None], trio.Event], Awaitable[None]],
        *,
        name: str = "trio",
        context: Context = nullcontext,
        on_crash: Callable[[BaseException], None],
    ) -> None:
        self._main = main
        self._context = context
        self._on_crash = on_crash
        self._up = threading.Event()
        self._token: trio.lowlevel.TrioToken | None = None
        self._scope: trio.CancelScope
        self._stopping: trio.Event
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread and wait until *main* is ready, or has ended."""
        self._thread.start()
        self._up.wait()

    def _run(self) -> None:
        with self._context():
            try:
                trio.run(self._root)
            except BaseException as error:
                self._on_crash(error)
            finally:
                self._token = None
                self._up.set()

    async def _root(self) -> None:
        self._stopping = trio.Event()
        with trio.CancelScope() as self._scope:
            token = trio.lowlevel.current_trio_token()

            def ready() -> None:
                self._token = token
                self._up.set()

            await self._main(ready, self._stopping)

    def call(self, function: Callable[[*Args], Awaitable[T]], *args: *Args) -> T:
        """Run an async function in the loop and wait for it, from any other thread.

        Raises:
            LoopStoppedError: the loop is not running, or stopped before the answer.
        """
        token = self._token
        try:
            if token is not None:
                return trio.from_thread.run(function, *args, trio_token=token)
        except (trio.RunFinishedError, trio.Cancelled):
            pass  # not this thread's cancellation: the loop ended under the call
        raise LoopStoppedError("the connector is stopping or has stopped; try again once it is up")

    def stop(self, grace: float) -> bool:
        """End *main* in order within *grace* seconds, else cancel it; whether it has ended.

        Calls are refused from now on.
        """
        token, self._token = self._token, None
        if token is None:
            return not self._thread.is_alive()
        for end, seconds in ((self._stopping.set, grace), (self._scope.cancel, CANCEL_GRACE)):
            with suppress(trio.RunFinishedError):  # it has just ended by itself
                token.run_sync_soon(end)
            self._thread.join(seconds)
        return not self._thread.is_alive()
