import logging

import pytest
import trio

import queue_connector.connectors.pipes.default  # noqa: F401 - registers the default pipe
from queue_connector.engine.group import Group
from queue_connector.engine.overview import group_as_dict
from queue_connector.engine.session import Resources
from queue_connector.engine.state import State
from queue_connector.model.errors import EndpointError, StateError
from queue_connector.model.exchanges import ExchangeDescriptor
from queue_connector.model.services import Services
from queue_connector.model.shared import Shared
from queue_connector.testing.checkpoints import cancel_at_every_step
from queue_connector.testing.endpoints import Attributes, Given, Keeper, Numbers, Recorded, Taken
from tests.support.waiting import until


class Setting:
    """A group in a nursery, with all that a test wants to look at."""

    def __init__(self, nursery: trio.Nursery, stop_grace: float = 10) -> None:
        self.record = Recorded()
        self.attributes = Attributes()
        self.states: list[State] = []
        self.sources: list[Numbers] = []
        self.sinks: list[Keeper] = []
        self.services: list[Services] = []
        self.group = Group(
            "g",
            nursery=nursery,
            resources=Resources(self.attributes, Shared(), logging.getLogger("test"), stop_grace),
            on_change=self._changed,
        )

    def _changed(self) -> None:
        # The group tells of its first state while it is being made.
        state = self.group.state if hasattr(self, "group") else State.STANDBY
        if not self.states or self.states[-1] is not state:
            self.states.append(state)

    def exchange(
        self,
        name: str = "",
        sink: dict | None = None,
        reads: tuple[str, ...] = (),
        writes: tuple[str, ...] = (),
        **source,
    ) -> ExchangeDescriptor:
        def make_source() -> Numbers:
            self.sources.append(Numbers(self.record, **{"period": 1, **source}))
            return self.sources[-1]

        def make_sink() -> Keeper:
            self.sinks.append(Keeper(self.record, **(sink or {})))
            return self.sinks[-1]

        names = (name,) if name else ()
        return ExchangeDescriptor(
            dtype="int64",
            source=Given(make=make_source, reading=reads, seen=self.services.append),
            sink=Taken(make=make_sink, names=names, writing=writes, seen=self.services.append),
        )

    async def reaches(self, state: State) -> None:
        await until(lambda: self.group.state is state, lambda: group_as_dict(self.group))


@pytest.fixture
async def setting(nursery):
    return Setting(nursery)


async def test_a_session_goes_through_every_state(setting, autojump_clock):
    group = setting.group
    await group.configure([setting.exchange("a")])
    group.start()
    assert group.state is State.OPEN
    await setting.reaches(State.ON)
    await trio.sleep(5.5)
    group.request_stop()
    assert group.state is State.CLOSE
    await setting.reaches(State.OFF)
    await group.standby()
    assert [*setting.states] == ["STANDBY", "OFF", "OPEN", "ON", "CLOSE", "OFF", "STANDBY"]
    assert setting.sinks[0].kept == setting.sources[0].handed
    assert setting.record.open == 0


async def test_attributes_are_there_from_configure_to_standby(setting, autojump_clock):
    group = setting.group
    await group.configure([setting.exchange("a"), setting.exchange("b")])
    assert setting.attributes.owned == {"g": ["a", "b"]}
    group.start()
    await setting.reaches(State.ON)
    group.request_stop()
    await setting.reaches(State.OFF)
    assert setting.attributes.owned == {"g": ["a", "b"]}
    await group.standby()
    assert setting.attributes.owned == {}


async def test_it_closes_by_itself_when_all_sources_have_ended(setting, autojump_clock):
    group = setting.group
    await group.configure([setting.exchange(count=2), setting.exchange(count=4)])
    group.start()
    await setting.reaches(State.OFF)
    assert setting.states[-4:] == ["OPEN", "ON", "CLOSE", "OFF"]
    assert [sink.kept for sink in setting.sinks] == [[0, 1], [0, 1, 2, 3]]


async def test_an_exchange_that_cannot_open_holds_up_no_other(setting, autojump_clock):
    group = setting.group
    await group.configure([setting.exchange(), setting.exchange(start=trio.sleep_forever)])
    group.start()
    await trio.sleep(29.5)
    assert group.state is State.OPEN
    assert setting.sinks[0].kept == list(range(29))
    assert group_as_dict(group)["opening"] == ["g[1]"]
    assert [line for _, line in group.troubles()] == ["g[1] is opening"]
    group.request_stop()
    await setting.reaches(State.OFF)
    assert setting.sinks[0].kept == setting.sources[0].handed
    assert setting.record.open == 0


async def test_one_that_fails_while_another_opens_ends_both_in_order(setting, autojump_clock):
    group = setting.group
    streaming = setting.exchange(sink={"period": 0.5})
    bad = setting.exchange(bad=[3])
    await group.configure([streaming, bad, setting.exchange(start=trio.sleep_forever)])
    group.start()
    await setting.reaches(State.FAULT)
    await group.wait_idle()
    assert setting.sinks[0].kept == setting.sources[0].handed
    assert setting.record.open == 0


async def test_what_is_read_in_the_group_is_not_written_before_its_reader_has_started(
    setting, autojump_clock
):
    async def slow():
        await trio.sleep(30)

    group = setting.group
    writer = setting.exchange(writes=("topic", "other"))
    await group.configure(
        [writer, setting.exchange(reads=("topic",), start=slow), setting.exchange(reads=("x",))]
    )
    group.start()
    await trio.sleep(29)
    assert group.state is State.OPEN
    assert [bool(source.handed) for source in setting.sources] == [False, False, True]
    await setting.reaches(State.ON)
    await trio.sleep(5.5)
    assert len(setting.sinks[0].kept) == len(setting.sinks[1].kept) == 5


async def test_exchanges_that_feed_each_other_in_a_circle_start(setting, autojump_clock):
    group = setting.group
    await group.configure(
        [
            setting.exchange(reads=("a",), writes=("b",)),
            setting.exchange(reads=("b",), writes=("a", "b")),
        ]
    )
    group.start()
    await setting.reaches(State.ON)


async def test_an_exchange_is_changed_while_another_is_still_opening(setting, autojump_clock):
    group = setting.group
    kept, stuck = setting.exchange(), setting.exchange(start=trio.sleep_forever)
    await group.configure([kept, stuck])
    group.start()
    await trio.sleep(10)
    await group.reconfigure([setting.exchange(), kept])
    assert group.state is State.ON
    assert len(setting.sources) == 3
    assert len(setting.sources[0].handed) == 10, "it was stopped"


async def test_stop_while_opening_gives_the_start_up(setting, autojump_clock):
    group = setting.group
    await group.configure([setting.exchange(), setting.exchange(start=trio.sleep_forever)])
    group.start()
    await trio.sleep(1)
    group.request_stop()
    await setting.reaches(State.OFF)
    assert setting.record.open == 0


async def test_it_can_be_started_again(setting, autojump_clock):
    group = setting.group
    await group.configure([setting.exchange(count=2)])
    for _ in range(3):
        group.start()
        await group.wait_idle()
        assert group.state is State.OFF
    assert [sink.kept for sink in setting.sinks] == [[0, 1]] * 3
    assert group.streams[0].ledger.delivered == 6


async def test_abort_drains_nothing_and_is_off_on_return(setting, autojump_clock):
    group = setting.group
    await group.configure([setting.exchange(sink={"period": 5})])
    group.start()
    await trio.sleep(20)
    await group.abort()
    assert group.state is State.OFF
    assert setting.record.open == 0
    ledger = group.streams[0].ledger
    assert ledger.balanced
    assert ledger.dropped["aborted"] == ledger.received - ledger.delivered > 0


async def test_a_stop_that_takes_longer_than_its_grace_is_cut_off_and_counted(
    setting, autojump_clock, caplog
):
    group = setting.group
    await group.configure([setting.exchange(sink={"period": 60})])
    group.start()
    await trio.sleep(20)
    group.request_stop()
    started = trio.current_time()
    await setting.reaches(State.OFF)
    assert trio.current_time() - started == pytest.approx(10, abs=0.1)
    lost = group.streams[0].ledger.dropped["aborted"]
    assert lost > 0
    assert group.streams[0].ledger.in_flight == 0
    assert f"g[0]: cut off after the stop grace: {lost} data in flight were not" in caplog.text


async def test_a_bad_datum_faults_the_group_and_the_others_are_stopped_in_order(
    setting, autojump_clock
):
    group = setting.group
    await group.configure([setting.exchange(bad=[3]), setting.exchange(batch=7)])
    group.start()
    await setting.reaches(State.FAULT)
    await group.wait_idle()
    assert group.fault is not None
    assert group.fault.error == "DataError"
    assert group.fault.message == "g[0]: 3 is bad"
    assert group.fault.time.endswith("Z")
    assert setting.sinks[1].kept == setting.sources[1].handed
    assert setting.record.open == 0
    assert [ledger.in_flight for ledger in [s.ledger for s in group.streams]] == [0, 0]
    await group.reset()
    assert group.state is State.STANDBY
    assert group.fault is None


async def test_an_exchange_that_cannot_start_faults_the_group(setting, autojump_clock):
    async def fail():
        raise EndpointError("broker:9092", "connect", "refused")

    group = setting.group
    await group.configure([setting.exchange(), setting.exchange(start=fail)])
    group.start()
    await setting.reaches(State.FAULT)
    assert group.fault.message == "g[1]: broker:9092: connect failed: refused"
    await group.wait_idle()
    assert setting.record.open == 0


async def test_attributes_that_cannot_be_defined_fault_the_group(setting, autojump_clock):
    setting.attributes.refuse = True
    with pytest.raises(EndpointError):
        await setting.group.configure([setting.exchange("a")])
    assert setting.group.state is State.FAULT
    setting.attributes.refuse = False
    await setting.group.reset()
    assert setting.group.state is State.STANDBY


async def test_a_crash_inside_an_exchange_faults_the_group_and_nothing_else(
    setting, autojump_clock
):
    async def crash():
        raise ZeroDivisionError("oops")

    await setting.group.configure([setting.exchange(start=crash)])
    setting.group.start()
    await setting.reaches(State.FAULT)
    assert setting.group.fault.error == "ZeroDivisionError"
    assert "unexpected ZeroDivisionError('oops')" in setting.group.fault.message


COMMANDS = {
    "Configure": lambda s: s.group.configure([s.exchange()]),
    "Configure with no exchanges": lambda s: s.group.configure([]),
    "Start": lambda s: _soon(s.group.start),
    "Stop": lambda s: _soon(s.group.request_stop),
    "Standby": lambda s: s.group.standby(),
    "Abort": lambda s: s.group.abort(),
    "Reset": lambda s: s.group.reset(),
}
REFUSED = {
    State.STANDBY: {"Start", "Stop", "Standby", "Abort", "Reset"},
    State.OFF: {"Stop", "Abort", "Reset"},
    State.OPEN: {"Configure", "Configure with no exchanges", "Start", "Standby", "Reset"},
    State.ON: {"Configure", "Configure with no exchanges", "Start", "Standby", "Reset"},
    State.CLOSE: {"Configure", "Configure with no exchanges", "Start", "Stop", "Standby", "Reset"},
    State.FAULT: {
        "Configure", "Configure with no exchanges", "Start", "Stop", "Standby", "Abort"
    },
}  # fmt: skip


async def _soon(function):
    function()


async def _bring(setting: Setting, state: State) -> None:
    async def slow():
        await trio.sleep(10)

    group = setting.group
    if state is State.STANDBY:
        return
    bad = [0] if state is State.FAULT else []
    start = slow if state is State.OPEN else None
    await group.configure([setting.exchange(bad=bad, start=start, sink={"period": 2})])
    if state is State.OFF:
        return
    group.start()
    if state is State.CLOSE:
        await trio.sleep(20)
        group.request_stop()
    await setting.reaches(state)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("state", REFUSED)
async def test_each_command_in_each_state_is_done_or_refused(
    setting, state, command, autojump_clock
):
    await _bring(setting, state)
    if command in REFUSED[state]:
        with pytest.raises(StateError) as caught:
            await COMMANDS[command](setting)
        assert setting.group.state is state
        assert str(caught.value).startswith(f"{command} is not allowed in state {state}; ")
    else:
        await COMMANDS[command](setting)


@pytest.mark.parametrize("end", ["stop", "abort", "fault", "by itself"])
def test_cancelled_anywhere_it_leaves_nothing_open_and_the_ledgers_balance(end):
    async def scenario():
        setting = None
        try:
            async with trio.open_nursery() as nursery:
                setting = Setting(nursery)
                bad = [3] if end == "fault" else []
                count = 3 if end == "by itself" else 1000
                group = setting.group
                await group.configure(
                    [setting.exchange("a", bad=bad, count=count), setting.exchange(count=count)]
                )
                group.start()
                await trio.sleep(4.5)
                if end == "stop":
                    group.request_stop()
                elif end == "abort":
                    await group.abort()
                await group.wait_idle()
                if end == "fault":
                    await group.reset()
                else:
                    await group.standby()
        finally:
            if setting is not None:
                assert setting.record.open == 0
                for sink, source, stream in zip(
                    setting.sinks, setting.sources, setting.group.streams, strict=False
                ):
                    ledger = stream.ledger
                    assert ledger.balanced
                    assert ledger.in_flight == 0
                    assert ledger.received == len(source.handed)
                    assert ledger.delivered == len(sink.kept)

    assert cancel_at_every_step(scenario) > 30
