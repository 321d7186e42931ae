"""What a descriptor may use to build its runtime object, and what objects of one device share."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Iterable, Sequence
from typing import Protocol

import attrs

from .condition import Condition
from .datatypes import Data, DataSpec
from .errors import Fault
from .ledger import Account
from .shared import Shared


@attrs.frozen
class PublishedAttribute:
    """An attribute that a sink publishes its data as, from configuration to removal.

    ``shape`` of the spec is a maximum. ``default`` is a value that fits the spec.
    """

    name: str
    spec: DataSpec
    default: Data

    def same_type(self, other: PublishedAttribute) -> bool:
        """Whether the other one can stand in its place, with its subscribers and last value."""
        return self.name.lower() == other.name.lower() and self.spec == other.spec


class AttributeHost(Protocol):
    """Where attributes are published: the device."""

    def owners(self) -> Iterable[str]:
        """Who has attributes defined."""
        ...

    async def define(self, owner: str, wanted: Sequence[PublishedAttribute]) -> None:
        """Make the attributes of *owner* those wanted: add, keep the same ones, remove the rest.

        Raises:
            EndpointError: the host refused; what was defined before may be gone.
        """
        ...

    async def publish(self, values: Sequence[tuple[str, Data]]) -> None:
        """Set attributes and push their events, in order."""
        ...


@attrs.define(eq=False)
class ExchangeName:
    """The present name of an exchange, ``group[index]``: whoever shows it asks at that moment.

    An exchange that stays while others of its group go has another index from then on.
    """

    text: str = "exchange"

    @classmethod
    def of(cls, name: ExchangeName | str) -> ExchangeName:
        """That name, or one of this text."""
        return name if isinstance(name, ExchangeName) else cls(name)

    def __str__(self) -> str:
        return self.text


@attrs.frozen
class Services:
    """What a descriptor may use to build its runtime object."""

    exchange: ExchangeName = attrs.field(factory=ExchangeName)
    """For errors and log lines; not to be kept as text."""
    account: Account = attrs.field(factory=Account)
    """What is counted for the endpoint that is built."""
    condition: Condition = attrs.field(factory=Condition)
    """Where the endpoint that is built says how it is."""
    shared: Shared = attrs.field(factory=Shared)
    """What the endpoints of a device use together."""
    attributes: AttributeHost | None = None
    log: logging.Logger = attrs.field(factory=lambda: logging.getLogger("queue_connector"))


@attrs.frozen
class Place:
    """Where data stand outside the connector: what one exchange writes there, another may read."""

    field: str
    """The key of the descriptor that names it."""
    what: str
    """In words."""
    keys: frozenset[Hashable]
    """What stands for it; two places that have one of them in common are the same."""
    passes_all: bool = True
    """Whether all that is written there is read there."""


@attrs.frozen
class Client:
    """A client of a library that several endpoints can share."""

    key: Hashable
    """What those have in common that share one."""
    alone: Hashable = None
    """What only one endpoint of each client can have; None: any number share it."""


@attrs.frozen
class Claim:
    """Something that one exchange of a device must have for itself."""

    path: str
    key: Hashable
    """The same for all that claim the same thing."""
    what: str
    hint: str

    def below(self, prefix: str) -> Claim:
        """The same claim seen from further up, as in `Fault.below`."""
        return attrs.evolve(self, path=prefix + self.path.removeprefix("$"))

    def conflict(self, other: str) -> Fault:
        """What is wrong when it is claimed elsewhere too, in words."""
        return Fault(self.path, f"{self.what} is claimed {other} too", self.hint)
