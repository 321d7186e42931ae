"""What the sinks share whose data become attributes of the device itself.

* attributes are defined and removed by the group; the sink only publishes
* delivery  the data of a batch are published in one job, in order; a datum is delivered when its
            attributes read as it and their events were pushed
* errors    a datum of which one part does not fit is refused whole, and nothing of it is published
"""

from __future__ import annotations

import abc
from collections.abc import Iterable, Sequence

import trio

from ...model.datatypes import Data
from ...model.delivery import Delivery
from ...model.errors import DataError, untraced
from ...model.services import AttributeHost
from ...model.stream import DataSink

Taken = tuple[list[tuple[str, Data]], dict[int, DataError]]
"""Names and values to publish, and by their index the data that do not fit."""


class PublishingSink(DataSink):
    """Publishes what `parts` makes of each datum."""

    def __init__(self, host: AttributeHost) -> None:
        self._host = host

    async def start(self) -> None:
        """Do nothing: the group has defined the attributes."""
        await trio.lowlevel.checkpoint()

    async def stop(self) -> None:
        """Do nothing: the attributes keep their last values until the group removes them."""
        await trio.lowlevel.checkpoint()

    async def awrite_batch(self, delivery: Delivery) -> None:
        """Publish the data that fit, in one job, and refuse the others."""
        values, refused = await self._take(delivery.values)
        for index, error in refused.items():
            delivery.refuse(index, error)
        if values:
            await self._host.publish(values)
        else:
            await trio.lowlevel.checkpoint()
        delivery.accept_all()

    async def _take(self, data: Sequence[Data]) -> Taken:
        return self.take(data)

    def take(self, data: Sequence[Data]) -> Taken:
        """What is to be published of many data."""
        values: list[tuple[str, Data]] = []
        refused: dict[int, DataError] = {}
        for index, value in enumerate(data):
            try:
                values.extend(self.parts(value))
            except DataError as error:
                refused[index] = untraced(error)
        return values, refused

    @abc.abstractmethod
    def parts(self, value: Data) -> Iterable[tuple[str, Data]]:
        """The names of attributes, and what they show of a datum.

        Raises:
            DataError: it does not fit.
        """
