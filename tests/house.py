"""Counts the house: ``python -m tests.house [CHECKOUT]`` prints a row of docs/…/architecture.md.

A *room* is a folder of the package, or a module that stands beside the folders. An *arrow* leads
from a room to one that it imports from.
"""

from __future__ import annotations

import ast
import functools
import sys
from collections.abc import Iterator
from pathlib import Path

Module = tuple[str, ...]
NAME = "queue_connector"


def modules(package: Path) -> dict[Module, Path]:
    """Each module by its name inside the package."""
    return {
        tuple(p for p in path.relative_to(package).with_suffix("").parts if p != "__init__"): path
        for path in sorted(package.rglob("*.py"))
    }


@functools.cache
def tree(path: Path) -> ast.Module:
    """A module, parsed once however many ask."""
    return ast.parse(path.read_text())


def imported(name: Module, path: Path, known: dict[Module, Path]) -> Iterator[Module]:
    """The modules of the package that a module imports from."""
    folder = name if path.name == "__init__.py" else name[:-1]
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            targets = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = [NAME, *folder][: len(folder) + 2 - node.level] if node.level else []
            whole = [*base, *(node.module.split(".") if node.module else [])]
            targets = [[*whole, alias.name] for alias in node.names]
        else:
            continue
        for target in targets:
            if target[0] == NAME:
                inner = tuple(target[1:])
                yield inner if inner in known else inner[:-1]


def longest_function(path: Path) -> int:
    """Lines of the longest function of a module."""
    lengths = [
        (node.end_lineno or 0) - node.lineno + 1
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    return max(lengths, default=0)


def lines(path: Path) -> int:
    """Lines of a module."""
    return len(path.read_text().splitlines())


def row(package: Path) -> str:
    """What there is, as a row of a table."""
    known = modules(package)

    def room(name: Module) -> Module:
        is_folder = name not in known or known[name].name == "__init__.py"
        return name if is_folder or len(name) < 2 else name[:-1]

    arrows = {
        (room(name), room(target))
        for name, path in known.items()
        for target in imported(name, path, known)
    }
    sizes = [lines(path) for path in known.values()]
    figures = (
        len({room(name) for name in known}),
        sum(1 for name, path in known.items() if len(name) == 1 and path.name != "__init__.py"),
        len({(one, other) for one, other in arrows if one != other}),
        len(known),
        max(sizes),
        sum(size > 350 for size in sizes),
        max(map(longest_function, known.values())),
        f"{sum(sizes):,}",
    )
    return " | ".join(map(str, figures))


if __name__ == "__main__":
    print(row(Path(sys.argv[1] if len(sys.argv) > 1 else ".") / NAME))
