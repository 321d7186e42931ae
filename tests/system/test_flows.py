"""Flows on a real etcd, written with etcdctl as pipelines write them, carried by the real device.

``REPORT`` makes the bounds on times those that are promised, for a machine that does nothing else.
"""

from __future__ import annotations

import io
import json
import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tango
import trio

from queue_connector.cli import main
from queue_connector.configdb import from_environment
from queue_connector.demo.embedded_broker import embedded_broker
from queue_connector.model.timescale import tai_of_ska
from queue_connector.reconfiguration.flows.entities import LEVELS
from queue_connector.reconfiguration.flows.reading import FlowReader
from tests.device.connector import close_events
from tests.device.dish_device import DISHES
from tests.device.servers import pack, server
from tests.services.etcd import EtcdServer
from tests.support.flow_entities import DEVICE, EB, PB, attribute, blocks, flow, queue, uri
from tests.support.kafka_topics import produce, read_all
from tests.support.waiting import eventually
from tests.system.following import Follower, variables

SLACK = 1.0 if os.environ.get("REPORT") else 10.0
SUBARRAYS, FLOWS, CHANGES = 16, 200, 1000


class Carrier(Follower):
    """``queue-connector serve --subarray``."""

    def __init__(self, directory: Path, etcd: EtcdServer, subarray: str) -> None:
        super().__init__(directory, etcd, "--subarray", subarray)

    def reads(self, name: str) -> Any:
        proxy = self.proxy()
        if name.lower() not in [each.lower() for each in proxy.get_attribute_list()]:
            return None
        value = proxy.read_attribute(name).value
        return list(value) if isinstance(value, np.ndarray) else value


@contextmanager
def carrier(directory: Path, etcd: EtcdServer, subarray: str) -> Iterator[Carrier]:
    running = Carrier(directory, etcd, subarray)
    try:
        eventually(running.monitoring)
        yield running
    finally:
        close_events()
        if running.running():
            running.kill()


def key(path: str) -> str:
    """As ska-sdp-config 0.3.2 writes keys: the number of slashes goes in front."""
    return f"{path.count('/')}{path}"


def put(etcd: EtcdServer, entities: dict[str, Any]) -> None:
    for path, value in entities.items():
        etcd.etcdctl("put", key(path), json.dumps(value))


def together(etcd: EtcdServer, entities: dict[str, Any]) -> None:
    """In one transaction."""
    lines = [f"put {key(path)} {json.dumps(json.dumps(v))}" for path, v in entities.items()]
    etcd.etcdctl("txn", stdin="\n" + "\n".join(lines) + "\n\n\n")


def state(etcd: EtcdServer, path: str) -> dict[str, Any]:
    text = etcd.etcdctl("get", "--print-value-only", key(f"{path}/state"))
    return json.loads(text) if text else {}


def test_the_life_of_a_pipeline(own_etcd: EtcdServer, tmp_path: Path, capfd: Any) -> None:
    etcd, x, q = own_etcd, uri("pointing_cal_SKA001", "tango"), uri("pointing-offset")
    with embedded_broker(["offsets"]) as servers, carrier(tmp_path, etcd, "01") as device:
        sink = attribute("pointing_cal_SKA001", x=3, default_value=[0, 0, 0])
        path = "[?antenna_name=='SKA001'] | [0].[last_scan_index, xel_offset, el_offset]"
        put(etcd, {x: flow({"attributes": [[sink, {"select": path}]]}, q, start="earliest")})
        put(etcd, {q: flow(queue("offsets", host=servers))})
        put(etcd, blocks("eb-other", "pb-other", "02"))
        other = uri("y", "tango", "pb-other")
        put(etcd, {other: flow(attribute("y"), q)})
        assert device.groups() == {}
        together(etcd, blocks())
        eventually(lambda: device.reads("pointing_cal_SKA001") == [0, 0, 0])
        message = [{"antenna_name": "SKA001", "last_scan_index": 4, "xel_offset": 0.5}]
        message[0]["el_offset"] = -0.5
        produce(servers, "offsets", [json.dumps(message).encode()])
        eventually(lambda: device.reads("pointing_cal_SKA001") == [4, 0.5, -0.5])
        eventually(lambda: state(etcd, x).get("status") == "FLOWING")
        assert state(etcd, q) == {}

        # The tool tells the same, and why the other flow is not for this one.
        for name, value in variables(etcd).items():
            os.environ[name] = value
        try:
            assert main(["flows", "01", "--device", device._device]) == 0
            told = capfd.readouterr().out
            assert f"{PB}: 1 of 1 flows\n  {x}: object, KafkaConsumerSource(offsets) -> " in told
            assert f"left out: {other}: eb-other runs on subarray 02, not on 01" in told
        finally:
            for name in variables(etcd):
                del os.environ[name]

        # Completed by its pipeline, in one transaction with what comes next.
        then = uri("next", "tango")
        made = flow(attribute("next"), q)
        together(etcd, {f"{x}/state": {"status": "COMPLETED"}, then: made})
        eventually(lambda: device.reads("next") == 0)
        assert device.reads("pointing_cal_SKA001") is None
        assert state(etcd, x) == {"status": "COMPLETED"}
        put(etcd, {f"/eb/{EB}/state": {"status": "FINISHED"}})
        eventually(lambda: device.groups() == {})
        assert device.reads("next") is None
        assert state(etcd, other) == {}


def test_dishes_point_into_a_data_queue(own_etcd: EtcdServer, tmp_path: Path) -> None:
    """One flow reads every dish, and each pointing is in the topic, with its dish and its time."""
    count, begin = 30, 848_448_037.25  # SKA time
    dtype = [
        ["antenna_name", "<U8"],
        ["ts", "datetime64[ns]"],
        ["az", "float64"],
        ["el", "float64"],
    ]
    with (
        embedded_broker(["pointings"]) as servers,
        server("tests.device.dish_device", next(iter(DISHES))) as dishes,
        carrier(tmp_path, own_etcd, "01") as device,
    ):
        trls = [
            f"tango://127.0.0.1:{dishes.port}/{name}/achievedPointing#dbase=no" for name in DISHES
        ]
        pointings = uri("dish-pointings")
        made = flow(
            queue("pointings", "npy", host=servers),
            *trls,
            type="TangoPointingSubscriptionSource",
            dtype=dtype,
            pipe={"type": "BufferWithTimePipe", "timespan": 0.2},
        )
        together(own_etcd, {**blocks(), pointings: made})
        eventually(lambda: state(own_etcd, pointings).get("status") == "FLOWING", 30)

        def found() -> dict[str, list[tuple[float, float]]]:
            """Dish → its azimuths and its times, by time: a topic has several partitions."""
            rows: dict[str, list[tuple[float, float]]] = {}
            for messages in read_all(servers, "pointings").values():
                for message in messages:
                    for dish, time, azimuth, _ in np.load(io.BytesIO(message)):
                        rows.setdefault(str(dish), []).append((float(azimuth), time))
            return {dish: sorted(found, key=lambda row: row[1]) for dish, found in rows.items()}

        eventually(lambda: found().keys() == set(DISHES.values()), 30)
        for number in range(count):
            for offset, name in enumerate(DISHES):
                proxy = tango.DeviceProxy(f"tango://127.0.0.1:{dishes.port}/{name}#dbase=no")
                pointing = (begin + number, 100.0 * offset + number, 45.0)
                proxy.command_inout("Do", pack(*pointing))
        last = {dish: 100.0 * offset + count - 1 for offset, dish in enumerate(DISHES.values())}
        eventually(lambda: {dish: rows[-1][0] for dish, rows in found().items()} == last, 30)
        times = [tai_of_ska(begin + number) for number in range(count)]
        for offset, dish in enumerate(DISHES.values()):
            rows = found()[dish][1:]  # the first is how it pointed before
            assert [azimuth for azimuth, _ in rows] == [100.0 * offset + n for n in range(count)]
            assert [time for _, time in rows] == times
        assert PB in device.proxy().Status()


def test_a_flow_streams_soon_after_it_was_written(own_etcd: EtcdServer, tmp_path: Path) -> None:
    count, times = 50, []
    topics = [f"t{number}" for number in range(count + 1)]
    with embedded_broker(topics) as servers, carrier(tmp_path, own_etcd, "01") as device:
        put(own_etcd, {**blocks(), uri("q"): flow(queue(topics[-1], host=servers))})
        put(own_etcd, {uri("x", "tango"): flow(attribute("x"), uri("q"))})
        eventually(lambda: state(own_etcd, uri("x", "tango")))  # the consumer is there
        proxy = device.proxy()

        async def write_all() -> None:
            async with from_environment(variables(own_etcd)) as database:
                for number in range(count):
                    path = uri(f"x{number}", "tango")
                    read = flow(queue(topics[number], host=servers))
                    made = flow(attribute(f"x{number}"), uri(f"q{number}"))
                    both = {uri(f"q{number}"): json.dumps(read), path: json.dumps(made)}
                    began = time.monotonic()
                    await database.transact(both)
                    while (await database.get(f"{path}/state")) is None:
                        await trio.sleep(0.002)
                        assert time.monotonic() - began < 30, proxy.Status()
                    times.append(time.monotonic() - began)

        trio.run(write_all)
    times.sort()
    told = f"put -> streaming and told: p50 {times[count // 2]:.3f} s, p99 {times[-1]:.3f} s"
    print(f"\n{told}, {count} flows")
    assert times[-1] < 0.15 * SLACK


def test_sixteen_subarrays_settle_to_what_stands_there(own_etcd: EtcdServer) -> None:
    """Each reads the database once, and then what changes: whatever the number of flows."""
    rng = random.Random(12)
    flows: dict[str, Any] = {}

    def made(subarray: int, number: int) -> dict[str, Any]:
        pb = f"pb-test-20260101-{subarray:02}x{number % 4}"
        name = f"x{subarray}_{number}"
        sink = attribute(name, dtype=rng.choice(["DevDouble", "DevLong", "DevNothing"]))
        source = uri("q", pb=pb)
        return {
            uri(name, "tango", pb): flow(sink, source, start=rng.choice(["latest", "earliest"]))
        }

    for subarray in range(SUBARRAYS):
        for block in range(4):
            pb = f"pb-test-20260101-{subarray:02}x{block}"
            flows |= blocks(f"eb-{subarray:02}x{block}", pb, f"{subarray:02}")
            flows[uri("q", pb=pb)] = flow(queue("t"))
        for number in range(FLOWS):
            flows |= made(subarray, number)

    async def scenario() -> None:
        calls = 0
        async with (
            from_environment(variables(own_etcd)) as writing,
            trio.open_nursery() as nursery,
        ):
            items = [(path, json.dumps(value)) for path, value in flows.items()]
            for begin in range(0, len(items), 100):
                await writing.transact(dict(items[begin : begin + 100]))
            wanted: dict[int, Any] = {}
            seen: dict[int, int] = {}

            async def follow(subarray: int) -> None:
                nonlocal calls
                reader = FlowReader(f"{subarray:02}", DEVICE)
                async with from_environment(variables(own_etcd)) as database:
                    ask = database._gateway.call

                    async def counted(operation: str, *args: Any, **options: Any) -> Any:
                        nonlocal calls
                        calls += operation.startswith("read")
                        return await ask(operation, *args, **options)

                    database._gateway.call = counted
                    async with database.watch_levels(f"{subarray}", LEVELS) as watch:
                        async for view in watch:
                            wanted[subarray] = await reader.wanted(view)
                            seen[subarray] = view.revision

            for subarray in range(SUBARRAYS):
                nursery.start_soon(follow, subarray)
            last = 0
            for _ in range(CHANGES):
                subarray, number = rng.randrange(SUBARRAYS), rng.randrange(FLOWS)
                ((path, value),) = made(subarray, number).items()
                gone = rng.random() < 0.2
                last = await writing.transact({path: None if gone else json.dumps(value)}) or last
            with trio.fail_after(60 * SLACK):
                while len(seen) < SUBARRAYS or min(seen.values()) < last:  # noqa: ASYNC110
                    await trio.sleep(0.05)
            view = await writing.view(LEVELS)
            for subarray in range(SUBARRAYS):
                fresh = FlowReader(f"{subarray:02}", DEVICE)
                expected = await fresh.wanted(view)
                assert {pb: one.exchanges for pb, one in wanted[subarray].items()}.keys() == (
                    expected.keys()
                )
                for pb, one in expected.items():
                    # What is refused now may have been accepted before, and goes on.
                    mine = {str(exchange) for exchange in wanted[subarray][pb].exchanges}
                    assert mine >= {str(exchange) for exchange in one.exchanges}
                    assert len(wanted[subarray][pb].notes) == len(one.notes)
            nursery.cancel_scope.cancel()
        print(f"\n{SUBARRAYS} subarrays, {FLOWS} flows each, {CHANGES} changes: {calls} reads")
        assert calls <= 2 * SUBARRAYS * len(LEVELS)

    trio.run(scenario)
