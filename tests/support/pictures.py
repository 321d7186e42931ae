"""What is in the pictures that Graphviz draws: read back from SVG and PNG."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ET

from PIL import Image

_SVG = "{http://www.w3.org/2000/svg}"


def texts_of(svg: bytes) -> dict[str, str]:
    """What stands in each node and cluster, by its name, the lines of it put together.

    Graphviz writes spaces that follow each other as ones that do not break.
    """
    return {
        group.findtext(f"{_SVG}title", ""): "".join(
            text.text or "" for text in group.findall(f"{_SVG}text")
        ).replace("\xa0", " ")
        for group in ET.fromstring(svg).iter(f"{_SVG}g")
        if group.get("class") in ("node", "cluster")
    }


def arrows_of(svg: bytes) -> set[tuple[str, str]]:
    """The names that each arrow begins and ends at."""
    titles = [
        group.findtext(f"{_SVG}title", "")
        for group in ET.fromstring(svg).iter(f"{_SVG}g")
        if group.get("class") == "edge"
    ]
    return {(begin, end) for begin, _, end in (title.partition("->") for title in titles)}


def colours_of(png: bytes) -> set[tuple[int, ...]]:
    """Red, green and blue of the pixels of a PNG, all of it decoded."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    with Image.open(io.BytesIO(png)) as image:
        pixels = image.convert("RGB")
    found = pixels.getcolors(pixels.width * pixels.height)
    assert found is not None
    return {colour for _, colour in found}
