"""Log lines in the format of the SKA's control software, written so that nobody waits for it.

``1|2026-01-31T12:00:00.123Z|INFO|thread|function|file.py#12|tango-device:a/b/c|message``: a
version, UTC time in ms, level, thread, function, file and line, tags, message. What a task of an
exchange says has the tag ``exchange:group[0]`` as well. With the environment variable `FORMAT` set
to ``json``, a line is a JSON object with the same.

A log that nobody reads holds nobody up: lines wait in a bounded queue, beyond which they are
counted, and a line tells how many are missing once there is a reader again.

* source   SKA developer portal, "Logging guidelines"
"""

from __future__ import annotations

import enum
import io
import json
import logging
import math
import os
import stat
import sys
import time
from contextvars import ContextVar

from ..model.errors import counted
from ..model.texts import one_line, printable, shortened
from ..model.timescale import utc_text
from .process import LAST_WORDS, Writer
from .repeats import Repeats

MAX_RECORD = 16_384
"""Characters of a message, and of a traceback, that are written."""

FORMAT = "QUEUE_CONNECTOR_LOG_FORMAT"
"""The environment variable with the format of the log: ``ska``, or ``json``."""

STDERR = 2
"""The file descriptor of the log."""

_TAG = str.maketrans("|,", "__")  # which part the fields of a line, and its tags

_log = logging.getLogger(__name__)

device_name: ContextVar[str] = ContextVar("device_name", default="")
"""The Tango device on whose behalf this context runs; tasks and their threads inherit it."""


exchange_name: ContextVar[object] = ContextVar("exchange_name", default="")
"""The exchange on whose behalf this context runs: its text is its present name."""


class SKAFormatter(logging.Formatter):
    """Formats a record as one line; a traceback follows on lines of its own, which are indented.

    So a line that begins with the version is one of ours, whatever a message or an error holds.
    """

    converter = staticmethod(time.gmtime)

    def __init__(self) -> None:
        super().__init__(
            "1|%(asctime)s.%(msecs)03dZ|%(levelname)s|%(threadName)s|%(funcName)s"
            "|%(filename)s#%(lineno)d|%(tags)s|%(message)s",
            "%Y-%m-%dT%H:%M:%S",
        )

    def format(self, record: logging.LogRecord) -> str:
        exchange = one_line(str(exchange_name.get())).translate(_TAG)
        tags = {"tango-device": device_name.get(), "exchange": exchange}
        record.tags = ",".join(f"{tag}:{value}" for tag, value in tags.items() if value)
        first, *others = shortened(super().format(record), 2 * MAX_RECORD).split("\n")
        return "\n  ".join([first, *map(printable, others)])

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line without a traceback; a message of several lines becomes one."""
        record.message = one_line(record.message, MAX_RECORD)
        return super().formatMessage(record)


class JSONFormatter(logging.Formatter):
    """Formats a record as one line, a JSON object; what it has nothing of is left out."""

    def format(self, record: logging.LogRecord) -> str:
        told = {
            "time": utc_text(record.created),
            "level": record.levelname,
            "message": shortened(record.getMessage(), MAX_RECORD),
            "device": device_name.get(),
            "exchange": str(exchange_name.get()),
            "thread": record.threadName,
            "function": record.funcName,
            "file": f"{record.filename}#{record.lineno}",
            "traceback": "",
        }
        if record.exc_info:
            told["traceback"] = shortened(self.formatException(record.exc_info), MAX_RECORD)
        return json.dumps({name: value for name, value in told.items() if value})


FORMATTERS: dict[str, type[logging.Formatter]] = {"ska": SKAFormatter, "json": JSONFormatter}
"""The formats of the log, by what the variable `FORMAT` may say."""


class LogHandler(logging.Handler):
    """Hands lines to a `Writer`."""

    def __init__(self, descriptor: int, formatter: logging.Formatter | None = None) -> None:
        super().__init__()
        self.setFormatter(formatter or SKAFormatter())
        self._repeats = Repeats()
        self.writer = Writer(descriptor, self._gap)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            for told in self._repeats.sorted_out(record):
                self.writer.put(self.format(told) + "\n")
        except Exception as error:
            self.writer.put(f"a log line cannot be made of {record.msg!r}: {error!r}\n")

    def close(self) -> None:
        """Have the end of the log written, within `LAST_WORDS` seconds."""
        for told in self._repeats.summed_up(math.inf):
            self.writer.put(self.format(told) + "\n")
        sys.stderr = sys.__stderr__
        self.writer.drain(LAST_WORDS)
        super().close()

    def _gap(self, lost: int) -> str:
        words = f"{counted(lost, 'log line')} lost here, since nobody read the log"
        return (
            self.format(
                logging.LogRecord(
                    __name__, logging.WARNING, __file__, 0, words, None, None, func="_gap"
                )
            )
            + "\n"
        )


class _Stderr(io.TextIOBase):
    """What else is printed to stderr goes the way of the log."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def write(self, text: str) -> int:
        self._writer.put(text)
        return len(text)

    def fileno(self) -> int:
        return STDERR


def _unblock_stderr() -> None:
    """Let what libraries write to stderr themselves be lost where nobody reads, and hold up nobody.

    omniORB tells of what it cannot understand, and faulthandler of a crash. Stderr is opened anew,
    since the flag is common to all that share a pipe or terminal. A file never makes anybody wait.
    """
    try:
        kind = os.fstat(STDERR).st_mode
        if stat.S_ISFIFO(kind) or stat.S_ISCHR(kind):
            flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
            anew = os.open(f"/proc/self/fd/{STDERR}", flags)
            os.dup2(anew, STDERR)
            os.close(anew)
    except OSError:
        _log.debug("stderr cannot be opened anew: libraries that write to it may wait")


def configure_logging(level: int) -> None:
    """Send the log of this process, and all that it prints to stderr, there from *level* on."""
    wanted = os.environ.get(FORMAT, "ska")
    handler = LogHandler(os.dup(STDERR), FORMATTERS.get(wanted, SKAFormatter)())
    _unblock_stderr()
    logging.basicConfig(level=level, handlers=[handler], force=True)
    sys.stderr = _Stderr(handler.writer)
    logging.captureWarnings(True)
    for chatty in ("httpx", "httpcore"):  # lines for every request, and every byte of it
        logging.getLogger(chatty).setLevel(logging.WARNING)
    if wanted not in FORMATTERS:
        known = " or ".join(FORMATTERS)
        _log.warning("%s is %r: expected %s; the log is in the format ska", FORMAT, wanted, known)


class LoggingLevel(enum.IntEnum):
    """How much is logged, as SKA devices number it."""

    OFF = 0
    FATAL = 1
    ERROR = 2
    WARNING = 3
    INFO = 4
    DEBUG = 5


_LEVELS = {
    LoggingLevel.OFF: logging.CRITICAL + 10,
    LoggingLevel.FATAL: logging.CRITICAL,
    LoggingLevel.ERROR: logging.ERROR,
    LoggingLevel.WARNING: logging.WARNING,
    LoggingLevel.INFO: logging.INFO,
    LoggingLevel.DEBUG: logging.DEBUG,
}


def logging_level() -> LoggingLevel:
    """The level of the process's log; one between two of them is the less talkative."""
    level = logging.getLogger().level
    return max(known for known, number in _LEVELS.items() if number >= level)


def set_logging_level(level: LoggingLevel) -> None:
    """Log so much from now on, whichever device of the process it was asked of."""
    logging.getLogger().setLevel(_LEVELS[level])


def lost_lines() -> int:
    """How many lines were not written so far, since nobody read the log."""
    return sum(
        handler.writer.lost for handler in logging.root.handlers if isinstance(handler, LogHandler)
    )


def level_of(arguments: list[str]) -> int:
    """The level that a Tango server's command line asks for with ``-v`` or ``-vN``.

    Without it INFO; ``-v0`` is WARNING, ``-v1`` and ``-v2`` are INFO, ``-v3`` on and ``-v`` are
    DEBUG, as Tango itself counts.
    """
    for argument in arguments:
        if argument.startswith("-v") and (argument == "-v" or argument[2:].isdigit()):
            number = int(argument[2:] or 4)
            return logging.WARNING if not number else logging.INFO if number < 3 else logging.DEBUG
    return logging.INFO
