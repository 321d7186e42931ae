"""Leave out data that cannot be used: they are counted and logged, and the stream goes on."""

from __future__ import annotations

import attrs

from ...model.endpoints import TolerantPolicyDescriptor, error_policies
from ...model.outcome import SKIPPED
from ...model.services import Services
from ...model.stream import ErrorPolicy


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
