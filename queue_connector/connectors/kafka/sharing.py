"""Which writers can share a client: those of one cluster and login, large messages apart."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

from .settings import Value

MAX_MESSAGE_BYTES = 999_000_000
"""The largest message that librdkafka can be told to send, less its envelope."""

LARGE = 16 * 2**20
"""Bytes of a message beyond which a writer shares its client with its like only."""

ENVELOPE = 1024
"""More than the bytes that Kafka's requests and batches add to one payload."""


def key_of(servers: str, options: Mapping[str, Value], message_max_bytes: int) -> Hashable:
    """Writers with the same key share a client."""
    return (
        "producer",
        servers,
        tuple(sorted(options.items())),
        message_max_bytes > LARGE,
    )
