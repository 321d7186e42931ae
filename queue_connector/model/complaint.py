"""What is wrong with a value that was to be a descriptor, in words, with its JSON path."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cattrs.errors import (
    AttributeValidationNote,
    BaseValidationError,
    IterableValidationNote,
)

from .errors import Fault
from .option import step

# --- complaints, and the paths to them


class Complaint(ValueError):
    """One thing that is wrong with the value at hand; ``where`` leads on from its path."""

    def __init__(
        self, message: str, hint: str = "", *, where: str = "", meaning: bool = False
    ) -> None:
        self.message = message
        self.hint = hint
        self.where = where
        self.meaning = meaning
        super().__init__(message)


def unlike(expected: str, value: object, hint: str = "") -> Complaint:
    """That something else was expected."""
    return Complaint(f"expected {expected}, found {describe(value)}", hint)


def describe(value: object) -> str:
    """A JSON-like value in a few words."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return f"text {shown(value)}"
        case int() | float():
            return f"number {shown(value)}"
        case list():
            return f"a list of {len(value)}"
        case dict():
            return f"an object with {len(value)} keys" if value else "an empty object"
    return f"a Python {type(value).__name__}, which JSON has not"


_NAMES_A_SECRET = re.compile(
    r"passw|secret|passphrase|private.key|sasl\.|ssl\.|\boptions\b", re.IGNORECASE
)


def holds_secrets(text: str) -> bool:
    """Whether a text has names in it that secrets stand beside, so that one may be in it too."""
    return _NAMES_A_SECRET.search(text) is not None


def shown(value: object) -> str:
    """The repr of a value, cut to what a message bears; nothing of what may hold a secret."""
    if isinstance(value, str):
        if holds_secrets(value):
            return f"of length {len(value)}, which is not shown as it names a secret"
        if value.lstrip()[:1] in ("{", "["):
            return f"of length {len(value)}, which looks like JSON"
        if len(value) > 60:
            return f"{value[:57]!r}…"
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # Python refuses to write very long numbers
        return "too long to show"
    if holds_secrets(text):
        return "something that is not shown as it names a secret"
    return text if len(text) <= 60 else text[:57] + "…"


def sorted_out(error: Exception) -> tuple[list[Fault], list[Fault]]:
    """The faults of structure and those of meaning in what a hook raised."""
    structural: list[Fault] = []
    meaning: list[Fault] = []
    for complaint, path in _complaints(error, "$"):
        fault = Fault(path + complaint.where, complaint.message, complaint.hint)
        (meaning if complaint.meaning else structural).append(fault)
    return structural, meaning


def _complaints(error: Exception, path: str) -> Iterator[tuple[Complaint, str]]:
    if isinstance(error, BaseValidationError):
        for part in error.exceptions:
            yield from _complaints(part, path + _noted_step(part))
    elif isinstance(error, Complaint):
        yield error, path
    else:  # what an attrs class says about its fields together
        yield Complaint(str(error)), path


def _noted_step(error: Exception) -> str:
    """The step of the path that cattrs noted on an exception."""
    for note in getattr(error, "__notes__", ()):
        match note:
            case AttributeValidationNote():
                return step(note.name)
            case IterableValidationNote():
                return step(note.index)
    return ""
