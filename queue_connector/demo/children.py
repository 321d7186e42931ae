"""The processes of the demonstration: started, watched and ended together.

* signals   each is in a session of its own, so that Ctrl-C reaches nobody but the demonstration
* output    stdout is read line by line; stderr goes to a log in one directory
* death     one that ends before it should is a `DemoError` with the tail of its log
* end       SIGTERM in the reverse order of the start, then SIGKILL after a grace period; by
  process id, and only to what was started here
* orphans   a shell that reads a pipe from this process kills them when the pipe ends, that is, when
  this process is gone by whatever means
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import trio
from trio_util import AsyncValue

END_GRACE = 3.0
"""Seconds from SIGTERM to SIGKILL, where something has gone wrong already."""

TAIL = 15
"""Lines of a log that are shown."""

_GUARD = 'while read -r pid; do pids="$pids $pid"; done; kill -KILL $pids'


class DemoError(Exception):
    """The demonstration cannot go on; the text is for the person who watches it."""


class Child:
    """One process."""

    def __init__(
        self, name: str, process: trio.Process, log: Path, on_line: Callable[[str], None]
    ) -> None:
        self.name = name
        self.ending = False
        self._first: AsyncValue[str] = AsyncValue("")
        self._process = process
        self._log = log
        self._on_line = on_line
        self._drained = trio.Event()

    async def first_line(self, seconds: float) -> str:
        """The first line that it wrote to stdout: each of them tells so that it is ready.

        Raises:
            DemoError: it does not come within *seconds*.
        """
        with trio.move_on_after(seconds):
            line: str = await self._first.wait_value(bool)
            return line
        raise self.trouble(f"was not ready within {seconds:g} s")

    async def say(self, line: str) -> None:
        """Write a line to its stdin."""
        assert self._process.stdin is not None
        with suppress(trio.BrokenResourceError):  # it has ended, which is told elsewhere
            await self._process.stdin.send_all(f"{line}\n".encode())

    def terminate(self) -> None:
        """Ask it to end."""
        self.ending = True
        self._process.terminate()

    def kill(self) -> None:
        """End it at once."""
        self.ending = True
        self._process.kill()

    async def wait(self, seconds: float) -> None:
        """Wait for an orderly end that was asked for.

        Raises:
            DemoError: it does not end, or not with status 0.
        """
        self.ending = True
        with trio.move_on_after(seconds) as scope:
            status = await self._process.wait()
            await self._drained.wait()
        if scope.cancelled_caught:
            raise self.trouble(f"did not end within {seconds:g} s")
        if status:
            raise self.trouble(f"ended with {_status(status)} when it was stopped")

    async def end(self, grace: float) -> None:
        """SIGTERM, and SIGKILL after *grace* seconds; nothing when it has ended."""
        self.terminate()
        with trio.move_on_after(grace):
            await self._process.wait()
        self.kill()
        await self._process.wait()

    def trouble(self, what: str) -> DemoError:
        """What is wrong with it, and what its log says."""
        with self._log.open(encoding="utf-8", errors="replace") as log:
            lines = log.read().splitlines()
        if not lines:
            return DemoError(f"the {self.name} {what}; its log is empty")
        tail = "\n".join(f"  {line}" for line in lines[-TAIL:])
        return DemoError(f"the {self.name} {what}; the end of its log:\n{tail}")

    async def watch(self) -> None:
        """Until it ends; raises `DemoError` when nobody asked for that."""
        status = await self._process.wait()
        if not self.ending:
            raise self.trouble(f"ended unasked with {_status(status)}")

    async def read(self) -> None:
        """Take in what it writes to stdout, until it ends."""
        assert self._process.stdout is not None
        rest = b""
        with suppress(trio.BrokenResourceError):
            while part := await self._process.stdout.receive_some():
                *lines, rest = (rest + part).split(b"\n")
                for line in lines:
                    text = line.decode(errors="replace")
                    self._first.value = self._first.value or text
                    self._on_line(text)
        self._drained.set()


def _status(status: int) -> str:
    return f"signal {signal.Signals(-status).name}" if status < 0 else f"status {status}"


class Children:
    """The processes in the order of their start; made by `open_children`."""

    def __init__(self, directory: Path, guard: trio.Process, nursery: trio.Nursery) -> None:
        self._directory = directory
        self._guard = guard
        self._nursery = nursery
        self._started: list[Child] = []

    async def start(
        self, name: str, *arguments: str, on_line: Callable[[str], None] = lambda _line: None
    ) -> Child:
        """Run this Python with *arguments*; *on_line* is given each line of its stdout."""
        log = self._directory / f"{name}.log"
        with log.open("wb") as stderr:
            process = await trio.lowlevel.open_process(
                [sys.executable, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                start_new_session=True,
            )
        child = Child(name, process, log, on_line)
        self._started.append(child)
        self._nursery.start_soon(child.watch)
        self._nursery.start_soon(child.read)
        assert self._guard.stdin is not None
        await self._guard.stdin.send_all(f"{process.pid}\n".encode())
        return child

    def kill(self) -> None:
        """End all of them at once."""
        for child in self._started:
            child.kill()

    async def end(self, grace: float) -> None:
        """End all of them, the last one first."""
        for child in reversed(self._started):
            await child.end(grace)


@asynccontextmanager
async def open_children(directory: Path) -> AsyncIterator[Children]:
    """Processes with their logs in *directory*; none of them is left on leaving.

    Raises:
        DemoError: in an exception group, when one ends before it should.
    """
    guard = await trio.lowlevel.open_process(
        ["/bin/sh", "-c", _GUARD],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        async with trio.open_nursery() as nursery:
            children = Children(directory, guard, nursery)
            try:
                yield children
            finally:
                try:
                    with trio.CancelScope(shield=True):  # bounded by the grace of each
                        await children.end(END_GRACE)
                finally:
                    children.kill()
                nursery.cancel_scope.cancel()
    finally:
        guard.kill()
        with trio.CancelScope(shield=True):  # it was killed
            await guard.wait()
