"""Log lines that are alike are counted beyond a number, and none is lost without a word."""

import logging
import math
import re

from hypothesis import given, strategies as st

from queue_connector.runtime.repeats import MOST_ALIKE, PERIOD, Repeats


class Log:
    """Takes records of so many places in the code, and keeps what is to be written."""

    def __init__(self):
        self.now = 0.0
        self.written = []
        self._repeats = Repeats(lambda: self.now)

    def tell(self, place, number, level=logging.INFO):
        record = logging.LogRecord("n", level, "/f.py", place, "%s: %d", (place, number), None)
        self.written += [told.getMessage() for told in self._repeats.sorted_out(record)]

    def end(self):
        self.written += [told.getMessage() for told in self._repeats.summed_up(math.inf)]


def test_few_lines_are_all_written_whatever_their_place():
    log = Log()
    for number in range(MOST_ALIKE):
        log.tell(1, number)
        log.tell(2, number)
    log.end()
    assert log.written == [f"{place}: {n}" for n in range(MOST_ALIKE) for place in (1, 2)]


def test_more_are_summed_up_by_the_last_of_them_with_the_next_line_of_anything():
    log = Log()
    for number in range(MOST_ALIKE + 50):
        log.tell(1, number)
    assert len(log.written) == MOST_ALIKE
    log.now = PERIOD + 0.1
    log.tell(2, 0)
    assert log.written[MOST_ALIKE:] == [
        "1: 149 (the last of 50 lines alike that were left out within 10 s)",
        "2: 0",
    ]


def test_other_levels_of_one_place_are_not_alike():
    log = Log()
    for number in range(MOST_ALIKE + 1):
        log.tell(1, number)
    log.tell(1, 0, logging.ERROR)
    assert log.written[-1] == "1: 0"


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 300), st.sampled_from([0, 1, 11]))))
def test_every_line_is_written_or_counted(bursts):
    log, told = Log(), 0
    for place, lines, later in bursts:
        for number in range(lines):
            log.tell(place, number)
        told += lines
        log.now += later
    log.end()
    counted = 0
    for line in log.written:
        sums = re.search(r"the last of (\d+) lines alike", line)
        counted += int(sums.group(1)) if sums else 1
    assert counted == told
