"""A chart in the language of Graphviz, and the pictures that its program ``dot`` makes of it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator

from ...model import texts
from ..common import failure
from .chart import Chart

WIDEST = 60
"""Characters on a line of a box; what is longer goes on below."""

LONGEST = 120.0
"""Seconds that a picture may take."""

_MISSING = (
    "there is no program dot, which draws SVG and PNG: install Graphviz, on Debian and Ubuntu "
    "with apt install graphviz; --format mermaid and text need nothing"
)


def lines(chart: Chart) -> Iterator[str]:
    """A directed graph, a statement a line."""
    yield "digraph exchanges {"
    yield "  rankdir=LR; labeljust=l; bgcolor=white; ranksep=0.6; nodesep=0.15"
    for kind in ("graph", "node", "edge"):
        yield f'  {kind} [fontname="Helvetica,Arial,sans-serif" fontsize=11]'
    yield '  node [shape=box height=0.3 style=filled fillcolor="#dbe9f6" color="#31506e"]'
    yield '  edge [color="#31506e" arrowsize=0.7]'
    for number, (group, boxes) in enumerate(chart.groups):
        yield f"  subgraph cluster{number} {{"
        yield f'    label={_quoted(group)}; style=rounded; color="#888888"'
        for box in boxes:
            yield f"    {box.name} [label={_quoted(*box.lines)}]"
        yield "  }"
    yield '  node [style="filled,rounded" fillcolor="#f6f0db" color="#6e5a31"]'
    for box in chart.ends.values():
        yield f"  {box.name} [label={_quoted(*box.lines)}]"
    for begin, end in chart.arrows:
        yield f"  {begin} -> {end}"
    yield "}"


def picture(chart: Chart, language: str) -> bytes:
    """The picture in a language that ``dot`` writes, as ``svg`` or ``png``.

    An end with status 1 where there is no ``dot``, or it fails or takes too long.
    """
    program = shutil.which("dot")
    if program is None:
        failure(_MISSING)
    text = "\n".join(lines(chart))
    try:
        drawn = subprocess.run(
            [program, f"-T{language}"], input=text.encode(), capture_output=True, timeout=LONGEST
        )
    except subprocess.TimeoutExpired:
        failure(
            f"dot took more than {LONGEST:g} s to place {len(chart.arrows)} arrows; draw fewer "
            "groups at once, or use --format mermaid"
        )
    except OSError as error:
        failure(f"cannot run {program}: {error.strerror}")
    said = texts.one_line(drawn.stderr.decode(errors="replace"))
    if drawn.returncode != 0:
        failure(f"{program} failed with status {drawn.returncode}: {said or 'it says no more'}")
    if said:
        print(f"queue-connector: dot says: {said}", file=sys.stderr)
    return drawn.stdout


def _quoted(*lines: str) -> str:
    """As ``dot`` takes any text: it reads escapes and entities in what stands in quotes."""
    wrapped = (part for line in lines for part in _wrapped(line))
    return '"' + "\\n".join(map(_escaped, wrapped)) + '"'


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;")


def _wrapped(line: str) -> list[str]:
    return textwrap.wrap(line, WIDEST, drop_whitespace=False, break_on_hyphens=False) or [""]
