"""What a datum costs to decode, conform, encode and scatter, without any client or device.

``python -m benchmarks.codecs``: processor time of one thread, medians of five runs.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import trio

from queue_connector.codecs import Codec, codec_for
from queue_connector.connectors.tango.object_scatter_sink import (
    TangoObjectScatterAttributeSinkDescriptor,
)
from queue_connector.model.conform import conform, conform_batch
from queue_connector.model.convert import structure
from queue_connector.model.datatypes import DataSpec
from queue_connector.model.services import Services

DISHES = 197
FIELDS = (
    "last_scan_index", "xel_offset", "el_offset", "xel_el_offset", "weight", "f5", "f6", "f7",
    "f8", "f9", "f10", "f11", "f12",
)  # fmt: skip
POINTING = [["antenna_name", "U8"], *[[name, "float64"] for name in FIELDS]]


def microseconds(function: Callable[[], object], each: int) -> float:
    """Of processor time for one of the *each* data that *function* deals with; the median."""
    function()
    began = time.perf_counter()
    function()
    count = max(1, int(0.05 / max(time.perf_counter() - began, 1e-7)))
    runs = []
    for _ in range(5):
        began = time.thread_time()
        for _ in range(count):
            function()
        runs.append((time.thread_time() - began) / count / each)
    return 1e6 * statistics.median(runs)


def pointings() -> np.ndarray[Any, Any]:
    """One message of pointing calibration for every dish of the largest array."""
    spec = DataSpec(POINTING, (DISHES,))
    array = np.zeros(DISHES, spec.dtype)
    array["antenna_name"] = [f"SKA{number:03}" for number in range(1, DISHES + 1)]
    for name in FIELDS:
        array[name] = np.random.default_rng(0).random(DISHES)
    return array


def values() -> dict[str, tuple[DataSpec, Any]]:
    """Specs and values by what they are called."""
    random = np.random.default_rng(0)
    scan = {"type": "visibility_receive", "state": "receiving", "scan_id": 7, "rate": 12.5}
    return {
        "float64": (DataSpec("float64"), np.float64(0.1)),
        "int64": (DataSpec("int64"), np.int64(12345)),
        "bool": (DataSpec("bool"), np.bool_(True)),
        "str": (DataSpec("str"), "SKA001 is on source"),
        "bytes": (DataSpec("bytes"), ("", b"x" * 100)),
        "object": (DataSpec("object"), scan),
        "float64[3]": (DataSpec("float64", (3,)), random.random(3)),
        "float64[1000]": (DataSpec("float64", (1000,)), random.random(1000)),
        "struct[197]": (DataSpec(POINTING, (DISHES,)), pointings()),
    }


def coding() -> None:
    """Encode and decode, one at a time and in batches of a thousand."""
    print(f"{'':16}{'':16}{'encode':>10}{'decode':>10}{'of 1000':>10}   µs a datum")
    for name, (spec, value) in values().items():
        for encoding in ("python", "json", "utf-8", "msgpack_numpy", "carray", "npy"):
            codec = codec_for(encoding, spec)
            if codec.refusal(spec):
                continue
            payload = codec.encode(value, spec)
            many = [payload] * (1000 if len(payload) < 5000 else 50)
            encode = microseconds(partial(codec.encode, value, spec), 1)
            decode = microseconds(partial(codec.decode, payload, spec), 1)
            batch = microseconds(partial(codec.decode_batch, many, spec), len(many))
            print(f"{name:16}{codec.name:16}{encode:10.2f}{decode:10.2f}{batch:10.2f}", flush=True)


def conforming() -> None:
    """Values as Tango and in-memory sources have them, to the exchange's spec."""
    print(f"\n{'conform':32}{'one':>10}{'of 1000':>10}   µs a datum")
    random = np.random.default_rng(0)
    pointing = DataSpec([["name", "U8"], ["ts", "datetime64[ns]"], ["az", "f8"], ["el", "f8"]])
    struct = np.array([("SKA001", "2026-01-01", 1.0, 2.0)], pointing.dtype)[0]
    cases: dict[str, tuple[object, DataSpec]] = {
        "float → float64": (0.1, DataSpec("float64")),
        "numpy.float64 → float64": (np.float64(0.1), DataSpec("float64")),
        "int → float64": (3, DataSpec("float64")),
        "int → int64": (3, DataSpec("int64")),
        "int → int16": (3, DataSpec("int16")),
        "bool → bool": (True, DataSpec("bool")),
        "float → float32": (0.1, DataSpec("float32")),
        "float64[3] → float64[3]": (random.random(3), DataSpec("float64", (3,))),
        "list of 3 → float64[3]": ([0.1, 0.2, 0.3], DataSpec("float64", (3,))),
        "list of 1000 → float64[1000]": (random.random(1000).tolist(), DataSpec("f8", (1000,))),
        "struct → struct": (struct, pointing),
    }
    for name, (value, spec) in cases.items():
        one = microseconds(partial(conform, value, spec), 1)
        batch = microseconds(partial(conform_batch, [value] * 1000, spec), 1000)
        print(f"{name:32}{one:10.2f}{batch:10.2f}", flush=True)


class Nowhere:
    """Counts what is published."""

    def __init__(self) -> None:
        self.published = 0

    async def publish(self, values: Any) -> None:
        """Count them."""
        self.published += len(values)
        await trio.lowlevel.checkpoint()


def scattering() -> None:
    """One message for all dishes → an attribute for each, from payload to what is published."""
    print(f"\n{'197 structs → 197 attributes':48}{'ms of processor time a message':>32}")
    spec = DataSpec(POINTING, (DISHES,))
    spectrum = {"dtype": "float64", "shape": [3]}
    told = "[last_scan_index, xel_offset, el_offset]"
    paths = {
        "by name": "[?antenna_name=='SKA{0:03}'] | [0]." + told,
        "by index": "[{1}]." + told,
    }
    for kind, path in paths.items():
        attributes = [
            {"attribute_name": f"p{n}", **spectrum, "path": path.format(n, n - 1)}
            for n in range(1, DISHES + 1)
        ]
        described = structure({"attributes": attributes}, TangoObjectScatterAttributeSinkDescriptor)
        host: Any = Nowhere()
        sink = described.build(spec, Services(attributes=host))
        for encoding in ("msgpack_numpy", "npy", "json"):
            given = DataSpec("object") if encoding == "json" else spec
            codec = codec_for(encoding, given)
            value = pointings()
            rows = [dict(zip(value.dtype.names, row, strict=True)) for row in value.tolist()]
            payload = codec.encode(rows if encoding == "json" else value, given)

            once = partial(take, sink, codec, payload, given)
            took = trio.run(in_thread, once)
            print(f"{kind + ', ' + encoding:48}{took / 1000:32.2f}", flush=True)


def take(sink: Any, codec: Codec, payload: bytes, spec: DataSpec) -> None:
    """What a sink publishes of one message."""
    values, refused = sink.take([codec.decode(payload, spec)])
    assert len(values) == DISHES, refused


async def in_thread(once: Callable[[], None]) -> float:
    """`microseconds` in a worker thread, where a sink selects."""
    return await trio.to_thread.run_sync(microseconds, once, 1)


if __name__ == "__main__":
    coding()
    conforming()
    scattering()
