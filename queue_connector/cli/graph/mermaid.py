"""A chart in the language of Mermaid, which pages of GitHub and GitLab show as a picture."""

from __future__ import annotations

from collections.abc import Iterator

from .chart import Box, Chart

_ENTITIES = str.maketrans({each: f"#{ord(each)};" for each in '#"<>&\\`'})


def lines(chart: Chart) -> Iterator[str]:
    """A flow chart, a statement a line."""
    yield "flowchart LR"
    for group, boxes in chart.groups:
        yield f'  subgraph "{_escaped(group)}"'
        for box in boxes:
            yield f"    {box.name}[{_label(box)}]"
        yield "  end"
    for box in chart.ends.values():
        yield f"  {box.name}([{_label(box)}])"
    for begin, end in chart.arrows:
        yield f"  {begin} --> {end}"


def _label(box: Box) -> str:
    return '"' + "<br>".join(map(_escaped, box.lines)) + '"'


def _escaped(text: str) -> str:
    """As Mermaid takes any text: else it would read tags, entities and Markdown in it."""
    return text.translate(_ENTITIES)
