"""Pass everything through as it is."""

from __future__ import annotations

import attrs

from ...model.datatypes import DataSpec
from ...model.endpoints import PipeDescriptor, pipes
from ...model.ledger import Batch
from ...model.stream import DataPipe, Upstream


@pipes.register("DefaultPipe")
@attrs.frozen(kw_only=True)
class DefaultPipeDescriptor(PipeDescriptor):
    """Passes data through unchanged."""

    def build(self, spec: DataSpec) -> DefaultPipe:
        """The pipe."""
        return DefaultPipe(spec)


class DefaultPipe(DataPipe):
    """Runtime side of `DefaultPipeDescriptor`."""

    transparent = True

    async def transform(self, upstream: Upstream) -> Batch:
        """The next batch, the same object."""
        return await upstream.receive()
