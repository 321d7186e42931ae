"""Leave out data that cannot be used: they are counted and logged, and the stream goes on."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import trio

from ...descriptors import Services, TolerantPolicyDescriptor, error_policies
from ...ledger import SKIPPED, Refusal
from ...stream import ErrorPolicy


@error_policies.register("skip")
@attrs.frozen(kw_only=True)
class SkipPolicyDescriptor(TolerantPolicyDescriptor):
    """Bad data are counted, logged now and then, and left out."""

    def build(self, services: Services) -> SkipPolicy:
        """The policy, which needs nothing."""
        return SkipPolicy()


class SkipPolicy(ErrorPolicy):
    """Runtime side of `SkipPolicyDescriptor`."""

    outcome = SKIPPED

    async def start(self) -> None:
        """Do nothing."""
        await trio.lowlevel.checkpoint()

    async def stop(self) -> None:
        """Do nothing."""
        await trio.lowlevel.checkpoint()

    async def take(self, refusals: Sequence[Refusal]) -> None:
        """Do nothing: the exchange counts and logs them."""
        await trio.lowlevel.checkpoint()
