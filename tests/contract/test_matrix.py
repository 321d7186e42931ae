"""Every cell of the matrix: refused where its facts say so, carried bit for bit elsewhere.

The cells with a Tango device in them are carried in ``tests/device/test_matrix.py``.
"""

import importlib.util
import logging
from collections import Counter
from pathlib import Path

import attrs
import numpy as np
import pytest
import trio

from queue_connector.codecs import codecs
from queue_connector.configuration import document
from queue_connector.connectors.memory.sink import InMemorySink
from queue_connector.demo.embedded_broker import embedded_broker
from queue_connector.engine.configured import ConfiguredExchange
from queue_connector.engine.exchange import Exchange
from queue_connector.model.datatypes import dtype_name
from queue_connector.model.endpoints import pipes, sinks, sources
from queue_connector.model.errors import ConfigError
from queue_connector.model.shared import Shared
from tests.support import matrix
from tests.support.matrix import KAFKA, MEMORY, PIPED, identical, values

CELLS = list(matrix.cells())
AT_ONCE = 200
"""Cells whose exchanges are open at a time; they share their clients, as in a device."""

log = logging.getLogger(__name__)


def of(route, encoding=None):
    return [cell for cell in CELLS if cell.route == route and cell.encoding == encoding]


def normal(path):
    """A path cut off behind the source, pipe or sink, but for an encoding's."""
    for end in (".source", ".pipe", ".sink"):
        head, found, rest = path.partition(end)
        if found:
            return head + found + (rest if rest == ".encoding" else "")
    return path


# -- refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("route", matrix.ROUTES)
def test_what_does_not_go_together_is_refused_where_it_stands(route):
    wrong = []
    for cell in [cell for cell in CELLS if cell.route == route and cell.refused]:
        try:
            document.parse(matrix.text(matrix.configuration(cell, [])))
        except ConfigError as error:
            found = {normal(fault.path) for fault in error.faults}
            silent = [fault for fault in error.faults if not (fault.message and fault.hint)]
            if found != cell.refused or silent:
                wrong.append(f"{cell}: at {sorted(found)}, expected {sorted(cell.refused)}")
        else:
            wrong.append(f"{cell}: is not refused")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", matrix.REMOVED)
def test_a_removed_name_is_refused_with_what_to_write_instead(name):
    exchange = matrix.configuration(CELLS[0], [])[0]
    with pytest.raises(ConfigError) as caught:
        document.parse(matrix.text([{**exchange, "dtype": name}]))
    [fault] = caught.value.faults
    assert fault.path == "$.exchanges[0].dtype"
    assert matrix.REMOVED[name] in fault.hint


@pytest.mark.parametrize("row", matrix.ROWS, ids=lambda row: row.name)
def test_what_is_written_means_the_dtype(row):
    cell = next(cell for cell in of(MEMORY) if cell.row is row)
    [exchange] = document.parse(matrix.text(matrix.configuration(cell, []))).exchanges
    assert exchange.dtype == row.numpy
    assert exchange.dtype.byteorder == row.numpy.byteorder


# -- carried ---------------------------------------------------------------------------------------


def parsed(exchanges, data):
    """The exchanges of a whole configuration; *data* are put in where JSON cannot write them."""
    made = []
    for exchange, exact in zip(document.parse(matrix.text(exchanges)).exchanges, data, strict=True):
        if exact is not None:
            source = attrs.evolve(exchange.source, data=exact)
            made.append(attrs.evolve(exchange, source=source))
        else:
            made.append(exchange)
    return made


def exchanges_of(cells, **where):
    """Every exchange of carried cells, in order, parsed as one configuration."""
    written, exact = [], []
    for cell in cells:
        sent = values(cell)
        in_json = [matrix.as_json(value) for value in sent] if cell.row.in_json else []
        for exchange in matrix.configuration(cell, in_json, **where):
            written.append(exchange)
            from_memory = exchange["source"]["type"] == "InMemorySource"
            exact.append(sent if from_memory and not cell.row.in_json else None)
    return parsed(written, exact)


def expected(cell):
    sent = values(cell)
    if cell.route != PIPED:
        return sent
    if cell.shape == "scalar":
        return [np.array(sent, cell.row.numpy)]
    return [np.stack(sent)]


def misses(cell, found):
    """What is wrong with the data that arrived, if anything."""
    wanted = expected(cell)
    if len(found) == len(wanted) and all(map(identical, found, wanted)):
        return []
    return [f"{cell}: found {found!r}, expected {wanted!r}"[:1000]]


def build(name, descriptor, shared=None):
    ledger = ConfiguredExchange(descriptor).ledger
    return Exchange.build(name, descriptor, ledger, None, log, shared=shared)


async def carry_in_memory(cell):
    [descriptor] = exchanges_of([cell])
    InMemorySink.data(cell.key).clear()
    exchange = build(str(cell), descriptor)
    async with exchange:
        await exchange.run()
    ledger = exchange.ledger
    assert (ledger.received, ledger.failed, ledger.in_flight) == (ledger.delivered, 0, 0)
    return misses(cell, InMemorySink.data(cell.key))


@pytest.mark.parametrize("route", [MEMORY, PIPED])
async def test_memory_carries(route):
    wrong = []
    with trio.fail_after(60):
        for cell in of(route):
            if not cell.refused:
                wrong.extend(await carry_in_memory(cell))
    assert not wrong, "\n".join(wrong)


@pytest.fixture(scope="module")
def matrix_broker():
    with embedded_broker([cell.key for cell in CELLS if cell.route == KAFKA]) as servers:
        yield servers


async def carry_over_kafka(cell, sending, receiving, wrong):
    """Both exchanges of a cell, the receiving one first, until everything has arrived."""
    arrived = InMemorySink.data(cell.key)
    arrived.clear()
    async with receiving, trio.open_nursery() as nursery:
        nursery.start_soon(receiving.run)
        async with sending:
            await sending.run()
        with trio.move_on_after(20):
            while receiving.ledger.delivered < sending.ledger.delivered:  # noqa: ASYNC110
                await trio.sleep(0.01)
        receiving.request_stop()
    wrong.extend(misses(cell, arrived))
    if not sending.ledger.balanced or not receiving.ledger.balanced:
        wrong.append(f"{cell}: a ledger does not balance")


@pytest.mark.parametrize("encoding", [*matrix.ENCODINGS, *matrix.NO_ENCODINGS], ids=str)
async def test_kafka_carries(matrix_broker, encoding):
    carried = [cell for cell in of(KAFKA, encoding) if not cell.refused]
    exchanges = exchanges_of(carried, servers=matrix_broker)
    wrong, limit, shared = [], trio.CapacityLimiter(AT_ONCE), Shared()

    async def one(cell, *descriptors):
        async with limit:
            ends = [build(str(cell), descriptor, shared) for descriptor in descriptors]
            await carry_over_kafka(cell, *ends, wrong)

    with trio.fail_after(90):
        async with trio.open_nursery() as nursery:
            for cell, *pair in zip(carried, exchanges[::2], exchanges[1::2], strict=True):
                nursery.start_soon(one, cell, *pair)
    assert not wrong, "\n".join(wrong)


# -- complete --------------------------------------------------------------------------------------


def test_no_cell_is_missing(capsys):
    counts = Counter((cell.route, bool(cell.refused)) for cell in CELLS)
    with capsys.disabled():
        print()
        for route in matrix.ROUTES:
            print(f"{route}: {counts[route, False]} carried, {counts[route, True]} refused")
        carried = sum(not cell.refused for cell in CELLS)
        print(f"together {carried} carried, {len(CELLS) - carried} refused")
    assert (carried, len(CELLS) - carried) == (1663, 1849)  # as in docs/explanations/proof.md
    run_here = [*of(MEMORY), *of(PIPED)]
    for encoding in (*matrix.ENCODINGS, *matrix.NO_ENCODINGS):
        run_here.extend(of(KAFKA, encoding))
    assert set(run_here) == {c for c in CELLS if c.route in (MEMORY, PIPED, KAFKA)}
    assert len({cell.key for cell in CELLS}) == len(CELLS)
    canonical, shapes = len(matrix.CANONICAL), len(matrix.SHAPES)
    encodings = len(matrix.ENCODINGS) + len(matrix.NO_ENCODINGS)
    by_route = dict.fromkeys(matrix.ROUTES, canonical * shapes)
    by_route[MEMORY] = len(matrix.ROWS) * shapes
    by_route[KAFKA] *= encodings
    assert {route: counts[route, False] + counts[route, True] for route in by_route} == by_route
    assert all(counts[route, False] and counts[route, True] for route in by_route)


def test_every_connector_and_encoding_is_in_the_matrix():
    assert set(matrix.CONNECTORS) == {*sources, *sinks}
    assert {"DefaultPipe", *matrix.PIPES, *matrix.BY_EXPRESSION} == set(pipes)
    assert set(matrix.ENCODINGS) == set(codecs)
    used = {name for route in matrix.ROUTES.values() for part in route for name in part}
    assert used == {*matrix.CONNECTORS, *pipes} - matrix.BY_EXPRESSION


# -- the documentation -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def generated():
    """The extension that makes the documentation's tables."""
    pytest.importorskip("sphinx", reason="the documentation's tools are not installed")
    path = Path(__file__).parents[2] / "docs" / "_ext" / "registry_tables.py"
    spec = importlib.util.spec_from_file_location("registry_tables", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def table(lines):
    """Row → column → cell of a table in Markdown."""
    rows = [[part.strip().strip("`") for part in line[1:-1].split(" | ")] for line in lines if line]
    head, _, *body = rows
    return {row[0]: dict(zip(head[1:], row[1:], strict=True)) for row in body}


KINDS = {"int": "ints", "float": "floats"}


def test_the_table_of_connectors_in_the_documentation_says_what_ran(generated):
    shown = table(generated.compatibility("connectors"))
    assert set(shown) == set(matrix.CONNECTORS)
    for name, cells in shown.items():
        carries = matrix.CONNECTORS[name]
        dimensions, dynamic = cells.pop("dimensions"), cells.pop("dynamic")
        marked = {KINDS.get(kind, kind) for kind, mark in cells.items() if mark == "✓"}
        assert marked == carries.columns - {"struct with datetime64"}, name
        if name == "TangoArrayScatterAttributeSink":
            continue  # its table says "any": what can be cut is a matter of lengths
        most = 0 if carries.shapes == matrix.SCALAR else 2 if "3-D" not in carries.shapes else None
        assert dimensions == ("any" if most is None else f"≤ {most}"), name
        if most != 0:
            assert (dynamic == "✓") == (carries.shapes >= matrix.DYNAMIC), name


SHOWN = {
    frozenset(): "—",
    matrix.SCALAR: "scalar",
    matrix.UP_TO_2_D: "≤ 2-D",
    matrix.ANY: "any",
}


def test_the_table_of_encodings_in_the_documentation_says_what_ran(generated):
    shown = table(generated.compatibility("encodings"))
    assert set(shown) == set(matrix.ENCODINGS)
    for name, cells in shown.items():
        columns, shapes = matrix.ENCODINGS[name]
        for kind, mark in cells.items():
            column = KINDS.get(kind, kind)
            fitting = shapes if column in columns else frozenset()
            if column in matrix.SCALAR_ONLY:  # bytes are never coded: they go with every name
                fitting = matrix.SCALAR if column == "bytes" or column in columns else frozenset()
            assert mark == SHOWN[fitting], f"{name}, {kind}"


def test_the_table_of_types_in_the_documentation_says_what_ran(generated):
    shown = table(generated.dtypes("names"))
    for row in matrix.CANONICAL:
        name = dtype_name(row.numpy)
        if row.name not in ("enum", "U8") and isinstance(name, str) and name in shown:
            assert shown[name]["Tango"] == (row.tango or "—"), name
            assert KINDS.get(shown[name]["kind"], shown[name]["kind"]) == row.column
            aliases = {alias for alias, meant in matrix.ALIASES.items() if meant == row.name}
            also = {text.strip("` ") for text in shown[name]["also written"].split(",")} - {""}
            assert also <= aliases, name
