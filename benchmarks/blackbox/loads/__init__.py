"""The loads: importing this registers them all."""

from benchmarks.blackbox.loads import from_tango, to_tango, between_topics, streams  # noqa: F401,I001  in this order
