"""What the demonstration connects: names of dishes, topics and attributes, and the configuration.

Each dish has two exchanges: its pointings, from the dish's attribute to a topic, and its offsets,
from a topic to an attribute of the connector. They make two groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

MOST_DISHES = 197
"""As many as the largest telescope has that this is built for."""

POINTINGS, OFFSETS = "pointings", "offsets"
"""The groups. An exchange is called after its group and its place there: ``pointings[0]``."""

POINTING_ATTRIBUTE = "achievedPointing"

NO_OFFSET = "nan"
"""What an offset attribute reads as before its first datum."""


@attrs.frozen
class Dish:
    """One dish and everything that is called after it; ``number`` counts from 0."""

    number: int

    @property
    def name(self) -> str:
        """As people write it, e.g. ``SKA001``."""
        return f"SKA{self.number + 1:03}"

    @property
    def device(self) -> str:
        """Its Tango device."""
        return f"mid-dish/dish-manager/{self.name.lower()}"

    @property
    def pointings_topic(self) -> str:
        """Where the connector writes its pointings."""
        return f"pointings-{self.name.lower()}"

    @property
    def offsets_topic(self) -> str:
        """Where the pipeline writes its offsets."""
        return f"offsets-{self.name.lower()}"

    @property
    def offset_attribute(self) -> str:
        """What the telescope subscribes to."""
        return f"pointing_cal_{self.name}"

    @property
    def pointings_exchange(self) -> str:
        """The name that the connector's statistics give the exchange of its pointings."""
        return f"{POINTINGS}[{self.number}]"

    @property
    def offsets_exchange(self) -> str:
        """The name that the connector's statistics give the exchange of its offsets."""
        return f"{OFFSETS}[{self.number}]"

    @property
    def pointings_route(self) -> str:
        """The exchange of its pointings in words."""
        return f"{self.name.lower()}/{POINTING_ATTRIBUTE} → {self.pointings_topic}"

    @property
    def offsets_route(self) -> str:
        """The exchange of its offsets in words."""
        return f"{self.offsets_topic} → {self.offset_attribute}"


def first_dishes(count: int) -> list[Dish]:
    """The dishes with the lowest numbers."""
    return [Dish(number) for number in range(count)]


def topics(dishes: Sequence[Dish]) -> list[str]:
    """Every topic that is written or read."""
    return [topic for dish in dishes for topic in (dish.pointings_topic, dish.offsets_topic)]


def device_address(port: int, device: str) -> str:
    """The name of a device of a server on this machine, which no Tango database knows."""
    return f"tango://127.0.0.1:{port}/{device}#dbase=no"


def configuration(dishes: Sequence[Dish], dishes_port: int, servers: str) -> dict[str, Any]:
    """The connector's configuration."""
    vector = {"dtype": "float64", "shape": [3]}
    return {
        "exchanges": {
            POINTINGS: [
                {
                    **vector,
                    "source": {
                        "type": "TangoSubscriptionSource",
                        "device_name": device_address(dishes_port, dish.device),
                        "attribute_name": POINTING_ATTRIBUTE,
                    },
                    "sink": {
                        "type": "KafkaProducerSink",
                        "servers": servers,
                        "topic": dish.pointings_topic,
                        "encoding": "carray",
                    },
                }
                for dish in dishes
            ],
            OFFSETS: [
                {
                    **vector,
                    "source": {
                        "type": "KafkaConsumerSource",
                        "servers": servers,
                        "topic": dish.offsets_topic,
                        "encoding": "msgpack_numpy",
                    },
                    "sink": {
                        "type": "TangoLocalAttributeSink",
                        "attribute_name": dish.offset_attribute,
                        "default_value": NO_OFFSET,
                    },
                }
                for dish in dishes
            ],
        }
    }
