"""What all tests share: topics of their own, and how hypothesis works.

An example of hypothesis may take as long as a busy machine lets it. Where ``CI`` is set, each run
draws the same examples; elsewhere others each time.
"""

import gc
import os
import re
import signal
import uuid

import pytest
from hypothesis import settings

settings.register_profile("queue-connector", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("queue-connector")

# A shell has what it starts with "&" ignore Ctrl-C, and so would all the programs that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """Thousands of tests stay to the end: have no search for garbage go through them."""
    gc.freeze()


@pytest.fixture
def topic(request: pytest.FixtureRequest) -> str:
    """The name of a topic that nobody has used; the broker makes it when it is first written."""
    test = re.sub(r"[^A-Za-z0-9._-]+", "-", request.node.name)[:80]
    return f"{test}-{uuid.uuid4().hex[:8]}"
