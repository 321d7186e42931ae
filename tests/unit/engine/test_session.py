"""What is told of endpoints that cannot go on: status, groups, statistics, health, reminders."""

import json
import logging

import attrs
import pytest
import trio

import queue_connector.connectors.pipes.default  # noqa: F401 - registers the default pipe
from queue_connector.connectors.errors.skip import SkipPolicyDescriptor
from queue_connector.engine import overview
from queue_connector.engine.following import Wanted
from queue_connector.engine.overview import MAX_ENDPOINTS, MAX_STATUS, MAX_TROUBLES
from queue_connector.engine.state import Health, State
from queue_connector.engine.supervisor import open_supervisor
from queue_connector.model.exchanges import ExchangeDescriptor, QueueConnectorDescriptor
from queue_connector.model.services import Services
from queue_connector.model.shared import Shared
from queue_connector.testing.endpoints import Attributes, Given, Keeper, Numbers, Recorded, Taken
from tests.support.waiting import until
from tests.unit.engine.test_reconfigure import World


class Setting:
    """One exchange for each name, and the services that its source and sink were given."""

    def __init__(self) -> None:
        self.record = Recorded()
        self.changes = 0
        self.services: dict[str, list[Services]] = {}

    def exchange(
        self, name: str, sources: int = 1, sink: dict | None = None, period: float = 1
    ) -> ExchangeDescriptor:
        seen = self.services.setdefault(name, []).append
        return ExchangeDescriptor(
            dtype="int64",
            source=[
                Given(make=lambda: Numbers(self.record, period=period), seen=seen)
                for _ in range(sources)
            ],
            sink=Taken(make=lambda: Keeper(self.record, **(sink or {})), names=(name,), seen=seen),
        )

    def changed(self) -> None:
        self.changes += 1

    def open(self):
        return open_supervisor(attributes=Attributes(), on_change=lambda: self.changed())


async def started(supervisor, *exchanges):
    await supervisor.configure(QueueConnectorDescriptor(exchanges={"g": list(exchanges)}))
    await supervisor.start()
    await until(lambda: supervisor.state is State.ON, lambda: supervisor.status)


async def test_an_endpoint_that_waits_is_told_within_two_seconds_and_so_is_its_recovery(
    autojump_clock,
):
    setting = Setting()
    async with setting.open() as supervisor:
        await started(supervisor, setting.exchange("a"), setting.exchange("b"))
        assert (supervisor.status, supervisor.health) == ("g: ON, 2 exchanges", Health.OK)
        changes = setting.changes
        await trio.sleep(100)
        assert setting.changes == changes, "nothing changed, and it was told"

        condition = setting.services["b"][1].condition
        condition.waits("the broker b:9092", "refused\nagain")
        await trio.sleep(1.1)
        assert setting.changes == changes + 1
        since = condition.since
        assert supervisor.health is Health.DEGRADED
        assert supervisor.status.splitlines() == [
            "g: ON, degraded, 2 exchanges",
            f"  g[1]: Taken waits for the broker b:9092 since {since}: refused; again",
        ]
        told = supervisor.as_dict()["g"]
        assert (told["state"], told["degraded"], told["opening"]) == ("ON", True, [])
        first = told["endpoints"][0]
        assert (first["exchange"], first["kind"], first["name"]) == ("g[1]", "sink", "Taken")
        assert first["waiting_for"] == "the broker b:9092"
        assert (first["connected"], first["since"], first["error"]) == (
            False,
            since,
            "refused\nagain",
        )

        await trio.sleep(100)
        assert setting.changes == changes + 1
        condition.is_well()
        await trio.sleep(1.1)
        assert setting.changes == changes + 2
        assert (supervisor.status, supervisor.health) == ("g: ON, 2 exchanges", Health.OK)
        assert supervisor.as_dict()["g"]["endpoints"][0]["waiting_for"] == ""


async def test_what_waits_anywhere_stands_beside_the_ledger(autojump_clock):
    setting = Setting()
    async with setting.open() as supervisor:
        await started(supervisor, setting.exchange("a", sources=2, sink={"period": 1000}))
        *sources, sink = setting.services["a"]
        for services, number in zip(sources, (200, 7), strict=True):
            services.condition.gauges["queued"] = lambda number=number: number
        sources[0].condition.gauges["lag"] = lambda: 12
        sink.condition.waits("the device")
        await trio.sleep(150.5)
        told = supervisor.statistics()["g[0]"]
        assert told["queued"] == 207
        assert [part["queued"] for part in told["sources"]] == [200, 7]
        assert told["sources"][0]["condition"]["lag"] == 12
        [account] = told["sinks"]
        assert 200 < account["queued"] < account["in_flight"] == account["received"]
        assert told["sources"][0]["condition"]["last_datum"].endswith("Z")
        assert account["condition"]["last_datum"] == ""
        assert json.dumps(told)
        assert supervisor.status.splitlines()[1:] == [
            "  g[0]: Given; 100 or more data wait in its queue",
            f"  g[0]: Taken waits for the device since {sink.condition.since}"
            "; 100 or more data wait in its queue",
        ]


async def test_reminders_come_each_minute_with_the_name_of_the_exchange(autojump_clock, caplog):
    setting = Setting()
    caplog.set_level(logging.WARNING)
    async with setting.open() as supervisor:
        await started(supervisor, setting.exchange("a"), setting.exchange("b"))
        condition = setting.services["b"][0].condition
        for number in range(59):
            condition.waits("the topic t", f"failure {number}")
            await trio.sleep(1)
        assert caplog.messages == []
        await trio.sleep(3)
        [line] = caplog.messages
        assert line.startswith("g[1]: Given waits for the topic t since ")
        assert line.endswith(": failure 58")
        await trio.sleep(60)
        assert caplog.messages == [line] * 2
        condition.is_well()
        await trio.sleep(600)
        assert caplog.messages == [line] * 2


async def test_many_that_wait_are_told_in_part(autojump_clock, caplog):
    setting = Setting()
    async with setting.open() as supervisor:
        exchange = setting.exchange("a", sources=MAX_ENDPOINTS + 100, period=20)
        await started(supervisor, exchange, setting.exchange("b"))
        assert len(json.dumps(supervisor.as_dict())) < MAX_ENDPOINTS * 300
        for services in setting.services["a"][50:]:
            services.condition.waits("x" * 10_000, "y" * 10_000)
        await trio.sleep(61.5)
        lines = supervisor.status.splitlines()
        assert len(lines) == 2 + MAX_TROUBLES
        assert lines[-1] == f"  and {MAX_ENDPOINTS + 51 - MAX_TROUBLES} more endpoints wait"
        assert len(supervisor.status) < MAX_STATUS
        group = supervisor.as_dict()["g"]
        assert len(group["endpoints"]) == MAX_ENDPOINTS
        assert group["endpoints_left_out"] == 103
        assert all(endpoint["waiting_for"] for endpoint in group["endpoints"])
        assert len(caplog.messages) < 30


async def test_an_error_policy_that_waits_is_told_too(autojump_clock):
    setting, conditions = Setting(), []

    class Policy(SkipPolicyDescriptor):
        def build(self, services):
            conditions.append(services.condition)
            return super().build(services)

    exchange = attrs.evolve(setting.exchange("a"), on_error=Policy())
    async with setting.open() as supervisor:
        await started(supervisor, exchange)
        conditions[0].waits("the topic of dead letters")
        await trio.sleep(1.1)
        since = conditions[0].since
        line = f"  g[0]: on_error waits for the topic of dead letters since {since}"
        assert supervisor.status.splitlines()[1:] == [line]
        assert supervisor.as_dict()["g"]["endpoints"][0]["kind"] == "on_error"
        assert set(supervisor.statistics()) == {"g[0]"}


async def test_an_endpoint_that_cannot_be_asked_ends_nothing(autojump_clock):
    def broken():
        raise ZeroDivisionError

    setting = Setting()
    async with setting.open() as supervisor:
        await started(supervisor, setting.exchange("a"))
        condition = setting.services["a"][0].condition
        condition.gauges["queued"] = broken
        condition.waits("something")
        await trio.sleep(1.1)
        assert "waits for something" in supervisor.status
        assert "queued" not in supervisor.as_dict()["g"]["endpoints"][0]
        condition.is_well()
        setting.changed = broken
        await trio.sleep(10)
        assert "g: ON, 1 exchange" in supervisor.status
        setting.changed = bool  # the end of the exchange is told, too


async def test_attributes_that_cannot_be_removed_end_no_other_group(autojump_clock, caplog):
    world = World()
    world.attributes.owned["left"] = ["over"]
    async with world.open() as supervisor:
        supervisor.follow({"g": Wanted(1, [world.exchange("a")])})
        await until(lambda: supervisor.state is State.ON, lambda: supervisor.status)
        world.attributes.owned["left"] = ["over"]
        world.attributes.refuse = True
        supervisor.follow({"g": Wanted(1, [world.exchange("a")])})
        await trio.sleep(3)
        assert "group left: what is wanted of it is not applied" in caplog.text
        world.attributes.refuse = False
        supervisor.follow({})
        await trio.sleep(3)
        assert (supervisor.groups, world.attributes.owned) == ({}, {})


async def test_a_change_of_one_group_costs_nothing_of_the_others(autojump_clock, monkeypatch):
    shown, setting = [], Setting()
    show = overview._show
    monkeypatch.setattr(overview, "_show", lambda group: shown.append(group) or show(group))
    async with setting.open() as supervisor:

        def look():
            setting.changes += 1
            assert supervisor.status
            assert supervisor.health is Health.OK

        setting.changed = look
        groups = {f"g{number}": [setting.exchange(f"a{number}")] for number in range(100)}
        await supervisor.configure(QueueConnectorDescriptor(exchanges=groups))
        await supervisor.start()
        await until(lambda: supervisor.state is State.ON, lambda: supervisor.status)
        assert setting.changes > 300
        assert len(shown) <= setting.changes + 100


async def test_what_was_stopped_waits_for_nothing(autojump_clock):
    setting = Setting()
    async with setting.open() as supervisor:
        await started(supervisor, setting.exchange("a"))
        setting.services["a"][0].condition.waits("the broker")
        await supervisor.stop()
        await supervisor.groups["g"].wait_idle()
        assert (supervisor.status, supervisor.health) == ("g: OFF, 1 exchange", Health.OK)
        assert "queued" not in supervisor.as_dict()["g"]["endpoints"][0]


async def test_health_says_what_is_worst(autojump_clock):
    world = World()
    async with world.open() as supervisor:
        assert supervisor.health is Health.OK
        supervisor.follow({"g": Wanted(1, [world.exchange("a", bad=[3])])})
        await until(lambda: supervisor.state is State.FAULT, lambda: supervisor.status)
        assert supervisor.health is Health.FAILED


async def test_all_exchanges_of_a_device_share_clients(autojump_clock):
    setting = Setting()
    async with setting.open() as supervisor:
        await supervisor.configure(
            QueueConnectorDescriptor(
                exchanges={"g": [setting.exchange("a")], "h": [setting.exchange("b")]}
            )
        )
        await supervisor.start()
        await until(lambda: supervisor.state is State.ON, lambda: supervisor.status)
        found = [services.shared for ends in setting.services.values() for services in ends]
        assert len(found) == 4
        assert all(isinstance(shared, Shared) and shared is found[0] for shared in found)


@pytest.mark.parametrize("policy", ["fault", "skip"])
async def test_an_exchange_that_has_moved_is_told_by_its_new_name(policy, autojump_clock, caplog):
    world = World()
    moved = world.exchange("moved", bad=[12])
    moved = ExchangeDescriptor(
        dtype=moved.dtype, source=moved.source, sink=moved.sink, on_error=policy
    )
    async with world.open() as supervisor:
        supervisor.follow({"g": Wanted(1, [moved])})
        await until(lambda: supervisor.state is State.ON, lambda: supervisor.status)
        await trio.sleep(5)
        supervisor.follow({"g": Wanted(2, [world.exchange("new"), moved])})
        await trio.sleep(5)
        assert len(world.sources["moved"]) == 1, "it was not kept"
        assert set(supervisor.statistics()) == {"g[0]", "g[1]"}
        await trio.sleep(10)
        if policy == "fault":
            assert supervisor.groups["g"].fault.message == "g[1]: 12 is bad"
        else:
            assert "g[1]: skipped: 12 is bad" in caplog.text
