"""How hypothesis works in all tests: an example may take as long as a busy machine lets it."""

from hypothesis import settings

settings.register_profile("queue-connector", deadline=None)
settings.load_profile("queue-connector")
