"""What goes with what: the specification's tables as data, and every cell of them.

Nothing here asks the implementation. `ROWS` are the dtypes as they are written, with the values
that each must carry; `SHAPES`, `ENCODINGS` and `CONNECTORS` are the facts; `cells` combines them
along `ROUTES` and says of each cell which parts of its configuration must be refused, if any.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator
from typing import Any

import attrs
import numpy as np

# -- dtypes, and values that a careless conversion would spoil -------------------------------------

NAN, INF = math.nan, math.inf
TEXT = ["", "Ω≈ç 😀", "nan", "'\"\\", "\n\x00x"]
LATIN = ["", "Ångst ÿ", "nan", "a\nb"]
ASCII = ["", "~nan", "'\"\\", "\n\x00x"]
FLOAT32 = [NAN, INF, -INF, -0.0, 0.0, 1e-45, 3.4028234663852886e38, 0.10000000149011612]
FLOAT64 = [NAN, INF, -INF, -0.0, 0.0, 5e-324, 1.7976931348623157e308, 0.1]
COMPLEX = [complex(NAN, -0.0), complex(-0.0, INF), complex(0.5, -2.0), complex(-INF, NAN)]
OBJECTS = [
    {"a": [1.5, None, True, "Ω≈ç 😀"], "b": {"c": -1, "": []}, "n": NAN},
    [],
    {},
    [-(2**63), 2**64 - 1, -0.0, INF, 5e-324, [[""]]],
    "text",
    None,
]
TIMES = {
    "ns": ["1677-09-21T00:12:43.145224193", "NaT", "2262-04-11T23:47:16.854775807", "2016-12-31"],
    "s": ["0001-01-01", "NaT", "9999-12-31T23:59:59", "1969-12-31T23:59:59"],
}
STRUCT = [["name", "U8"], ["x", "float64"], ["n", "uint64"], ["on", "bool"], ["m", "float32", [2]]]
NESTED = [["id", "int16"], ["inner", [["re", "complex64"], ["label", "U3"]], [2]]]
POINTING = [
    ["antenna_name", "<U8"], ["ts", "datetime64[ns]"], ["az", "float64"], ["el", "float64"],
]  # fmt: skip
LABELS = ["OFF", "ON", "ÉTEINT"]


@attrs.frozen
class Row:
    """One dtype as a configuration writes it."""

    name: str
    written: Any = attrs.field(eq=False)
    column: str
    """Of the specification's tables."""
    numpy: Any = attrs.field(eq=False)
    """The dtype that is meant; of text, what holds the values."""
    values: list[Any] = attrs.field(eq=False)
    """Scalars, as Python or numpy has them."""
    tango: str = ""
    labels: tuple[str, ...] = ()
    alias: bool = False
    """Whether another row is the same dtype; it is only carried from memory to memory then."""

    @property
    def in_json(self) -> bool:
        """Whether JSON can write the values."""
        return self.column not in ("complex", "bytes") and self.name != "nested struct"


def _integers(name: str) -> list[int]:
    info = np.iinfo(name)
    return [int(info.min), int(info.max), 0, 1]


def _row(written: str, column: str, numpy: Any, values: Any, tango: str = "") -> Row:
    return Row(written, written, column, np.dtype(numpy), values, tango)


_TANGO_INTEGERS = {
    "uint8": "DevUChar", "uint16": "DevUShort", "uint32": "DevULong", "uint64": "DevULong64",
    "int8": "", "int16": "DevShort", "int32": "DevLong", "int64": "DevLong64",
}  # fmt: skip
_STRUCTS = {
    "struct": (STRUCT, "struct", [
        ("", NAN, 2**64 - 1, True, [-0.0, INF]), ("Ω≈ç 😀", 5e-324, 0, False, [NAN, 1e-45]),
        ("12345678", -INF, 2**63, True, [0.5, 3.4028234663852886e38]),
    ]),
    "nested struct": (NESTED, "struct", [
        (-(2**15), [(complex(NAN, -0.0), "Ωx"), (1j, "")]), (2**15 - 1, [(0, "abc"), (-INF, "")]),
    ]),
    "pointing": (POINTING, "struct with datetime64", [
        ("SKA001", "2017-01-01T00:00:36.999999999", NAN, -0.0), ("", "NaT", INF, 5e-324),
        ("mkt012", "1677-09-21T00:12:43.145224193", 0.1, -INF),
    ]),
}  # fmt: skip


def _struct(fields: list[list[Any]]) -> np.dtype[Any]:
    made = []
    for name, kind, *shape in fields:
        base = _struct(kind) if isinstance(kind, list) else np.dtype(kind)
        made.append((name, base, tuple(shape[0]) if shape else ()))
    return np.dtype(made)


CANONICAL: list[Row] = [
    _row("str", "str", "U", TEXT, "DevString"),
    _row("U8", "str", "U8", TEXT, "DevString"),
    _row("bytes", "bytes", "S", [b"", bytes(range(256)), "Ω".encode()], "DevEncoded"),
    _row("object", "object", "O", OBJECTS),
    _row("bool", "bool", "?", [True, False], "DevBoolean"),
    *[_row(name, "ints", name, _integers(name), tango) for name, tango in _TANGO_INTEGERS.items()],
    Row("enum", "int16", "ints", np.dtype("int16"), [0, 2, 1], "DevEnum", tuple(LABELS)),
    _row("float32", "floats", "float32", FLOAT32, "DevFloat"),
    _row("float64", "floats", "float64", FLOAT64, "DevDouble"),
    _row("complex64", "complex", "complex64", COMPLEX),
    _row("complex128", "complex", "complex128", COMPLEX),
    _row("datetime64[ns]", "datetime64", "M8[ns]", TIMES["ns"]),
    _row("datetime64[s]", "datetime64", "M8[s]", TIMES["s"]),
    *[
        Row(name, fields, column, _struct(fields), values)
        for name, (fields, column, values) in _STRUCTS.items()
    ],
]
_BY_NAME = {row.name: row for row in CANONICAL}
ALIASES = {
    "str_": "str", "string": "str", "object_": "object", "int": "int64", "float": "float64",
    "double": "float64", "<f4": "float32", "i2": "int16", "<U8": "U8",
    "datetime64": "datetime64[ns]", "<M8[s]": "datetime64[s]",
    **{row.tango: row.name for row in CANONICAL if row.tango and row.name not in ("U8", "enum")},
}  # fmt: skip
"""Written → the row that is meant; byte orders other than the machine's are rows of their own."""
ROWS: list[Row] = [
    *CANONICAL,
    *[
        attrs.evolve(_BY_NAME[meant], name=alias, written=alias, alias=True)
        for alias, meant in ALIASES.items()
    ],
    attrs.evolve(_BY_NAME["float64"], name=">f8", written=">f8", numpy=np.dtype(">f8"), alias=True),
    attrs.evolve(_BY_NAME["int32"], name=">i4", written=">i4", numpy=np.dtype(">i4"), alias=True),
]
REMOVED = {"bytearray": "'bytes'", "json": "'object'", "dict": "'object'", "list": "'object'"}
"""Names that are refused → what the hint says to write instead."""

# -- shapes ----------------------------------------------------------------------------------------

SHAPES: dict[str, tuple[int, ...]] = {
    "scalar": (),
    "1-D": (3,),
    "2-D": (2, 3),
    "3-D": (2, 1, 3),
    "dynamic": (-1,),
    "dynamic 2-D": (2, -1),
    "empty": (0,),
    "empty 2-D": (0, 3),
}
ANY = frozenset(SHAPES)
SCALAR = frozenset({"scalar"})
UP_TO_2_D = ANY - {"3-D"}
DYNAMIC = frozenset({"dynamic", "dynamic 2-D"})
SCALAR_ONLY = frozenset({"bytes", "object"})

# -- the facts -------------------------------------------------------------------------------------

COLUMNS = (
    "bytes", "object", "str", "bool", "ints", "floats", "complex", "datetime64", "struct",
    "struct with datetime64",
)  # fmt: skip
PLAIN = frozenset({"str", "bool", "ints", "floats"})
TEXTUAL = PLAIN | {"object"}

ENCODINGS: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    "python": (TEXTUAL, UP_TO_2_D),
    "json": (TEXTUAL, UP_TO_2_D),
    "utf-8": (PLAIN, SCALAR),
    "ascii": (PLAIN, SCALAR),
    "msgpack_numpy": (TEXTUAL | {"complex", "struct"}, UP_TO_2_D),
    "carray": (frozenset({"bool", "ints", "floats", "complex", "struct"}), ANY),
    "npy": (frozenset(COLUMNS) - {"bytes", "object"}, ANY),
    "xarray": (TEXTUAL | {"complex", "struct"}, ANY),
}
"""Encoding → columns and shapes; bytes go with any text, and with none."""

NO_ENCODINGS = ("jpeg", None)
"""Names of encodings that only bytes may have."""


@attrs.frozen
class Carries:
    """What a connector or a pipe carries."""

    columns: frozenset[str] = frozenset(COLUMNS)
    shapes: frozenset[str] = ANY
    without: frozenset[str] = frozenset()
    """Rows of those columns that it does not carry."""

    def __call__(self, row: Row, shape: str) -> bool:
        fits = row.column in self.columns and row.name not in self.without
        return fits and shape in self.shapes and (shape == "scalar" or not self.scalar_only(row))

    @staticmethod
    def scalar_only(row: Row) -> bool:
        return row.column in SCALAR_ONLY


_TANGO = PLAIN | {"bytes"}
_LACKING = frozenset({"int8"})
_STRUCTURED = frozenset({"struct", "struct with datetime64"})
CONNECTORS: dict[str, Carries] = {
    "InMemorySource": Carries(),
    "InMemorySink": Carries(),
    "KafkaConsumerSource": Carries(),
    "KafkaProducerSink": Carries(),
    "TangoSubscriptionSource": Carries(_TANGO, UP_TO_2_D, _LACKING),
    "TangoLocalAttributeSink": Carries(_TANGO, UP_TO_2_D - DYNAMIC, _LACKING),
    "TangoRemoteAttributeSink": Carries(_TANGO, UP_TO_2_D - DYNAMIC, _LACKING),
    # There is nothing to cut in a scalar, nor in nothing.
    "TangoArrayScatterAttributeSink": Carries(
        PLAIN, frozenset({"1-D", "2-D", "3-D"}), _LACKING
    ),
    "TangoObjectScatterAttributeSink": Carries(_STRUCTURED | {"object", "ints", "floats"}),
    # Of structs those alone that a pointing fills.
    "TangoPointingSubscriptionSource": Carries(
        _STRUCTURED, SCALAR, frozenset({"struct", "nested struct"})
    ),
}  # fmt: skip
PIPES: dict[str, Carries] = {
    "BufferWithTimePipe": Carries(frozenset(COLUMNS) - SCALAR_ONLY, ANY - DYNAMIC),
}
BY_EXPRESSION = frozenset({"FilterPipe", "MapPipe"})
"""Pipes that take what JMESPath sees, whatever an exchange carries: tested elsewhere."""

# -- cells -----------------------------------------------------------------------------------------

MEMORY = "memory → memory"
PIPED = "memory → buffer pipe → memory"
KAFKA = "memory → Kafka → memory"
LOCAL = "Kafka → Tango attribute"
SUBSCRIPTION = "Tango subscription → memory"
REMOTE = "memory → attribute of another device"
ARRAY_SCATTER = "memory → array scatter"
OBJECT_SCATTER = "memory → object scatter"
POINTINGS = "Tango pointings → memory"
ROUTES: dict[str, tuple[tuple[str, ...], ...]] = {
    MEMORY: (("InMemorySource", "DefaultPipe", "InMemorySink"),),
    PIPED: (("InMemorySource", "BufferWithTimePipe", "InMemorySink"),),
    KAFKA: (
        ("InMemorySource", "DefaultPipe", "KafkaProducerSink"),
        ("KafkaConsumerSource", "DefaultPipe", "InMemorySink"),
    ),
    LOCAL: (("KafkaConsumerSource", "DefaultPipe", "TangoLocalAttributeSink"),),
    SUBSCRIPTION: (("TangoSubscriptionSource", "DefaultPipe", "InMemorySink"),),
    REMOTE: (("InMemorySource", "DefaultPipe", "TangoRemoteAttributeSink"),),
    ARRAY_SCATTER: (("InMemorySource", "DefaultPipe", "TangoArrayScatterAttributeSink"),),
    OBJECT_SCATTER: (("InMemorySource", "DefaultPipe", "TangoObjectScatterAttributeSink"),),
    POINTINGS: (("TangoPointingSubscriptionSource", "DefaultPipe", "InMemorySink"),),
}
"""Route → the exchanges on it: source, pipe, sink."""


@attrs.frozen
class Cell:
    """A dtype in a shape, along a route, in an encoding where the route has one."""

    route: str
    row: Row
    shape: str
    encoding: str | None = None

    @property
    def lengths(self) -> tuple[int, ...]:
        return SHAPES[self.shape]

    def __str__(self) -> str:
        encoding = f", {self.encoding}" if "Kafka" in self.route else ""
        return f"{self.route}{encoding}: {self.row.name} {self.shape}"

    __repr__ = __str__

    @property
    def key(self) -> str:
        """A name for topics, attributes and keys in memory."""
        number = ROWS.index(self.row)
        encodings = [*ENCODINGS, *NO_ENCODINGS]
        parts = [[*ROUTES].index(self.route), number, [*SHAPES].index(self.shape)]
        return "cell_" + "_".join(map(str, [*parts, encodings.index(self.encoding)]))

    @property
    def refused(self) -> frozenset[str]:
        """The paths of what must be refused; none: the cell is carried."""
        paths = set()
        for number, (source, pipe, sink) in enumerate(ROUTES[self.route]):
            at = f"$.exchanges[{number}]"
            paths.update(self._refused(source, f"{at}.source"))
            if pipe in PIPES and not PIPES[pipe](self.row, self.shape):
                paths.add(f"{at}.pipe")
            else:
                paths.update(self._refused(sink, f"{at}.sink"))
        return frozenset(paths)

    def _refused(self, connector: str, path: str) -> Iterator[str]:
        if not CONNECTORS[connector](self.row, self.shape):
            yield path
        scalar_only = self.row.column in SCALAR_ONLY
        if "Kafka" not in connector or self.row.column == "bytes":
            return
        columns, shapes = ENCODINGS.get(self.encoding or "", (frozenset(), ANY))
        if scalar_only and self.shape != "scalar":
            shapes = ANY  # the connector says that already, whatever the encoding
            columns = columns | {self.row.column} if self.encoding in ENCODINGS else columns
        if self.row.column not in columns or self.shape not in shapes:
            yield f"{path}.encoding"


def cells() -> Iterator[Cell]:
    """Every cell, each once."""
    for route in ROUTES:
        rows = ROWS if route == MEMORY else CANONICAL
        for row, shape in itertools.product(rows, SHAPES):
            if route == KAFKA:
                for encoding in (*ENCODINGS, *NO_ENCODINGS):
                    yield Cell(route, row, shape, encoding)
            elif route == LOCAL:
                carrying = {"bytes": None, "object": "python"}.get(row.column, "npy")
                yield Cell(route, row, shape, carrying)
            else:
                yield Cell(route, row, shape)


# -- values of a cell ------------------------------------------------------------------------------


def scalars(cell: Cell) -> list[Any]:
    """The values of the row that this route can carry."""
    if cell.row.column == "str":
        if cell.encoding == "ascii":
            return ASCII
        return LATIN if "Tango" in cell.route or cell.route in (REMOTE, ARRAY_SCATTER) else TEXT
    if cell.route == REMOTE and cell.row.column == "floats":  # Tango's rule for what is written
        return [value for value in cell.row.values if math.isfinite(value)]
    return cell.row.values


def values(cell: Cell) -> list[Any]:
    """Data, as they must arrive: every scalar in some place of some of them."""
    pool = scalars(cell)
    if cell.row.column == "object":
        return list(pool)
    if cell.row.column == "bytes":
        return [(cell.encoding or "", payload) for payload in pool]
    whole = np.array(pool, cell.row.numpy)
    if cell.shape == "scalar":
        return [str(item) if cell.row.column == "str" else item for item in whole]
    made = []
    for lengths in _lengths(cell.lengths):
        size = math.prod(lengths)
        for first in range(0, max(len(pool), 1), max(size, 1)):
            numbers = (np.arange(size) + first) % len(pool)
            made.append(whole[numbers].reshape(lengths))
            if not size:
                break
    return made


def _lengths(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The lengths that values of a shape have: of a dynamic one several."""
    if min(shape) >= 0:
        return [shape]
    return [tuple(n if n >= 0 else length for n in shape) for length in (4, 0, 1)]


def as_json(value: Any) -> Any:
    """A value as a configuration writes it; of complex numbers the real part."""
    if isinstance(value, np.ndarray) and value.ndim:
        return [as_json(item) for item in value]
    if isinstance(value, np.ndarray | np.void) and value.dtype.names:
        return {name: as_json(value[name]) for name in value.dtype.names}
    if isinstance(value, np.datetime64):
        return str(np.datetime_as_string(value))
    if isinstance(value, np.generic):
        return value.real.item() if value.dtype.kind == "c" else value.item()
    return value


def identical(found: Any, expected: Any) -> bool:
    """The same dtype, lengths and bits; of text without a size the same characters."""
    if isinstance(expected, np.ndarray):
        if not isinstance(found, np.ndarray) or found.shape != expected.shape:
            return False
    elif isinstance(expected, np.generic):
        if not isinstance(found, np.generic):
            return False
    else:
        return type(found) is type(expected) and _same(found, expected)
    if expected.dtype.kind == "U":
        return found.dtype.kind == "U" and found.tolist() == expected.tolist()
    return found.dtype == expected.dtype and found.tobytes() == expected.tobytes()


def _same(found: Any, expected: Any) -> bool:
    """Of objects: types too, NaN equal to itself, and -0.0 not to 0.0."""
    return repr(found) == repr(expected)


def spec_keys(cell: Cell) -> dict[str, Any]:
    """How an exchange of the cell says its dtype and shape."""
    keys = {"dtype": cell.row.written, "shape": list(cell.lengths)}
    return {**keys, "labels": list(cell.row.labels)} if cell.row.labels else keys


def configuration(cell: Cell, data: list[Any], **where: Any) -> list[dict[str, Any]]:
    """The exchanges of a cell; *where* says ``servers``, or ``device`` and ``attribute``."""
    device = where.get("device", "test/matrix/01")
    topic = {"servers": where.get("servers", "localhost"), "topic": cell.key}
    attribute = where.get("attribute", cell.key)
    events = {"device_name": device, "attribute_name": attribute, "etype": "CHANGE_EVENT"}
    count = max(cell.lengths[0], 1) if cell.lengths else 1
    ends = {
        "InMemorySource": {"data": data},
        "InMemorySink": {"key": cell.key},
        "KafkaConsumerSource": {**topic, "encoding": cell.encoding},
        "KafkaProducerSink": {**topic, "encoding": cell.encoding},
        "TangoSubscriptionSource": events,
        "TangoPointingSubscriptionSource": events,
        "TangoLocalAttributeSink": {"attribute_name": attribute},
        "TangoRemoteAttributeSink": {"device_name": device, "attribute_name": attribute},
        "TangoArrayScatterAttributeSink": {
            "attribute_names": [f"{attribute}_{number}" for number in range(count)]
        },
        "TangoObjectScatterAttributeSink": {
            "attributes": where.get("attributes", [{"attribute_name": attribute, "dtype": "str"}])
        },
    }
    return [
        {
            **spec_keys(cell),
            "source": {"type": source, **ends[source]},
            "pipe": {"type": pipe},
            "sink": {"type": sink, **ends[sink]},
        }
        for source, pipe, sink in ROUTES[cell.route]
    ]


def text(exchanges: list[dict[str, Any]]) -> str:
    """A whole configuration."""
    return json.dumps({"exchanges": exchanges}, ensure_ascii=False)
