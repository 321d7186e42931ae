"""How hypothesis works in all tests: an example may take as long as a busy machine lets it.

Where ``CI`` is set, each run draws the same examples; elsewhere others each time.
"""

import gc
import os

from hypothesis import settings

settings.register_profile("queue-connector", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("queue-connector")


def pytest_collection_finish() -> None:
    """Thousands of tests stay to the end: have no search for garbage go through them."""
    gc.freeze()
