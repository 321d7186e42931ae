"""Tango figures: events per second into a source, values per second out of the local sink.

Run as ``python -m benchmarks.tango``. The devices run in processes of their own; on a machine with
few cores the two sides take each other's time.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import tango
import trio

from queue_connector.connectors.tango.subscription_source import TangoSubscriptionSourceDescriptor
from queue_connector.model.datatypes import DataSpec, zero
from queue_connector.model.descriptors import PublishedAttribute, Services
from tests.device.servers import server

SPECS = {"scalar": DataSpec("float64"), "float64[3]": DataSpec("float64", (3,))}


async def source(count: int) -> None:
    """A server pushes as fast as it can; what does not arrive Tango has dropped."""
    with server("tests.device.source_device") as device:
        services = Services()
        built = TangoSubscriptionSourceDescriptor(
            device_name=device.device_name, attribute_name="DevDouble_SCALAR"
        ).build(DataSpec("float64"), services)
        async with built:
            await built.receive()
            for label, pause, burst in (("flat out", 0.0, count), ("1 ms apart", 0.001, 2000)):
                before = dict(services.account.upstream)
                await trio.to_thread.run_sync(device.ask, "flood", "DevDouble_SCALAR", burst, pause)
                started, got, batches = time.perf_counter(), 0, 0
                while True:
                    with trio.move_on_after(1.0) as scope:
                        batch = await built.receive_batch()
                    if scope.cancelled_caught:
                        break
                    got, batches, last = got + len(batch.values), batches + 1, time.perf_counter()
                seconds = last - started
                missed = services.account.upstream["missed events"] - before.get("missed events", 0)
                print(
                    f"source, {label}: {got} of {burst} events, {got / seconds:,.0f}/s, "
                    f"{got / batches:.1f} in a batch, {missed} gaps reported by Tango"
                )


async def sink(count: int) -> None:
    with server("tests.device.attribute_server") as device:
        proxy = device.proxy()
        proxy.set_timeout_millis(60_000)
        for label, spec in SPECS.items():
            device.ask("define", "bench", [PublishedAttribute("bench", spec, zero(spec))])
            value = np.float64(1.5) if not spec.shape else np.arange(3.0)
            for subscribed in (False, True):
                identifier = None
                received = [0]
                if subscribed:

                    def on_event(_event: object, received: list[int] = received) -> None:
                        received[0] += 1

                    identifier = proxy.subscribe_event(
                        "bench", tango.EventType.CHANGE_EVENT, on_event, tango.EventSubMode.SyncRead
                    )
                for size in (1, 100):
                    rate = device.ask("bench", "bench", value, count, size, timeout=60)
                    print(
                        f"sink, {label}, batches of {size}, "
                        f"{'one subscriber' if subscribed else 'no subscriber'}: {rate:,.0f}/s"
                    )
                if identifier is not None:
                    await trio.sleep(0.5)
                    print(f"   the subscriber got {received[0]} of {2 * count + 1}")
                    proxy.unsubscribe_event(identifier)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20_000, help="values in each measurement")
    arguments = parser.parse_args()
    trio.run(source, arguments.count)
    trio.run(sink, arguments.count)


if __name__ == "__main__":
    main()
