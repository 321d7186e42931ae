"""What belongs to the process as a whole: its signals, its log and its threads. No Trio here.

These threads never meet the loop, and must work before there is one and when it stands still;
`bridge` has those that do meet it. Imports nothing slow: the first thing that a program here does
is to hold its signals back (see `hold_signals`).

* signals   Linux, ``signal(7)`` and ``pid_namespaces(7)``: process 1 is sent no signal that it
            neither handles nor blocks
"""

from __future__ import annotations

import logging
import math
import os
import select
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

HELD = frozenset({signal.SIGINT, signal.SIGTERM}) | (
    {signal.SIGHUP} if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN else set()
)
"""The signals that ask a process to end. A terminal that is closed is one, but with ``nohup``."""

INTERRUPTED = 130
"""The exit status of what Ctrl-C has ended, as shells have it."""

START_GRACE = 10.0
"""Seconds that a start has to come to where it can be stopped in order, once a signal asks."""

MAX_UNWRITTEN = 4 * 2**20
"""Bytes of log that may wait for somebody to read them; beyond them lines are only counted."""

MANY_THREADS = 256
"""Threads from which on their number is taken for unlimited; counting them takes some 50 ms."""

LAST_WORDS = 1.0
"""Seconds in which the end of the log must be taken, when the process ends."""

_log = logging.getLogger(__name__)


# -- signals ---------------------------------------------------------------------------------------


def fill_descriptors() -> None:
    """Open what is closed of stdin, stdout and stderr, or the next socket would be one of them."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)


def hold_signals() -> None:
    """Keep `HELD` back, in this thread and in those that it starts; none is lost."""
    signal.pthread_sigmask(signal.SIG_BLOCK, HELD)


def release_signals() -> None:
    """Take them in the main thread, as `KeyboardInterrupt` and `SystemExit`; also those held."""
    for number in HELD - {signal.SIGINT}:
        signal.signal(number, _terminated)  # process 1 would not be sent it otherwise
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD)


@contextmanager
def signals_held() -> Iterator[None]:
    """Keep them back while something is imported: one that is interrupted fails in strange ways,
    and threads that a library starts must not take them. What has come is heeded at the end.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HELD)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_status(number: int) -> int:
    """The exit status of what a signal has ended, as shells have it."""
    return 128 + number


def _terminated(number: int, _frame: object) -> None:
    raise SystemExit(end_status(number))


class Signals:
    """Heeds SIGINT, SIGTERM and SIGHUP, by a thread that does nothing else.

    The first one leads to an orderly end: the function given to `ready` is called, as soon as
    there is one, in a thread of its own. A SIGINT after it ends the process at once.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked = False
        self._stop: Callable[[], None] | None = None
        self._seconds = self._end = math.inf

    @property
    def asked(self) -> bool:
        """Whether a signal has come."""
        return self._asked

    def heed(self) -> None:
        """Begin; call it before other threads are there, which would else take the signals."""
        hold_signals()
        threading.Thread(target=self._watch, name="signals", daemon=True).start()

    def ready(self, stop: Callable[[], None], seconds: float) -> None:
        """From now on *stop* begins an orderly end, which may take so many *seconds*.

        It is called once: at the first signal, or now if that has come.
        """
        with self._lock:
            self._stop = stop
            self._seconds = seconds
            asked = self._asked
        if asked:
            self._begin(stop, seconds)

    def _watch(self) -> None:
        name = signal.Signals(signal.sigwait(HELD)).name
        _log.info("%s: ending in order; Ctrl-C ends it at once", name)
        with self._lock:
            self._asked = True
            stop = self._stop
            self._end = time.monotonic() + START_GRACE
        if stop is not None:
            self._begin(stop, self._seconds)
        while (left := self._end - time.monotonic()) > 0:
            # It looks each second whether the end of a start has become the end of a stop.
            found = signal.sigtimedwait(HELD, min(left, 1.0))
            if found is not None and found.si_signo == signal.SIGINT:
                _log.warning("Ctrl-C again: ended at once; what was in flight may be lost")
                leave(INTERRUPTED)
        _log.critical("it does not end in time and is cut off; its threads stand at %s", _stacks())
        leave(1)

    def _begin(self, stop: Callable[[], None], seconds: float) -> None:
        self._end = time.monotonic() + seconds
        threading.Thread(target=self._run, args=(stop,), name="end", daemon=True).start()

    def _run(self, stop: Callable[[], None]) -> None:
        try:
            stop()
        except Exception:
            _log.critical("it cannot end in order", exc_info=True)
            leave(1)


def _stacks() -> str:
    """Where every thread is, the innermost call first."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    stacks = []
    for ident, top in sys._current_frames().items():
        calls = [
            f"{call.name} {call.filename.rpartition('/')[2]}#{call.lineno}"
            for call in reversed(traceback.extract_stack(top))
        ]
        stacks.append(f"{names.get(ident, ident)}: {' < '.join(calls)}")
    return "; ".join(stacks)


def leave(status: int) -> NoReturn:
    """End the process at once, but for the last words of its log."""
    with suppress(Exception):
        logging.shutdown()
    os._exit(status)


# -- the log ---------------------------------------------------------------------------------------


class Writer:
    """Writes texts to a file descriptor in a thread, so that nobody waits for who does not read.

    What does not find room any more is not written but counted; *gap* makes the text that tells
    so, which is written when there is room again.
    """

    def __init__(self, descriptor: int, gap: Callable[[int], str]) -> None:
        self.lost = 0
        """How many texts were not written."""
        self._told = 0
        self._descriptor = descriptor
        self._gap = gap
        self._texts: deque[bytes] = deque()
        self._size = 0
        self._state = threading.Condition()
        threading.Thread(target=self._write, name="log", daemon=True).start()

    def put(self, text: str) -> None:
        """Have a text written; never waits."""
        data = text.encode("utf-8", "backslashreplace")
        with self._state:
            if self._size + len(data) > MAX_UNWRITTEN:
                self.lost += 1
                return
            self._texts.append(data)
            self._size += len(data)
            self._state.notify_all()

    def drain(self, seconds: float) -> bool:
        """Wait until all is written, but no longer than *seconds*; whether it is."""
        with self._state:
            return self._state.wait_for(lambda: not (self._size or self._untold), seconds)

    @property
    def _untold(self) -> int:
        return self.lost - self._told

    def _write(self) -> None:
        while True:
            with self._state:
                self._state.wait_for(lambda: self._texts or self._untold)
                if lost := self._untold:  # behind what was taken before it
                    self._texts.append(self._gap(lost).encode("utf-8", "backslashreplace"))
                    self._size += len(self._texts[-1])
                    self._told = self.lost
                data = b"".join(self._texts)
                self._texts.clear()
            self._deliver(data)
            with self._state:
                self._size = sum(map(len, self._texts))
                self._state.notify_all()

    def _deliver(self, data: bytes) -> None:
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:  # somebody has made it non-blocking
                room = select.poll()
                room.register(self._descriptor, select.POLLOUT)
                room.poll()
            except OSError:  # nobody will ever read this: the pipe or the terminal has gone
                return


# -- threads ---------------------------------------------------------------------------------------


_limit = math.inf


def measure_threads() -> int:
    """How many more threads can be started, counted up to `MANY_THREADS`; see `threads_left`.

    For the time before others are there: whoever else wants a thread meanwhile may get none.
    """
    global _limit
    found = spare_threads(MANY_THREADS)
    _limit = math.inf if found == MANY_THREADS else _threads() + found
    return found


def threads_left() -> float:
    """How many more threads can be started now, as far as `measure_threads` met a limit."""
    return math.inf if _limit == math.inf else _limit - _threads()


def _threads() -> int:
    return len(os.listdir("/proc/self/task"))


def spare_threads(most: int) -> int:
    """How many threads can be started, up to *most*, found out by starting them."""
    over = threading.Event()
    started = []
    try:
        for _ in range(most):
            thread = threading.Thread(target=over.wait, daemon=True)
            thread.start()
            started.append(thread)
    except RuntimeError:  # no more can be started
        pass
    finally:
        over.set()
        for thread in started:
            thread.join()
    return len(started)
