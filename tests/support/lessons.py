"""Lessons of the documentation, done as they are written: files, commands, and what they print."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import attrs

LESSONS = Path(__file__).parents[2] / "docs" / "tutorials"

_BLOCK = re.compile(
    r"(?:as `(?P<name>[\w.]+)`[^`]*)?^```(?P<kind>\w+)\n(?P<text>.*?)^```", re.M | re.S
)


@attrs.frozen
class Step:
    """A block of a lesson: a file to save where it has a name, else commands, or their output."""

    kind: str
    text: str
    name: str | None = None


def steps(lesson: str, **replaced: str) -> Iterator[Step]:
    """The blocks of a lesson, with addresses replaced: ``broker`` and ``device``."""
    text = (LESSONS / lesson).read_text("utf-8")
    text = text.replace("127.0.0.1:41763", replaced["broker"])
    port = replaced["device"].rpartition(":")[2]
    text = text.replace("127.0.0.1:45450", replaced["device"]).replace("45450", port)
    for block in _BLOCK.finditer(text):
        yield Step(block["kind"], block["text"], block["name"])


def shape(text: str) -> list[str]:
    """What is the same in every run: lines without numbers and without what lies between words."""
    lines = (re.sub(r"\d+(\.\d+)?", "0", " ".join(line.split())) for line in text.splitlines())
    return [line for line in lines if line]
