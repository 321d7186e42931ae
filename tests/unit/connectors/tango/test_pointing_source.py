import json
import math

import numpy as np
import pytest

from queue_connector.configuration.document import examine
from queue_connector.connectors.tango.pointing_source import (
    USUAL_DTYPE,
    TangoPointingSubscriptionSourceDescriptor,
    dish_name,
)
from queue_connector.model.datatypes import DataSpec
from queue_connector.model.errors import ConformError
from queue_connector.model.services import Services
from queue_connector.model.timescale import TimeError

USUAL = json.loads(USUAL_DTYPE)
DEVICE = "tango://127.0.0.1:1/mid-dish/dish-manager/ska001#dbase=no"


def describe(device=DEVICE):
    return TangoPointingSubscriptionSourceDescriptor(
        device_name=device, attribute_name="achievedPointing"
    )


def struct(value, dtype=USUAL, device=DEVICE):
    source = describe(device).build(DataSpec(dtype), Services())
    [outcome] = source._convert([(source._members[0], [np.array(value, "f8")])])
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


@pytest.mark.parametrize(
    ("device", "dish"),
    [
        ("mid-dish/dish-manager/ska001", "SKA001"),
        (DEVICE, "SKA001"),
        ("tango://host:10000/mid-dish/dish-manager/SKA100", "SKA100"),
        ("//h:1/a/b/mkt012#dbase=no", "MKT012"),
        ("h:1/ska001/ska001/elevation#dbase=yes", "elevation"),
        ("a/b/ska01", "ska01"),
        ("a/b/ska0011", "ska0011"),
        ("a/b/xska001", "xska001"),
    ],
)
def test_the_dish_is_the_last_member_of_the_device(device, dish):
    assert dish_name(device) == dish


def test_a_pointing_becomes_a_struct_with_dish_and_time():
    made = struct([848_448_037.5, 180.25, 45.0])
    assert made.dtype == DataSpec(USUAL).dtype
    expected = ("SKA001", np.datetime64("2026-11-20T00:00:37.5", "ns"), 180.25, 45.0)
    assert tuple(made.item())[:1] + tuple(made)[1:] == expected


def test_fields_may_have_other_names_orders_and_units():
    dtype = [["el", ">f8"], ["when", "datetime64[ms]"], ["az", "float64"], ["dish", "U6"]]
    made = struct([0.0015, 1.0, 2.0], dtype)
    assert made["when"] == np.datetime64("2000-01-01T00:00:00.002")
    assert (made["az"], made["el"], made["dish"]) == (1.0, 2.0, "SKA001")
    assert struct([0, 1, 2], dtype[:3]).dtype.names == ("el", "when", "az")


def test_a_dish_that_does_not_know_the_time_points_all_the_same():
    made = struct([math.nan, math.nan, 2.0])
    assert np.isnat(made["ts"])
    assert math.isnan(made["az"])
    assert made["el"] == 2.0


def test_the_pointings_of_many_dishes_become_structs_together():
    dishes = [f"a/b/ska{number:03}" for number in range(1, 4)]
    source = TangoPointingSubscriptionSourceDescriptor.build_many(
        [describe(dish) for dish in dishes], DataSpec(USUAL), [Services() for _ in dishes]
    )
    values = [[np.array([number, 1.0, 2.0]), np.array([number, 3.0, 4.0])] for number in range(3)]
    found = source._convert(list(zip(source._members, values, strict=True)))
    assert [row["antenna_name"] for row in found] == [
        name for name in ("SKA001", "SKA002", "SKA003") for _ in range(2)
    ]
    assert [row["az"] for row in found] == [1.0, 3.0] * 3
    assert [str(row["ts"])[:19] for row in found[::2]] == [
        f"2000-01-01T00:00:0{number}" for number in range(3)
    ]


def test_events_without_a_value_are_no_pointings():
    source = describe().build(DataSpec(USUAL), Services())
    assert list(source._convert([])) == []


def test_one_that_is_no_pointing_costs_the_others_nothing():
    source = describe().build(DataSpec(USUAL), Services())
    values = [np.zeros(3), np.zeros(2), "text", np.full(3, math.inf), np.ones(3)]
    first, short, text, endless, last = source._convert([(source._members[0], values)])
    assert (first["az"], last["az"]) == (0.0, 1.0)
    assert isinstance(short, ConformError)
    assert isinstance(text, ConformError)
    assert isinstance(endless, TimeError)


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ([], ConformError),
        ([1, 2], ConformError),
        ([1, 2, 3, 4], ConformError),
        ([[1, 2, 3]], ConformError),
        ([math.inf, 1, 2], TimeError),
        ([1e12, 1, 2], TimeError),
    ],
)
def test_what_is_no_pointing_is_a_data_error(value, error):
    with pytest.raises(error):
        struct(value)


@pytest.mark.parametrize(
    ("dtype", "message"),
    [
        ("float64", "does not carry float64"),
        ("object", "does not carry object"),
        (USUAL[1:2], "expected a field 'az'"),
        (USUAL[:3], "expected a field 'el'"),
        ([*USUAL[2:]], "expected one field of datetime64 for the time, found none"),
        ([*USUAL, ["t2", "datetime64[s]"]], "found ['ts', 't2']"),
        ([*USUAL, ["name", "U8"]], "found ['antenna_name', 'name']"),
        ([*USUAL, ["cross", "float64"]], "nothing for the field 'cross' of 'float64'"),
        ([*USUAL[:3], ["el", "float32"]], "expected float64 for the angle 'el', found 'float32'"),
        ([*USUAL[:3], ["el", "U8"]], "expected float64 for the angle 'el', found 'U8'"),
        ([["antenna_name", "U5"], *USUAL[1:]], "does not go into the 5 characters"),
        ([*USUAL[:3], ["el", "float64", [2]]], "'el' has a shape"),
    ],
)
def test_a_dtype_that_a_pointing_does_not_fill_is_answered_with_the_usual_one(dtype, message):
    found = list(describe().faults(DataSpec(dtype)))
    assert message in found[0].message
    assert all(fault.path == "$" for fault in found)
    assert all(fault.hint == f"the usual dtype is {USUAL_DTYPE}" for fault in found)


def test_the_usual_dtype_is_accepted_and_only_scalar():
    assert list(describe().faults(DataSpec(USUAL))) == []
    for shape in ((2,), (1, 1, 1), (-1,)):
        [fault] = describe().faults(DataSpec(USUAL, shape))
        assert "dimensions" in fault.message


def test_faults_have_their_place_in_the_configuration():
    source = {
        "type": "TangoPointingSubscriptionSource",
        "device_name": "a/b",
        "attribute_name": "x y",
        "etype": 1,
    }
    sink = {"type": "InMemorySink", "key": "k"}
    exchange = {"dtype": "float64", "source": [source], "sink": sink}
    reading = examine(json.dumps({"exchanges": [exchange]}))
    prefix = "$.exchanges[0].source[0]"
    assert [fault.path for fault in reading.faults] == [
        prefix,
        f"{prefix}.device_name",
        f"{prefix}.attribute_name",
        f"{prefix}.etype",
    ]
