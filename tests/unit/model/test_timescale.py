import datetime
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, strategies as st

from queue_connector.model.timescale import (
    SKA_EPOCH,
    TimeError,
    ska_ticks,
    tai_of_ska,
    unix_ms,
)

# A time on the TAI scale, the same instant in UTC, and TAI - UTC. From IERS Bulletins C.
PAIRS = [
    ("1972-01-01T00:00:10", "1972-01-01T00:00:00", 10),
    ("1999-12-31T23:59:59", "1999-12-31T23:59:27", 32),
    ("2000-01-01T00:00:00", "1999-12-31T23:59:28", 32),
    ("2012-07-01T00:00:33", "2012-06-30T23:59:59", 34),
    ("2012-07-01T00:00:35", "2012-07-01T00:00:00", 35),
    ("2015-07-01T00:00:34", "2015-06-30T23:59:59", 35),
    ("2015-07-01T00:00:36", "2015-07-01T00:00:00", 36),
    ("2017-01-01T00:00:35.999", "2016-12-31T23:59:59.999", 36),
    ("2017-01-01T00:00:37", "2017-01-01T00:00:00", 37),
    ("2026-11-20T12:00:37.123", "2026-11-20T12:00:00.123", 37),
]
# The first instant of a leap second on the TAI scale, and the midnight that ends it.
LEAP_SECONDS = [
    ("2012-07-01T00:00:34", "2012-07-01"),
    ("2015-07-01T00:00:35", "2015-07-01"),
    ("2017-01-01T00:00:36", "2017-01-01"),
]


def posix_ms(utc: str) -> int:
    moment = datetime.datetime.fromisoformat(utc).replace(tzinfo=datetime.UTC)
    return (moment - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)) // datetime.timedelta(
        milliseconds=1
    )


@pytest.mark.parametrize(("tai", "utc", "ahead"), PAIRS)
@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_known_pairs_convert(tai, utc, ahead, unit):
    assert unix_ms(np.datetime64(tai, unit)) == posix_ms(utc)
    assert np.datetime64(tai) - np.datetime64(utc) == np.timedelta64(ahead, "s")


@pytest.mark.parametrize(("first", "midnight"), LEAP_SECONDS)
def test_a_leap_second_has_the_numbers_of_the_second_after_it(first, midnight):
    start, end = np.datetime64(first, "ns"), posix_ms(midnight)
    inside = start + np.array([0, 1, 500, 999]) * np.timedelta64(1, "ms")
    assert unix_ms(inside).tolist() == [end, end + 1, end + 500, end + 999]
    assert unix_ms(start - np.timedelta64(1, "ns")) == end - 1
    assert unix_ms(start + np.timedelta64(1, "s")) == end


def test_what_is_finer_than_a_millisecond_is_cut_off():
    assert unix_ms(np.datetime64("2026-01-01T00:00:37.000999999")) == posix_ms("2026-01-01")
    assert unix_ms(np.datetime64("2017-01-01T00:00:36.999999999")) == posix_ms("2017-01-01") + 999


def test_arrays_convert_as_their_elements_do():
    tai = np.array([[pair[0] for pair in PAIRS]] * 2, "M8[ns]")
    converted = unix_ms(tai)
    assert converted.dtype == np.int64
    assert converted.tolist() == [[posix_ms(pair[1]) for pair in PAIRS]] * 2
    assert unix_ms(np.empty((0, 2), "M8[s]")).shape == (0, 2)
    assert type(unix_ms(tai[0, 0])) is np.int64


@pytest.mark.parametrize(
    ("time", "reason"),
    [
        (np.datetime64("NaT"), "no time"),
        (np.array(["2026-01-01", "NaT"], "M8[ms]"), "no time"),
        (np.datetime64("1972-01-01T00:00:09.999"), "before 1972"),
        (np.array(["2026-01-01", "1969-01-01"], "M8[ms]"), "1969-01-01.*before 1972"),
        (np.datetime64(2**62, "s"), "out of the range"),
        (np.datetime64(2**40, "Y"), "out of the range"),
        (np.float64(1.0), "only datetime64"),
        (1, "only datetime64"),
    ],
)
def test_what_has_no_unix_time_is_refused(time, reason):
    with pytest.raises(TimeError, match=reason):
        unix_ms(time)


def test_the_epoch_of_ska_times_is_28_s_before_2000_in_utc():
    assert tai_of_ska(0.0) == SKA_EPOCH
    assert unix_ms(tai_of_ska(0.0)) == posix_ms("1999-12-31T23:59:28")


@pytest.mark.parametrize(
    ("seconds", "dtype", "expected"),
    [
        (848_448_037.3, "M8[ms]", "2026-11-20T00:00:37.300"),
        (848_448_037.3, "M8[us]", "2026-11-20T00:00:37.300000"),
        (848_448_037.3, "M8[s]", "2026-11-20T00:00:37"),
        (0.0015, "M8[us]", "2000-01-01T00:00:00.001500"),
        (0.1, "M8[ns]", "2000-01-01T00:00:00.100000000"),
        (-0.1, "M8[ns]", "1999-12-31T23:59:59.900000000"),
        (86399.9, "M8[D]", "2000-01-01"),
        (86399.96, "M8[100ms]", "2000-01-01T23:59:59.900"),
    ],
)
def test_ska_times_are_rounded_once_to_the_unit_wanted(seconds, dtype, expected):
    converted = tai_of_ska(seconds, dtype)
    assert converted.dtype == np.dtype(dtype)
    assert converted == np.datetime64(expected)


@given(st.floats(-9e8, 8e9), st.sampled_from(["s", "ms", "us", "ns"]))
def test_no_ska_time_is_off_by_more_than_half_a_unit(seconds, unit):
    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    try:
        converted = tai_of_ska(seconds, f"M8[{unit}]")
    except TimeError:
        assert unit == "ns"
        assert abs(seconds + 946_684_800) > 9_223_372_035
        return
    exact = (Fraction(seconds) + 946_684_800) * per_second
    assert abs(int(converted.astype("i8")) - exact) <= Fraction(1, 2) + Fraction(1, 10**6)


@given(st.integers(0, 10**9 * 1000))
def test_a_time_that_was_whole_milliseconds_still_is(milliseconds):
    assert tai_of_ska(milliseconds / 1000, "M8[ms]") - SKA_EPOCH == np.timedelta64(
        milliseconds, "ms"
    )


def test_no_number_is_no_time():
    converted = tai_of_ska([0.5, math.nan], "M8[ms]")
    assert np.isnat(converted).tolist() == [False, True]
    assert converted[0] == np.datetime64("2000-01-01T00:00:00.500")
    assert np.isnat(tai_of_ska(math.nan))


@pytest.mark.parametrize(
    ("seconds", "dtype"),
    [
        (math.inf, "M8[ns]"),
        (-math.inf, "M8[s]"),
        (9e9, "M8[ns]"),
        (1e300, "M8[s]"),
        ([0.0, 1e17], "M8[ms]"),
        (0.0, "M8[ps]"),
        (0.0, "M8[as]"),
    ],
)
def test_a_ska_time_out_of_range_is_refused(seconds, dtype):
    with pytest.raises(TimeError, match="out of the range"):
        tai_of_ska(seconds, dtype)


@given(
    st.floats(-1e11, 1e11)
    | st.floats()
    | st.sampled_from([math.nan, math.inf, 0.5, 0.0015, 2.5e-9]),
    st.sampled_from(["s", "ms", "us", "ns", "ps", "10ms", "m", "D"]),
)
def test_one_ska_time_alone_is_what_it_is_among_others(seconds, unit):
    dtype = np.dtype(f"datetime64[{unit}]")
    try:
        [expected] = tai_of_ska([seconds], dtype).astype("i8")
    except TimeError:
        with pytest.raises(TimeError):
            ska_ticks(seconds, dtype)
    else:
        assert ska_ticks(seconds, dtype) == expected
