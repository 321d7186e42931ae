"""Kafka topics, by confluent-kafka.

What a configuration may name is imported here, and imports no client of Kafka: that is done where
one is built or looked at, since it takes long, and the tool and tests do well without.
"""

from . import dead_letter, sink, source

__all__ = ["dead_letter", "sink", "source"]
