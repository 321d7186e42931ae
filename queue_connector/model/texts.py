"""Text that came from outside, made fit to be told: nothing in it forges a line, none is too long.

Names of groups, keys of a database, values, and what servers and libraries say may hold line
breaks, terminal escapes, characters that turn the writing round, or megabytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

MAX_NAME = 200
"""Characters of a name that are told."""

MAX_MESSAGE = 4096
"""Characters of what is wrong with one group or exchange that are told."""


def shortened(text: str, limit: int = MAX_MESSAGE) -> str:
    """At most *limit* characters of *text*, and how many more there were."""
    if len(text) <= limit:
        return text
    return f"{text[:limit]}… ({len(text) - limit} more characters)"


def printable(text: str) -> str:
    """The same with an escape for each character that does not stand on a line as what it is."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )


def name(text: str) -> str:
    """A name, for people."""
    return printable(shortened(text, MAX_NAME))


def one_line(text: str, limit: int = MAX_MESSAGE) -> str:
    """A text of any lines on one, with ``; `` between them."""
    return printable("; ".join(shortened(text, limit).splitlines()))


def first(items: Sequence[object], number: int, more: str) -> list[str]:
    """The first *number* of many as text, and a line with how many *more* there are."""
    told = [str(item) for item in items[:number]]
    return [*told, f"and {len(items) - number} {more}"] if len(items) > number else told


def within(lines: Iterable[str], limit: int, more: str) -> str:
    """As many lines as have room in *limit* characters, then how many *more* there are."""
    every = list(lines)
    room = limit
    for number, line in enumerate(every):
        room -= len(line) + 1
        if room < 0:
            return "\n".join([*every[:number], f"and {len(every) - number} {more}"])
    return "\n".join(every)
