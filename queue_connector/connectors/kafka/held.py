"""The partitions of a topic that a group has given to one of its members.

* begin     where the group has committed. Where it never has, at the start that is configured, of
            all partitions at once: one that is without a position later was added, and is read from
            its beginning, whoever gets it
* back      what is given back is read by another: what waits here is dropped, and what was handed
            over is settled first
* threads   everything here is called in the thread that polls, but `HeldPartitions.is_idle`
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .partitions import Home, TopicPartitions
from .subscription import Subscription

LOST = "partitions lost to other members"
"""What a source that shares its topic counts in the ledger's ``upstream``."""


class HeldPartitions(TopicPartitions):
    """Those of the topic of one subscription that are ours for now."""

    def __init__(self, home: Home, subscription: Subscription) -> None:
        super().__init__(home, subscription)
        self.numbers: set[int] = set()
        """What the group has given, read already or not."""
        self._there: set[int] = set()
        self._joined = False
        self._made_later = False
        self._others = 0
        assert home.bookmark is not None
        self._group = home.bookmark.group
        self._bookmark = home.bookmark
        self._rebalances = 0
        subscription.condition.gauges.update(
            partitions=lambda: len(self.numbers), rebalances=lambda: self._rebalances
        )

    @property
    def is_idle(self) -> bool:
        """Whether the group has nothing for us; any thread may ask."""
        return self._joined and not self.numbers

    # -- what the group does -----------------------------------------------------------------------

    def give(self, numbers: set[int]) -> None:
        """Read these too, once it is known where to begin."""
        self._rebalances += 1
        self._joined = True
        self.numbers |= numbers
        self._home.asker.hurry()
        self._home.post(self._go_on)

    def take_away(self, numbers: set[int]) -> None:
        """Have `Subscription.returned` set once what was handed over of these is settled."""
        self.numbers -= numbers
        self.subscription.returned = False
        self._home.tell(self.subscription.give_back, numbers & self._positions.keys())

    def let_go(self, numbers: set[int], whole: bool) -> None:
        """Read these no more; *whole* says whether all that was handed over is committed."""
        if not whole:
            self._log.warning(
                "Kafka topic %s: what was under way of partitions %s was not delivered and "
                "committed before the group %r gave them to another: some data will come twice",
                *(self._topic, _named(numbers), self._group),
            )
        self._leave(numbers & self._positions.keys())

    def lose(self, numbers: set[int]) -> None:
        """Others may have these already."""
        if numbers:
            self.subscription.upstream[LOST] += len(numbers)
            self._log.warning(
                "Kafka topic %s: the group %r has partitions %s for others, as it and this member "
                "have not heard of each other for a session: what was under way may come twice",
                *(self._topic, self._group, _named(numbers)),
            )
        self._joined = False
        self.numbers -= numbers
        gone = numbers & self._positions.keys()
        self._home.tell(self.subscription.drop, gone)
        self._leave(gone)

    def others_are(self, number: int) -> None:
        """So many other members has the group; they have all partitions."""
        self._others = number

    def close(self) -> None:
        """Read nothing more; what the group gives yet stays unread."""
        self.numbers.clear()
        super().close()

    # -- where to begin ----------------------------------------------------------------------------

    def _missing(self, now: float) -> None:
        """What it will have once it is made is all new."""
        self._made_later = self._made_later or not self._positions
        super()._missing(now)

    def _begin(self, leaders: Mapping[int, int]) -> None:
        self._compare(set(leaders))

    def _compare(self, there: set[int]) -> None:
        self._there = there
        self._go_on()

    def _go_on(self) -> None:
        """Find out where to begin in what was given and is not read."""
        fresh = self.numbers - self._positions.keys()
        if self.asking or self.failed or self.subscription.closing:
            return
        if fresh and not fresh <= self._there:
            self._home.asker.urgent = True  # it is told of them soon
        elif fresh:
            found = self._beginning.committed(sorted(self._there))
            if found is None:
                return  # asked again at the next look
            if found or self._made_later:
                self._read_from({number: found.get(number, 0) for number in fresh}, found)
            else:
                self.asking = True
                self._beginning.find_start(sorted(self._there))
        else:
            self._open()

    def _begin_at(self, positions: dict[int, int]) -> None:
        """Commit it for the others as well: whoever comes later knows that the group was there."""
        self.asking = False
        found = self._beginning.committed(sorted(positions))
        if found is None:
            return
        fresh = self.numbers - self._positions.keys()
        others = positions.keys() - fresh - found.keys()
        self._bookmark.commit_for_others(
            self._home.consumer, self._topic, {number: positions[number] for number in others}
        )
        self._read_from({n: found.get(n, positions[n]) for n in fresh & positions.keys()}, found)

    def _read_from(self, positions: Mapping[int, int], committed: Mapping[int, int]) -> None:
        """Of what is *committed* already, nothing has to be before it is read."""
        self._log.info(
            "Kafka topic %s: reading partitions %s for the group %r",
            *(self._topic, _named(positions), self._group),
        )
        self._known = True
        self._place(positions)
        if unmarked := positions.keys() - committed.keys():
            self._unmarked.update(unmarked)
            self._home.unmarked.add(self)
        self.assignment.add(positions.keys() - unmarked)
        self._open()

    def _open(self) -> None:
        if self._unmarked or not self.numbers <= self._positions.keys():
            return
        if self.numbers:
            self._condition.is_well()
        if self._joined or self._made_later:
            self._home.tell(self.subscription.opened.set)

    def _say(self, leaders: Mapping[int, int]) -> None:
        ours = {number: leader for number, leader in leaders.items() if number in self.numbers}
        if ours or self.numbers:
            super()._say(ours)
        elif self._joined:
            group = f"of the group {self._group!r}"
            who = (
                f"1 other member {group} has"
                if self._others == 1
                else f"other members {group} have"
            )
            if self._others > 1:
                who = f"{self._others} {who}"
            self._condition.waits(f"partitions: {who} them all")
        else:
            self._condition.waits(f"the group {self._group!r} to share out its partitions")


def _named(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(numbers))) or "none"
