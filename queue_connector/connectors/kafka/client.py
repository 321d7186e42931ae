"""What reader and writer of a topic share: how clients of librdkafka are made, and what they say.

* clients   one for reading and one for writing per cluster and login, see `cluster` and `producer`
* outages   ridden out without limit: nothing here gives up on a broker that may come back
* refusals  of a password or a certificate are no outages: after `REFUSAL_GRACE` they are an error
* log       what librdkafka has to say goes to the exchange's log, each reason once per outage
* source    librdkafka, CONFIGURATION.md and INTRODUCTION.md; traps in ``docs/explanations``
"""

from __future__ import annotations

import logging
import math
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource

from ...model.errors import EndpointError
from ...runtime.process import threads_left
from ...runtime.worker import OneAtATime
from .references import resolve
from .settings import Value

__all__ = [  # of the library, for those who do not import it
    "KafkaError",
    "KafkaException",
    *("HOPELESS", "REFUSALS", "STRANDED", "Trouble"),
    *("common_settings", "describe", "error_of", "is_answered", "make_client"),
    "request_limit",
]

T = TypeVar("T")

REFUSAL_GRACE = 5.0
"""Seconds after which a refused log-in or certificate is an error, if no broker has answered."""

STRANDED = 10.0
"""Seconds without an answer after which a client is compared with a new one."""

CLIENT_THREADS = 5
"""Threads that a client has with one broker."""

THREADS_FOR_OTHERS = 8
"""Threads that clients leave to Tango and to what else there is."""

_NO_THREADS = (
    "no more threads can be started here; raise the limit (ulimit -u, TasksMax of systemd, the "
    "pids limit of the container)"
)
_ONE_CLIENT_AT_A_TIME = OneAtATime()
_PROBE = 1.0  # s that the new one has to be answered
_CALM = 5.0  # s without trouble after which an outage is over; more than librdkafka's back-off
_MAX_REASONS = 100

HOPELESS = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.TOPIC_EXCEPTION,
    }
)
"""Errors that do not go away by trying again."""

REFUSALS = frozenset(
    {
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.INVALID_TIMESTAMP,
        KafkaError.INVALID_RECORD,
    }
)
"""Errors that are a message's own, if it was sent alone."""

_CERTIFICATE_REFUSED = re.compile(
    r"certificate verify failed"
    r"|alert [a-z ]*(certificate|unknown ca|access denied|handshake failure)"
)
_NOT_LOOKED_AT = re.compile(r"Failed to acquire|Local: (Broker transport failure|Timed out)")
_LOG_IN_REFUSED = frozenset({KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED})


def _is_refusal(error: KafkaError) -> bool:
    """Whether an error says that a password or certificate was looked at and not accepted.

    Of TLS, the code tells too little: a handshake that breaks because the broker stops has the same
    as one that fails, and a certificate of ours that is refused only ends the connection. OpenSSL's
    text tells. A token server that does not answer is an outage, and so is a broker that stops in
    the middle of a log-in, whatever the code says.
    """
    if error.code() in (KafkaError._SSL, KafkaError._TRANSPORT):
        return _CERTIFICATE_REFUSED.search(error.str()) is not None
    return error.code() in _LOG_IN_REFUSED and not _NOT_LOOKED_AT.search(error.str())


class Trouble:
    """Logs what goes wrong with a broker: each reason once, until it is over.

    What must not be waited out is kept: an outage ends by itself, a wrong password or a certificate
    that is not trusted does not, and librdkafka would try it for ever without another word. So a
    refusal is logged as it comes, and becomes an error when `REFUSAL_GRACE` seconds later still no
    broker has answered; until then it may be one broker of several, or one that is being set up.
    """

    def __init__(self, log: logging.Logger, what: str) -> None:
        self._log = log
        self._what = what
        self._reasons: set[str] = set()
        self._last = 0.0
        self.latest = ""
        """The latest reason."""
        self.refusal: KafkaError | None = None
        self._refused_at = 0.0

    @property
    def refused(self) -> bool:
        """Whether a refusal has outlasted its grace."""
        return self.refusal is not None and time.monotonic() - self._refused_at > REFUSAL_GRACE

    def report(self, reason: str) -> None:
        """Log a reason, unless it was logged in this outage already."""
        self._report(logging.WARNING, reason)

    def over(self) -> None:
        """An answer came; said once there was no trouble for a while.

        One broker of several may be down for long while others answer: that is one outage.
        """
        self.refusal = None
        if self._reasons and time.monotonic() - self._last > _CALM:
            self._reasons.clear()
            self._log.info("%s: reached again", self._what)

    def settings(self) -> dict[str, Any]:
        """Make a client speak to this object instead of to stderr."""
        return {"error_cb": self.on_error, "logger": self}

    def log(self, level: int, _format: str, facility: str, _client: str, text: str) -> None:
        """What librdkafka calls in place of `logging.Logger.log`; it knows no other signature."""
        self._report(min(level, logging.WARNING), f"{facility} {text}")

    def on_error(self, error: KafkaError) -> None:
        """What librdkafka has to say of a broker or a connection."""
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            return  # why, is said beside it; alone it means that a broker closed what was idle
        if _is_refusal(error):
            self._note_refusal(error)
        self._report(logging.WARNING, describe(error))

    def _note_refusal(self, error: KafkaError) -> None:
        """Keep the time of the first, and of several the one that says most."""
        if self.refusal is None:
            self._refused_at = time.monotonic()
        elif len(error.str()) <= len(self.refusal.str()):
            return
        self.refusal = error

    def _report(self, level: int, reason: str) -> None:
        self._last = time.monotonic()
        self.latest = reason
        alike = re.sub(r"(, \d+ identical error\(s\) suppressed)?\)|\d+", "#", reason)
        if alike not in self._reasons and len(self._reasons) < _MAX_REASONS:
            self._reasons.add(alike)
            self._log.log(level, "%s: %s", self._what, reason)


def describe(error: KafkaError) -> str:
    """An error of librdkafka in one sentence, with its name, which is what one can search for."""
    return f"{error.str()} ({error.name()})"


def error_of(exception: KafkaException) -> KafkaError:
    """What an exception of librdkafka is about."""
    error: KafkaError = exception.args[0]
    return error


def common_settings(
    servers: str, options: Mapping[str, Value], endpoint: str, operation: str
) -> dict[str, Any]:
    """What every client is told; what its `options` refer to is read now.

    Raises:
        EndpointError: a reference leads to nothing that can be used.
    """
    return {
        "bootstrap.servers": servers,
        "client.id": "queue-connector",
        "reconnect.backoff.ms": 50,
        "reconnect.backoff.max.ms": 2000,
        "socket.keepalive.enable": True,
        "log.connection.close": False,  # a broker closes what is idle: no outage
        "log_level": 2,  # the rest comes as errors too, and nobody polls an idle producer
        **resolve(options, endpoint, operation),
    }


def make_client(
    client: Callable[[dict[str, Any]], T], settings: dict[str, Any], endpoint: str, operation: str
) -> T:
    """A client of librdkafka.

    Raises:
        EndpointError: it takes a setting not; what librdkafka says names it, not its value. Or
            there are no threads for it.
    """
    try:
        if threads_left() == math.inf:
            return client(settings)
        # librdkafka ends the process where it can start no thread; it starts them at once.
        with _ONE_CLIENT_AT_A_TIME:
            if threads_left() < CLIENT_THREADS + THREADS_FOR_OTHERS:
                raise EndpointError(endpoint, operation, _NO_THREADS)
            return client(settings)
    except KafkaException as exception:
        raise EndpointError(endpoint, operation, describe(error_of(exception))) from None


def is_answered(settings: Mapping[str, Any], timeout: float = _PROBE) -> bool:
    """Whether a client that is made now is told of brokers, within *timeout* seconds."""
    if threads_left() < CLIENT_THREADS + THREADS_FOR_OTHERS:
        return False
    try:
        client = AdminClient({**settings, "log_level": 0})
        return bool(client.list_topics(timeout=timeout).brokers)
    except KafkaException:
        return False


def request_limit(settings: Mapping[str, Any]) -> int | None:
    """The largest request that all brokers take, in bytes; none: they do not say, or not to us.

    A broker that is sent a larger one closes the connection without a word, whenever it comes.
    """
    if threads_left() < CLIENT_THREADS + THREADS_FOR_OTHERS:
        return None
    name = "socket.request.max.bytes"
    try:
        client = AdminClient({**settings, "log_level": 0})
        brokers = client.list_topics(timeout=_PROBE).brokers
        asked = [ConfigResource(ConfigResource.Type.BROKER, str(number)) for number in brokers]
        answers = client.describe_configs(asked, request_timeout=_PROBE).values() if asked else ()
        return min((int(answer.result()[name].value) for answer in answers), default=None)
    except (KafkaException, KeyError, TypeError, ValueError):
        return None
