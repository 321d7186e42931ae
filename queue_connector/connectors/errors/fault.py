"""Stop the group at a datum that cannot be used, after everything good was delivered."""

from __future__ import annotations

import attrs

from ...model.endpoints import ErrorPolicyDescriptor, error_policies
from ...model.services import Services
from ...model.stream import ErrorPolicy


@error_policies.register("fault")
@attrs.frozen(kw_only=True)
class FaultPolicyDescriptor(ErrorPolicyDescriptor):
    """The first bad datum takes the group to FAULT, once all good data taken in are delivered."""

    def build(self, services: Services) -> ErrorPolicy:
        """What every policy does by itself."""
        return ErrorPolicy()
