"""Queue Connector: carries data live between Tango attributes and Kafka topics."""

from importlib.metadata import version

__version__ = version("queue-connector")
