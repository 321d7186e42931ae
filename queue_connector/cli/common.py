"""What several commands share: reading files, telling faults, and ending."""

from __future__ import annotations

import argparse
import errno
import json
import math
import os
import re
import signal
import sys
from collections.abc import Awaitable, Callable, Iterable
from typing import Literal, NoReturn, TypeAlias, TypeVar

import trio

from .. import configdb
from ..configuration import document
from ..model.errors import ConfigError, Fault, Finding, QueueConnectorError, counted, leaves
from ..runtime.process import HELD, end_status

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
T = TypeVar("T")

DEFAULT_DEVICE = "test-sdp/queueconnector/01"

_MEMBER = r"[A-Za-z0-9._+@()=-]+"
_DEVICE_NAME = re.compile(f"{_MEMBER}/{_MEMBER}/{_MEMBER}")

ENVIRONMENT = "The SDP_CONFIG_ variables of the environment say where the database is."

_COLOURS = {"red": 31, "green": 32, "yellow": 33}


def misuse(message: str) -> NoReturn:
    """End: the command line asks for what makes no sense."""
    print(f"queue-connector: {message}", file=sys.stderr)
    raise SystemExit(2)


def failure(message: str) -> NoReturn:
    """End: what was asked for failed."""
    print(f"queue-connector: {message}", file=sys.stderr)
    raise SystemExit(1)


def read(name: str) -> bytes:
    """The contents of a file, see `contents`; an end with status 2 when it cannot be read."""
    try:
        return contents(name)
    except OSError as error:
        misuse(unreadable(name, error))


def contents(name: str) -> bytes:
    """What a file holds, as far as a configuration may be long and a byte more; ``-`` is stdin.

    Raises:
        OSError: it cannot be read.
    """
    if name == "-":
        if sys.stdin is None:
            raise OSError(errno.EBADF, "it is closed")
        return sys.stdin.buffer.read(document.MAX_SIZE + 1)
    if "\0" in name:
        raise OSError(errno.EINVAL, "no file has a NUL in its name")
    with open(name, "rb") as file:
        return file.read(document.MAX_SIZE + 1)


def unreadable(name: str, error: OSError) -> str:
    """That a file cannot be read, in words."""
    return f"cannot read {'stdin' if name == '-' else name}: {error.strerror}"


def faults(text: bytes) -> tuple[Fault, ...]:
    """All that is wrong with a configuration."""
    return document.examine(text).faults


def tell(name: str, faults: Iterable[Fault], consequence: str) -> int:
    """Name every fault of a file on stderr; the exit status."""
    found = tuple(faults)
    print(f"{name}: {counted(len(found), 'fault')}; {consequence}", file=sys.stderr)
    for fault in found:
        print(f"  {fault}", file=sys.stderr)
    return 1


def warn(name: str, warnings: Iterable[Finding]) -> None:
    """Name what is likely not meant in a file, on stderr."""
    for warning in warnings:
        print(f"{name}: warning: {warning}", file=sys.stderr)


def print_json(value: object) -> None:
    """What ``--json`` asks for: one value on stdout, and nothing else there."""
    print(json.dumps(value, indent=2))


def tinted(text: str, colour: Literal["red", "green", "yellow"]) -> str:
    """Text that stands out on stdout where that is a terminal; as it is elsewhere.

    The environment variable ``NO_COLOR`` switches it off, as no-color.org has it.
    """
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not sys.stdout.isatty():
        return text
    return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m"


def at_least_one(text: str) -> int:
    """A whole number from 1 on, for argparse."""
    if not (text.isascii() and text.isdecimal() and int(text[:9])):
        raise argparse.ArgumentTypeError(f"expected a number from 1 on, found {text[:20]}")
    return int(text[:9])


def positive(text: str) -> float:
    """A number above 0, for argparse."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number above 0, found {text}")
    return value


def port(text: str) -> int:
    """A port of the network, 0 for any, for argparse."""
    if not (text.isascii() and text.isdecimal()) or int(text[:6]) >= 1 << 16:
        raise argparse.ArgumentTypeError(f"expected a port, 0 to 65535, found {text[:20]}")
    return int(text)


def device_name(text: str) -> str:
    """The Tango name of a device, without where it is, for argparse."""
    if not _DEVICE_NAME.fullmatch(text):
        raise argparse.ArgumentTypeError(
            f"expected domain/family/member, each of letters, digits and . _ -, found {text}"
        )
    return text


def add_device(command: argparse.ArgumentParser, words: str) -> None:
    """Give a command the option ``--device``, for what judges flows."""
    command.add_argument(
        "--device",
        type=device_name,
        default=DEFAULT_DEVICE,
        metavar="NAME",
        help=f"{words}: %(default)s",
    )


def path(text: str) -> str:
    """Check a path of the configuration database, for argparse."""
    try:
        return configdb.check_path(text)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def run_async(function: Callable[[], Awaitable[T]]) -> T:
    """`trio.run`, which ends with what asks a process to end: Trio minds Ctrl-C alone.

    What *function* raises comes in a group.
    """
    asked_by = 0

    async def heed(
        scope: trio.CancelScope, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        nonlocal asked_by
        with trio.open_signal_receiver(*HELD - {signal.SIGINT}) as signals:
            task_status.started()
            async for number in signals:
                asked_by = number
                scope.cancel()

    async def call() -> T:
        async with trio.open_nursery() as nursery:
            await nursery.start(heed, nursery.cancel_scope)
            found = await function()
            nursery.cancel_scope.cancel()
            return found
        raise SystemExit(end_status(asked_by))

    return trio.run(call)


def with_database(
    function: Callable[[configdb.ConfigDatabase], Awaitable[int]],
) -> int:
    """Call *function* with the database that the environment names."""

    async def call() -> int:
        async with configdb.from_environment() as database:
            return await function(database)

    try:
        return run_async(call)
    except* QueueConnectorError as errors:
        failure("; ".join(str(error) for error in leaves(errors)))
