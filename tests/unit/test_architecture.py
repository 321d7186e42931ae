"""The house's plan, read from the source: imports go down only, threads are in one place."""

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

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
ROOMS = ("worker", "answers", "lane", "inbox", "loop", "process", "foreign", "threads")
BRIDGES = {f"runtime.{room}" for room in ROOMS}
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


def test_imports_go_down_only():
    upwards = [
        f"{name} imports {imported}, a floor above"
        for name in MODULES
        for imported in _inside(name)
        if _floor(imported) > _floor(name)
    ]
    assert upwards == []


def test_connector_families_do_not_know_each_other():
    known = [
        f"{name} imports {imported}"
        for name in MODULES
        for imported in _inside(name)
        if name.count(".") >= 2
        and name.startswith("connectors.")
        and imported.startswith("connectors.")
        and imported.split(".")[:2] != name.split(".")[:2]
    ]
    assert known == []


def test_a_client_library_is_imported_in_its_own_rooms_only():
    strangers = [
        f"{name} imports {imported}; that belongs into {sorted(rooms)}"
        for name in MODULES
        for imported in _imports(name)
        if (rooms := CLIENT_LIBRARIES.get(imported.split(".")[0])) is not None
        and not any(name == room or name.startswith(f"{room}.") for room in rooms)
    ]
    assert strangers == []


def test_threads_and_tokens_are_in_the_bridges_only():
    strangers = {}
    for name, path in MODULES.items():
        threads = {imported for imported in _imports(name) if imported.split(".")[0] in THREADS}
        names = {
            node.attr if isinstance(node, ast.Attribute) else node.id
            for node in ast.walk(house.tree(path))
            if isinstance(node, ast.Attribute | ast.Name)
        }
        if name not in BRIDGES and (used := threads | names & TOKENS):
            strangers[name] = used
    assert strangers == {}


def test_no_two_modules_import_each_other():
    """A module may be reached from itself through the package that gathers it, no other way.

    What a descriptor builds knows it; the descriptor imports that when it is to build.
    """
    assert [name for name in MODULES if _reaches_itself(name)] == []


def _reaches_itself(name: str) -> bool:
    seen: set[str] = set()
    waiting = [name]
    while waiting:
        module = waiting.pop()
        known = _inside(module, BUILDING) & MODULES.keys()
        reached = {inner for inner in known if not _gathers(inner, module)}
        if name in reached:
            return True
        waiting += reached - seen
        seen |= reached
    return False


def _gathers(outer: str, inner: str) -> bool:
    return inner == outer or inner.startswith(f"{outer}.") or not outer


def test_modules_and_functions_are_short():
    lines = {name: house.lines(path) for name, path in MODULES.items()}
    functions = {name: house.longest_function(path) for name, path in MODULES.items()}
    assert {name: count for name, count in lines.items() if count > 350} == {}
    assert {name: count for name, count in functions.items() if count > 45} == {}


def test_the_page_on_the_architecture_tells_how_many_rooms_and_arrows_there_are():
    page = PACKAGE.parent / "docs" / "explanations" / "architecture.md"
    rooms, flat, arrows, *_ = house.row(PACKAGE).split(" | ")
    assert f"| now | {rooms} | {flat} | {arrows} |" in page.read_text("utf-8")
