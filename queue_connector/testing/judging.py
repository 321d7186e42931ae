"""What came of a case beside what it expects: a line for each difference."""

from __future__ import annotations

from collections.abc import Iterator

from ..model import texts
from .cases import Case, Suite, sinks_of
from .clock import run_on_virtual_clock
from .differences import shown, unlike, unlike_sent
from .rehearsal import Found, rehearse


def failures(suite: Suite, case: Case) -> list[str]:
    """Run a case and say what of it is not as it expects; nothing: it has passed."""
    found = run_on_virtual_clock(rehearse, suite.descriptor, case, suite.folder)
    return [
        *_attributes(suite, case, found),
        *_sinks(suite, case, found),
        *_errors(case, found),
    ]


def _attributes(suite: Suite, case: Case, found: Found) -> Iterator[str]:
    for name, expected in case.expect.attributes.items():
        where = f"the attribute {texts.name(name)}"
        key = name.lower()
        value, spec = found.attributes[key], found.specs[key]
        if told := unlike(expected, value, spec, suite.tolerance(case)):
            yield f"{where}: {told}"


def _sinks(suite: Suite, case: Case, found: Found) -> Iterator[str]:
    ends = sinks_of(suite.descriptor)
    for name, expected in case.expect.sinks.items():
        where = f"the sink {texts.name(name)}"
        if (key := name.lower()) in found.specs:
            sent, spec, coding = found.sent[key], found.specs[key], None
        else:
            spec, coding = ends[name][0].spec, ends[name][0].coding
            sent = [each for end in ends[name] for each in found.sent[end.place]]
        for index, (wanted, each) in enumerate(zip(expected, sent, strict=False)):
            if told := unlike_sent(wanted, each, spec, coding, suite.folder, suite.tolerance(case)):
                yield f"{where}: datum {index}: {told}"
        if len(sent) != len(expected):
            more = [shown(each.content) for each in sent[len(expected) :][:1]]
            extra = f", the first beyond them {more[0]}" if more else ""
            yield f"{where}: expected {len(expected)} in all, found {len(sent)}{extra}"


def _errors(case: Case, found: Found) -> Iterator[str]:
    left = list(found.errors)
    for words in case.expect.errors:
        told = next((each for each in left if words in each), None)
        if told is None:
            yield f"expected an error with {words!r}, found none"
        else:
            left.remove(told)
    for told in left:
        yield f"an error: {texts.one_line(told, 500)}"
