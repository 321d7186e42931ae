"""Whether the groups of a device may stream: one that waits for another device has them ready."""

from __future__ import annotations

import attrs

from ..model.errors import EndpointError


@attrs.define
class Permission:
    """One object for all groups of a device."""

    refusal: str = ""
    """Why nothing may begin to stream; empty when it may."""

    def check(self, command: str) -> None:
        """Refuse a command that would stream.

        Raises:
            EndpointError: nothing may stream now.
        """
        if self.refusal:
            raise EndpointError("the configuration database", command, self.refusal)
