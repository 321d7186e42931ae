"""The house's plan, read from the source: imports go down only, threads are in one place."""

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

import queue_connector
from tests import house

PACKAGE = Path(queue_connector.__file__).parent
FLOORS = [
    {"", "model"},
    {"runtime", "codecs", "expressions"},
    {"engine", "observability"},
    {"connectors", "configdb"},
    {"configuration", "testing"},
    {"reconfiguration"},
    {"connector"},
    {"device"},
    {"demo"},
    {"cli"},
    {"entry", "__main__"},
]
CLIENT_LIBRARIES = {
    "tango": {"connectors.tango", "device", "cli", "demo"},
    "confluent_kafka": {
        *(f"connectors.kafka.{room}" for room in ("client", "cluster", "consumer_source")),
        *(f"connectors.kafka.{room}" for room in ("producer", "producer_client")),
        *(f"connectors.kafka.{room}" for room in ("reader", "committing", "bookmark")),
        *(f"connectors.kafka.{room}" for room in ("partitions", "beginning", "assignment")),
        *(f"connectors.kafka.{room}" for room in ("subscription", "member", "probing")),
        "demo",
    },
    "httpx": {"configdb"},
    "h11": {"observability.http_server"},
    "prometheus_client": {
        *("observability.exposition", "observability.family"),
        *("observability.metrics", "observability.of_exchanges"),
    },
}
THREADS = {"threading", "concurrent", "multiprocessing", "queue", "asyncio", "_thread"}
BRIDGES = {f"runtime.{room}" for room in ("worker", "lane", "inbox", "loop", "process", "foreign")}
TOKENS = {"to_thread", "from_thread", "current_trio_token", "TrioToken", "run_sync_soon"}


def _name(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = {_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


BUILDING = frozenset({"build", "build_many", "probe"})
"""Methods of a descriptor that import what they build or look with, which knows the descriptor."""


@functools.cache
def _imports(name: str, without: frozenset[str] = frozenset()) -> frozenset[str]:
    """The absolute names of all that a module imports, wherever in it but in these functions."""
    path = MODULES[name]
    here = ["queue_connector", *(name.split(".") if name else [])]
    package = here if path.name == "__init__.py" else here[:-1]
    found = set()
    for node in _nodes(house.tree(path), without):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                inner = f"{module}.{alias.name}".removeprefix("queue_connector.")
                found.add(f"queue_connector.{inner}" if inner in MODULES else module)
    return frozenset(found)


def _nodes(tree: ast.AST, without: frozenset[str]) -> Iterator[ast.AST]:
    """All of a tree but functions of these names and, if there are any, what types alone need."""
    for node in ast.iter_child_nodes(tree):
        typing = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        if without and (typing or getattr(node, "name", None) in without):
            continue
        yield node
        yield from _nodes(node, without)


@functools.cache
def _inside(name: str, without: frozenset[str] = frozenset()) -> frozenset[str]:
    return frozenset(
        imported.removeprefix("queue_connector").removeprefix(".")
        for imported in _imports(name, without)
        if imported.split(".")[0] == "queue_connector"
    )


def _floor(name: str) -> int:
    top = name.split(".")[0]
    floors = [number for number, names in enumerate(FLOORS) if top in names]
    assert len(floors) == 1, f"{name} stands on no floor: give it one in this test"
    return floors[0]


@pytest.mark.parametrize("name", MODULES)
def test_imports_go_down_only(name):
    for imported in _inside(name):
        assert _floor(imported) <= _floor(name), f"{name} imports {imported}, a floor above"


@pytest.mark.parametrize("name", [name for name in MODULES if name.count(".") >= 2])
def test_connector_families_do_not_know_each_other(name):
    family = name.split(".")[:2]
    for imported in _inside(name):
        if imported.startswith("connectors.") and name.startswith("connectors."):
            assert imported.split(".")[:2] == family, f"{name} imports {imported}"


@pytest.mark.parametrize("name", MODULES)
def test_a_client_library_is_imported_in_its_own_rooms_only(name):
    for imported in _imports(name):
        rooms = CLIENT_LIBRARIES.get(imported.split(".")[0])
        if rooms is not None:
            assert any(name == room or name.startswith(f"{room}.") for room in rooms), (
                f"{name} imports {imported}; that belongs into {sorted(rooms)}"
            )


@pytest.mark.parametrize("name", [name for name in MODULES if name not in BRIDGES])
def test_threads_and_tokens_are_in_the_bridges_only(name):
    threads = {imported for imported in _imports(name) if imported.split(".")[0] in THREADS}
    names = {
        node.attr if isinstance(node, ast.Attribute) else node.id
        for node in ast.walk(house.tree(MODULES[name]))
        if isinstance(node, ast.Attribute | ast.Name)
    }
    assert not threads, f"{name} imports {threads}"
    assert not names & TOKENS, f"{name} uses {names & TOKENS}"


@pytest.mark.parametrize("name", MODULES)
def test_no_two_modules_import_each_other(name):
    """A module may be reached from itself through the package that gathers it, no other way.

    What a descriptor builds knows it; the descriptor imports that when it is to build.
    """

    def gathers(outer: str, inner: str) -> bool:
        return inner == outer or inner.startswith(f"{outer}.") or not outer

    seen: set[str] = set()
    waiting = [imported for imported in _inside(name, BUILDING) if not gathers(imported, name)]
    while waiting:
        module = waiting.pop()
        assert module != name, f"{name} imports itself by a circle"
        if module in seen or module not in MODULES:
            continue
        seen.add(module)
        waiting += [inner for inner in _inside(module, BUILDING) if not gathers(inner, module)]


@pytest.mark.parametrize("name", MODULES)
def test_modules_and_functions_are_short(name):
    assert house.lines(MODULES[name]) <= 350
    assert house.longest_function(MODULES[name]) <= 45


def test_the_page_on_the_architecture_tells_how_many_rooms_and_arrows_there_are():
    page = PACKAGE.parent / "docs" / "explanations" / "architecture.md"
    rooms, flat, arrows, *_ = house.row(PACKAGE).split(" | ")
    assert f"| now | {rooms} | {flat} | {arrows} |" in page.read_text("utf-8")
