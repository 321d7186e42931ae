"""Who writes with one client, by topic; of those of a topic one may be alone for a while."""

from __future__ import annotations

from .round import Writer


class Writers:
    """All that have started and not stopped."""

    def __init__(self) -> None:
        self._by_topic: dict[str, list[Writer]] = {}
        self._alone: dict[str, Writer] = {}

    def add(self, writer: Writer) -> None:
        """One more."""
        self._by_topic.setdefault(writer.topic, []).append(writer)

    def remove(self, writer: Writer) -> bool:
        """One less; whether it was the last of its topic."""
        writers = self._by_topic[writer.topic]
        writers.remove(writer)
        if not writers:
            del self._by_topic[writer.topic]
        self.go_together(writer)
        return not writers

    def of(self, topic: str) -> list[Writer]:
        """Those of a topic."""
        return list(self._by_topic.get(topic, ()))

    def all(self) -> list[Writer]:
        """Those of every topic."""
        return [writer for writers in self._by_topic.values() for writer in writers]

    @property
    def any_topic(self) -> str | None:
        """A topic that somebody writes to, if there is one."""
        return next(iter(self._by_topic), None)

    def may_send(self, writer: Writer) -> bool:
        """Whether no other one of its topic is alone."""
        return self._alone.get(writer.topic, writer) is writer

    def go_alone(self, writer: Writer) -> bool:
        """Whether nobody else has anything under way to its topic, so that batches are its own.

        If not, the others send nothing more, and `Writer.proceed` is called when it is so.
        """
        if self._alone.setdefault(writer.topic, writer) is not writer:
            return False
        return not any(o.busy for o in self._by_topic[writer.topic] if o is not writer)

    def go_together(self, writer: Writer) -> None:
        """The others of its topic may send again."""
        if self._alone.get(writer.topic) is writer:
            del self._alone[writer.topic]
            for other in self.of(writer.topic):
                other.proceed()

    def proceed_beside(self, writer: Writer) -> None:
        """Something of this writer is over: who is to be alone may be so now."""
        alone = self._alone.get(writer.topic, writer)
        if alone is not writer:
            alone.proceed()
