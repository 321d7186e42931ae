"""What is found when the peer of an endpoint is looked at from outside, before anything streams."""

from __future__ import annotations

import attrs


@attrs.frozen
class Probe:
    """One thing that was looked at."""

    what: str
    """In words: ``the topic 'offsets' at h:9092``."""
    found: str = ""
    """How it is."""
    problem: str = ""
    """What keeps data from flowing; empty: nothing."""
    hint: str = ""
    """What to do about it."""
    awaited: bool = False
    """Whether the connector waits until the problem has gone, and goes on by itself."""
