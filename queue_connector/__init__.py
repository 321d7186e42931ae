"""Queue Connector: carries data live between Tango attributes and Kafka topics."""


def __getattr__(name: str) -> str:
    """``__version__``, found when it is asked for: the look-up takes long."""
    if name == "__version__":
        from importlib.metadata import version

        return version("queue-connector")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
