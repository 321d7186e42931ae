import itertools

import pytest

from queue_connector.engine.state import TRANSITIONS, State, Trigger, advance, aggregate, allowed
from queue_connector.model.errors import StateError

S, T = State, Trigger
LEGAL = {
    (S.INIT, T.INITIALISED): S.STANDBY,
    (S.STANDBY, T.CONFIGURE): S.OFF,
    (S.STANDBY, T.CONFIGURE_EMPTY): S.STANDBY,
    (S.OFF, T.CONFIGURE): S.OFF,
    (S.OFF, T.CONFIGURE_EMPTY): S.STANDBY,
    (S.OFF, T.START): S.OPEN,
    (S.OPEN, T.OPENED): S.ON,
    (S.ON, T.STOP): S.CLOSE,
    (S.OPEN, T.STOP): S.CLOSE,
    (S.CLOSE, T.CLOSED): S.OFF,
    (S.OFF, T.STANDBY): S.STANDBY,
    (S.ON, T.ABORT): S.OFF,
    (S.OPEN, T.ABORT): S.OFF,
    (S.CLOSE, T.ABORT): S.OFF,
    (S.FAULT, T.RESET): S.STANDBY,
}


@pytest.mark.parametrize(("state", "trigger"), list(itertools.product(State, Trigger)))
def test_each_trigger_in_each_state_leads_where_the_specification_says(state, trigger):
    if trigger is T.FAIL:
        assert advance(state, trigger) is S.FAULT
    elif (state, trigger) in LEGAL:
        assert advance(state, trigger) is LEGAL[state, trigger]
    else:
        with pytest.raises(StateError) as caught:
            advance(state, trigger)
        assert caught.value.state == state
        assert caught.value.allowed == allowed(trigger)
        assert str(caught.value).startswith(f"{trigger.value} is not allowed in state {state};")


def test_the_table_holds_nothing_else():
    assert len(TRANSITIONS) == len(LEGAL) + len(State)


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([], S.STANDBY),
        ([S.STANDBY, S.STANDBY], S.STANDBY),
        ([S.STANDBY, S.OFF], S.OFF),
        ([S.OFF, S.ON], S.ON),
        ([S.ON, S.CLOSE], S.CLOSE),
        ([S.CLOSE, S.OPEN, S.ON], S.OPEN),
        ([S.ON, S.OPEN, S.FAULT], S.FAULT),
    ],
)
def test_the_device_shows_the_first_state_that_any_group_has(states, expected):
    assert aggregate(states) is expected
    assert aggregate(reversed(states)) is expected
