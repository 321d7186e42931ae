"""Blocking calls of a tool that Ctrl-C ends at once: who still waits for an answer is left behind.

What streams never does so: it waits for each of its calls, see `worker`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, wait
from contextlib import nullcontext
from typing import Generic, TypeVar

import trio

from .process import signals_held
from .worker import Context

T = TypeVar("T")


class Answer(Generic[T]):
    """What a *question* is answered, which is asked in a thread of its own, inside a *context*."""

    def __init__(self, question: Callable[[], T], context: Context = nullcontext) -> None:
        self._future: Future[T] = Future()

        def ask() -> None:
            try:
                with context():
                    self._future.set_result(question())
            except BaseException as error:
                self._future.set_exception(error)

        with signals_held():
            threading.Thread(target=ask, daemon=True).start()

    def is_there(self) -> bool:
        """Whether somebody has answered, or the question has failed."""
        return self._future.done()

    def wait(self) -> T:
        """The answer, or what the question has raised; Ctrl-C is heeded meanwhile."""
        return self._future.result()

    @staticmethod
    def wait_for(answers: Iterable[Answer[T]], seconds: float | None) -> None:
        """Until all are there, but for so many *seconds* at most."""
        wait([answer._future for answer in answers], seconds)


async def answer(question: Callable[[], T], limiter: trio.CapacityLimiter) -> T:
    """The answer to a *question* that is asked in a thread, of as many as the *limiter* allows."""
    return await trio.to_thread.run_sync(question, abandon_on_cancel=True, limiter=limiter)
