import collections
import concurrent.futures
import contextlib
import os
import threading
import time

import numpy as np
import pytest
import tango

from queue_connector.connectors.tango.local_attribute_sink import TangoLocalAttributeSinkDescriptor
from queue_connector.connectors.tango.types import fit
from queue_connector.model.conform import zero
from queue_connector.model.datatypes import DataSpec
from queue_connector.model.delivery import Delivery
from queue_connector.model.errors import ConformError, DataError
from queue_connector.model.services import PublishedAttribute
from tests.device import values
from tests.device.connector import Machine
from tests.device.servers import server
from tests.support.waiting import eventually

FLOAT = DataSpec("float64")
CHURN_SECONDS = float(os.environ.get("TANGO_CHURN_SECONDS", "5"))


@pytest.fixture(scope="module")
def device():
    with server("tests.device.attribute_server") as running:
        yield running
        assert running.running(), "the server crashed"
        assert running.terminate() == 0


@pytest.fixture
def defined(device):
    """Define attributes of the test; they are removed after it."""
    owners = []

    def define(owner, *wanted):
        owners.append(owner)
        return device.ask("define", owner, wanted)

    yield define
    for owner in owners:
        device.ask("define", owner, ())


class Events:
    """A subscription whose events are kept."""

    def __init__(self, proxy, name, kind=tango.EventType.CHANGE_EVENT):
        self.values, self.errors = [], []
        self._arrived = threading.Condition()
        self._proxy = proxy
        first = proxy.subscribe_event(name, kind, lambda event: None, tango.EventSubMode.Sync)
        time.sleep(0.1)  # Tango loses what is pushed before the connection is made
        self._id = proxy.subscribe_event(name, kind, self._push, tango.EventSubMode.SyncRead)
        proxy.unsubscribe_event(first)

    def _push(self, event):
        with self._arrived:
            if event.err:
                self.errors.append(event.errors[0].reason)
            else:
                value = event.attr_value.value
                self.values.append(value.copy() if isinstance(value, np.ndarray) else value)
            self._arrived.notify_all()

    def wait(self, count):
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.values) >= count, 10), self.values
        return self.values

    def __enter__(self):
        return self

    def __exit__(self, *_exc):
        self._proxy.unsubscribe_event(self._id)


def attribute(name, spec=FLOAT, default=None):
    return PublishedAttribute(name, spec, zero(spec) if default is None else default)


@pytest.mark.parametrize(("name", "spec", "published"), values.CASES, ids=values.NAMES)
def test_every_type_and_format_is_read_and_sent_exactly(device, defined, name, spec, published):
    assert defined("types", attribute(name, spec)) is None
    proxy = device.proxy()
    config = proxy.get_attribute_config(name)
    kind, form = name.split("_")
    assert str(tango.CmdArgType.values[config.data_type]) == kind
    assert str(config.data_format) == form
    assert config.writable == tango.AttrWriteType.READ
    archiving = tango.EventType.ARCHIVE_EVENT
    with Events(proxy, name) as change, Events(proxy, name, archiving) as archive:
        values.assert_same(change.wait(1)[0], zero(spec))
        for count, value in enumerate(published, 2):
            assert device.ask("publish", [(name, value)]) is None
            values.assert_same(change.wait(count)[-1], value)
            values.assert_same(archive.wait(count)[-1], value)
            reading = proxy.read_attribute(name)
            values.assert_same(reading.value, value)
            assert reading.quality == tango.AttrQuality.ATTR_VALID


def test_an_image_is_rows_by_columns(device, defined):
    defined("image", attribute("image", DataSpec("float32", (2, 3))))
    config = device.proxy().get_attribute_config("image")
    assert (config.max_dim_x, config.max_dim_y) == (3, 2)


def test_a_broadcast_and_a_byte_swapped_array_arrive_right(device, defined):
    spec = DataSpec(">f8", (2, 3))
    default = fit(2.0, spec)
    assert defined("swapped", attribute("swapped", spec, default)) is None
    np.testing.assert_array_equal(device.proxy().read_attribute("swapped").value, default)


def test_it_reads_as_its_default_before_the_first_datum(device, defined):
    defined("default", attribute("default_one", FLOAT, np.float64(1.5)))
    assert device.proxy().read_attribute("default_one").value == 1.5
    defined("default", attribute("default_one", FLOAT, np.float64(2.5)))
    assert device.proxy().read_attribute("default_one").value == 2.5


def test_events_of_one_batch_come_in_order(device, defined):
    defined("order", attribute("a"), attribute("b"))
    with Events(device.proxy(), "a") as events:
        device.ask("publish", [(n, np.float64(i)) for i in range(300) for n in ("a", "B")])
        assert events.wait(301) == [0, *range(300)]
    assert device.proxy().read_attribute("b").value == 299


def test_an_attribute_kept_keeps_its_subscribers_and_its_last_value(device, defined):
    defined("keep", attribute("kept"), attribute("dropped"))
    proxy = device.proxy()
    with Events(proxy, "kept") as events:
        device.ask("publish", [("kept", np.float64(4))])
        assert defined("keep", attribute("KEPT", FLOAT, np.float64(9)), attribute("new")) is None
        assert proxy.read_attribute("kept").value == 4
        device.ask("publish", [("kept", np.float64(5))])
        assert events.wait(3) == [0, 4, 5]
        assert not events.errors
    names = [name.lower() for name in proxy.get_attribute_list()]
    assert "new" in names
    assert "dropped" not in names


def test_an_attribute_whose_type_changes_is_made_anew(device, defined):
    defined("change", attribute("changing"))
    defined("change", attribute("changing", DataSpec("str", (2,))))
    assert device.proxy().read_attribute("changing").value == ("", "")


@pytest.mark.parametrize("name", ["fixed", "FIXED", "State", "status"])
def test_a_name_of_the_devices_own_is_refused_and_nothing_is_touched(device, defined, name):
    assert defined("own", attribute("fine")) is None
    assert "of its own" in defined("own", attribute("another"), attribute(name))
    names = device.proxy().get_attribute_list()
    assert "fine" in names
    assert "another" not in names
    assert device.proxy().read_attribute("fixed").value == 1.0


def test_a_name_of_another_owner_is_refused(device, defined):
    defined("first", attribute("claimed"))
    assert "belongs to 'first'" in defined("second", attribute("Claimed"))


def test_publishing_what_is_not_defined_is_refused(device):
    assert "not defined" in device.ask("publish", [("nobody", np.float64(1))])


@pytest.mark.parametrize("how", ["Init", "DevRestart"])
def test_attributes_and_their_subscribers_survive(device, defined, how):
    defined("survivor", attribute("survivor"))
    device.ask("publish", [("survivor", np.float64(3))])
    proxy = device.proxy()
    with Events(proxy, "survivor") as events:
        if how == "Init":
            proxy.Init()
        else:
            tango.DeviceProxy(device.admin_name).DevRestart(proxy.dev_name())
        assert proxy.read_attribute("survivor").value == 3
        device.ask("publish", [("survivor", np.float64(4))])
        assert events.wait(2)[-1] == 4
    assert [a.name for a in device.ask("owners")["survivor"]] == ["survivor"]


def test_polled_attributes_change_at_once_and_are_polled_again(device, defined):
    """Tango stops the polling when it removes one, and waited three seconds for each."""
    names = ["polled_a", "polled_b", "polled_c"]
    proxy = device.proxy()
    specs = [DataSpec("int32"), DataSpec("float64", (4,)), DataSpec("str")]
    defined("polled", *(attribute(name, specs[-1]) for name in names))
    for name in names:
        proxy.poll_attribute(name, 20)
    for spec in specs:
        time.sleep(0.1)  # so that it is being polled
        with longest_read(device) as longest:
            defined("polled", *(attribute(name, spec) for name in names))
        assert longest[0] <= 1.0  # it was three seconds for each
        assert [proxy.get_attribute_poll_period(name) for name in names] == [20, 20, 20]
    for name in names:
        proxy.stop_poll_attribute(name)


def test_what_a_client_has_polled_while_others_are_removed_holds_up_nobody(device, defined):
    wanted = [attribute(f"many_{number}") for number in range(1000)]
    defined("many", *wanted)
    proxy = device.proxy()
    with concurrent.futures.ThreadPoolExecutor() as pool, longest_read(device) as longest:
        done = pool.submit(define_many, device, [])
        eventually(lambda: "many_0" not in proxy.get_attribute_list())
        proxy.poll_attribute("many_999", 20)
        assert not done.done(), "it was polled too late"
        assert done.result() is None
    assert longest[0] <= 1.0


@contextlib.contextmanager
def longest_read(device):
    """The longest of another client's reads meanwhile, and of the whole."""
    longest, over = [0.0], threading.Event()

    def read():
        with tango.EnsureOmniThread():
            proxy = device.proxy()
            while not over.wait(0.005):
                began = time.monotonic()
                proxy.read_attribute("fixed")
                longest[0] = max(longest[0], time.monotonic() - began)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield longest
    finally:
        over.set()
        thread.join()


def test_many_attributes_come_and_go_while_others_are_read_and_published(device, defined):
    defined("steady", attribute("steady"))
    wanted = [attribute(f"many_{number}") for number in range(2000)]
    for several in (wanted, []):
        with (
            Machine() as machine,
            longest_read(device) as longest,
            concurrent.futures.ThreadPoolExecutor() as pool,
        ):
            slowest, done = 0.0, pool.submit(define_many, device, several)
            while not done.done():
                time.sleep(0.005)  # to leave the machine to the server
                began = time.monotonic()
                device.ask("publish", [("steady", np.float64(began))])
                slowest = max(slowest, time.monotonic() - began)
            assert done.result() is None
        assert longest[0] <= 0.2 + 2 * machine.pause  # of the server, and of us
        assert slowest <= 0.2 + 2 * machine.pause


def define_many(device, wanted):
    with tango.EnsureOmniThread():
        return device.ask("define", "many", tuple(wanted), timeout=30)


def test_more_attributes_than_a_device_may_have_are_refused_and_nothing_is_touched(device, defined):
    assert defined("few", attribute("few")) is None
    answer = device.ask("define", "many", tuple(map(attribute, map("x{}".format, range(5000)))))
    assert "expected at most 5000 in all groups together, found 5001" in answer
    assert "x0" not in device.proxy().get_attribute_list()


def test_an_attribute_that_tango_does_not_remove_is_not_forgotten(device, defined):
    defined("kept", attribute("kept_back"))
    device.ask("refuse_removals", 1)
    assert "it stays: not now" in device.ask("define", "kept", ())
    assert [a.name for a in device.ask("owners")["kept"]] == ["kept_back"]
    assert device.proxy().read_attribute("kept_back").value == 0
    assert device.ask("define", "kept", ()) is None
    assert "kept_back" not in device.proxy().get_attribute_list()


@pytest.mark.parametrize("kind", ["CHANGE_EVENT", "ARCHIVE_EVENT"])
def test_who_subscribes_late_has_the_value_and_what_follows(device, defined, kind):
    name = f"late_{kind}"
    defined(name, attribute(name))
    for number in range(1, 4):
        device.ask("publish", [(name, np.float64(number))])
    with Events(device.proxy(), name, getattr(tango.EventType, kind)) as events:
        device.ask("publish", [(name, np.float64(4))])
        assert events.wait(2) == [3, 4]


@pytest.mark.parametrize("whose", ["device", "administering device"])
def test_requests_that_are_held_are_answered_afterwards(device, whose):
    answers, done = [], threading.Event()

    def ask() -> None:
        with tango.EnsureOmniThread():
            name = device.device_name if whose == "device" else device.admin_name
            proxy = tango.DeviceProxy(name)
            while not done.is_set():
                proxy.ping()  # which no monitor holds up
                answers.append(time.monotonic())

    with concurrent.futures.ThreadPoolExecutor() as threads:
        asking = [threads.submit(ask) for _ in range(3)]
        try:
            eventually(lambda: len(answers) > 10)
            began, ended = device.ask("hold", 0.3)
            asked = len(answers)
            eventually(lambda: len(answers) > asked + 10)
        finally:
            done.set()
        for each in asking:
            each.result()
    assert ended - began >= 0.3
    # What was answered just before may be on its way to the client.
    assert [answer for answer in answers if began + 0.1 < answer < ended] == []


def _subscribe(proxy):
    event = proxy.subscribe_event(CHURNED[0], tango.EventType.CHANGE_EVENT, lambda _: None)
    proxy.unsubscribe_event(event)


def _poll(proxy):
    proxy.poll_attribute(CHURNED[1], 1000)
    proxy.stop_poll_attribute(CHURNED[1])


CHURNED = ["churn_a", "churn_b", "churn_c"]
ASKING = {
    "read": lambda proxy: proxy.read_attribute(CHURNED[0]),
    "read all": lambda proxy: proxy.read_attributes(CHURNED),
    "configuration": lambda proxy: proxy.get_attribute_config(CHURNED[2]),
    "list": lambda proxy: proxy.get_attribute_list(),
    "subscribe": _subscribe,
    "poll": _poll,
}


def test_attributes_may_come_and_go_whatever_clients_ask_of_them(device):
    """Each of these crashed servers, where Tango had looked up what was removed."""
    done = threading.Event()
    answered, changes, failures = collections.Counter(), [], []

    def client(what: str) -> None:
        with tango.EnsureOmniThread():
            proxy = device.proxy()
            while not done.is_set():
                with contextlib.suppress(tango.DevFailed):  # it is not there just now
                    ASKING[what](proxy)
                    answered[what] += 1

    def churn() -> None:
        with tango.EnsureOmniThread():
            end = time.monotonic() + CHURN_SECONDS
            try:
                while time.monotonic() < end:
                    changes.append(device.ask("churn", CHURNED, 1.0))
            except tango.DevFailed as error:
                failures.append(error)
            done.set()

    clients = [threading.Thread(target=client, args=[what]) for what in ASKING]
    threads = [*clients, threading.Thread(target=churn)]
    before = device.ask("threads")[0]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert device.running()
    assert sum(changes) > 10 * CHURN_SECONDS, changes
    assert all(answered[what] for what in ASKING), answered
    assert device.ask("threads")[0] <= before + 2
    assert "churn" not in device.ask("owners")


class _Host:
    def __init__(self):
        self.batches = []

    async def define(self, owner, wanted):
        raise NotImplementedError

    async def publish(self, published):
        self.batches.append(list(published))


def sink_of(spec, host):
    from queue_connector.model.services import Services

    descriptor = TangoLocalAttributeSinkDescriptor(attribute_name="x")
    return descriptor.build(spec, Services(attributes=host))


async def test_the_sink_refuses_single_values_and_publishes_the_others_in_one_job():
    host = _Host()
    delivery = Delivery(["good", "größer", "€", "nul\0", 3, "end"])
    async with sink_of(DataSpec("str"), host) as sink:
        await sink.awrite_batch(delivery)
    assert host.batches == [[("x", "good"), ("x", "größer"), ("x", "3"), ("x", "end")]]
    assert delivery.accepted == [True, True, False, False, True, True]
    assert all(isinstance(error, DataError) for error in delivery.refused.values())
    assert "Latin-1" in str(delivery.refused[2])
    assert "NUL" in str(delivery.refused[3])


async def test_the_sink_never_casts_silently():
    async with sink_of(DataSpec("uint8"), _Host()) as sink:
        with pytest.raises(ConformError, match="out of range"):
            await sink.awrite(300)


@pytest.mark.parametrize(
    ("keys", "spec", "paths"),
    [
        ({"attribute_name": "x"}, FLOAT, []),
        ({"attribute_name": "x", "default_value": "nan"}, FLOAT, []),
        ({"attribute_name": "x", "default_value": 0}, DataSpec("float32", (2, 2)), []),
        ({"attribute_name": "x", "default_value": "€"}, DataSpec("str"), ["$.default_value"]),
        ({"attribute_name": "x", "default_value": 300}, DataSpec("uint8"), ["$.default_value"]),
        ({"attribute_name": "a/b"}, FLOAT, ["$.attribute_name"]),
        ({"attribute_name": ""}, FLOAT, ["$.attribute_name"]),
        ({"attribute_name": "status"}, FLOAT, ["$.attribute_name"]),
        ({"attribute_name": "x"}, DataSpec("float64", (-1,)), ["$"]),
        ({"attribute_name": "x"}, DataSpec("float64", (2, 2, 2)), ["$"]),
        ({"attribute_name": "x"}, DataSpec("int8"), ["$"]),
        ({"attribute_name": "x"}, DataSpec("object"), ["$"]),
    ],
)
def test_what_cannot_be_published_is_a_fault(keys, spec, paths):
    descriptor = TangoLocalAttributeSinkDescriptor(**keys)
    assert [fault.path for fault in descriptor.faults(spec)] == paths


def test_the_default_fills_the_shape():
    descriptor = TangoLocalAttributeSinkDescriptor(attribute_name="x", default_value="nan")
    (published,) = descriptor.publishes(DataSpec("float64", (2, 2)))
    assert np.isnan(published.default).all()
    assert published.default.shape == (2, 2)
