"""Which consumer reads a topic: one for all of a cluster, log-in and group that nobody reads twice.

* twice     a topic that two sources read is read by two consumers, as each has its own pace
* shared    a source that shares its topic with others has a consumer for itself, see `member`
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import attrs
import trio

from ...model.shared import Shared
from .cluster import Cluster
from .member import Member
from .reader import Reader
from .subscription import Subscription


@attrs.frozen
class ReaderKey:
    """What sources have in common that share a consumer, and which of several it is."""

    cluster: Cluster
    group: str | None
    number: int
    member_of: str = ""
    """The topic of a consumer that shares it with others."""


@asynccontextmanager
async def reading(
    shared: Shared,
    cluster: Cluster,
    group: str | None,
    subscription: Subscription,
    grace: Callable[[], float],
    *,
    session: float | None = None,
) -> AsyncIterator[None]:
    """Read the topic of *subscription* until the end, with a consumer that has not got it yet.

    With a *session* in seconds it is read as a member of the group, by a consumer of its own, which
    may be silent for so long.

    At the end what was settled is committed, for *grace* seconds at most.
    """
    async with AsyncExitStack() as stack:
        number = 0

        def make() -> Reader:
            if session is None or group is None:
                return Reader(shared, cluster, group, subscription.log)
            return Member(shared, cluster, group, subscription.log, session)

        member_of = "" if session is None else subscription.topic
        while True:
            key = ReaderKey(cluster, group, number, member_of)
            reader = await stack.enter_async_context(shared.use(key, make))
            if reader.claim(subscription):
                break
            await stack.aclose()
            number += 1
        try:
            yield
        finally:
            with trio.CancelScope(shield=True):  # bounded by the grace and a turn of the thread
                await reader.leave(subscription, grace())
