"""Queue Connector: carries data live between Tango attributes and Kafka topics.

What programs may use stands in ``__init__.pyi``, the one list of it, and is imported when it is
asked for: Tango and Kafka take most of a second.
"""

import lazy_loader

_exported, _names, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> object:
    """What is exported, and ``__version__``, which takes long to find out."""
    if name == "__version__":
        from importlib.metadata import version

        return version("queue-connector")
    return _exported(name)


def __dir__() -> list[str]:
    return [*_names(), "__version__"]
