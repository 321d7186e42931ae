"""Text → the entries of the device property ``attributes``: as strict as a configuration.

* accepted  a JSON list, within the limits of `document`; empty text is an empty list
* errors    `ConfigError` with every fault, each with its path, such as ``$[0].data_type``
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..connectors.tango.static_attributes import StaticAttribute
from ..connectors.tango.types import published_name_faults
from ..model.convert import read_as
from ..model.errors import ConfigError, Fault
from ..model.exchanges import MAX_ATTRIBUTES
from ..model.hooks import MAX_FAULTS
from ..model.option import step
from . import document

Entries = tuple[StaticAttribute, ...]


def parse(text: str | bytes) -> Entries:
    """What a property of this text defines.

    Raises:
        ConfigError: with everything that is wrong with it.
    """
    if not text.strip():
        return ()
    value = document.load_list(text)
    entries: list[StaticAttribute] = []
    faults = list(_read(value, entries))
    if len(value) > MAX_ATTRIBUTES:
        faults.append(
            Fault("$", f"expected at most {MAX_ATTRIBUTES} attributes, found {len(value)}")
        )
    if len(faults) > MAX_FAULTS:
        more = Fault("$", f"has {len(faults) - MAX_FAULTS + 1} more faults")
        faults = [*faults[: MAX_FAULTS - 1], more]
    if faults:
        raise ConfigError(faults)
    return tuple(entries)


def faults_of(text: str | bytes) -> tuple[Fault, ...]:
    """The same without raising: what is wrong with it."""
    try:
        parse(text)
    except ConfigError as error:
        return tuple(error.faults)
    return ()


def _read(value: list[Any], entries: list[StaticAttribute]) -> Iterator[Fault]:
    first: dict[str, str] = {}
    for index, item in enumerate(value):
        path = "$" + step(index)
        attempt = read_as(item, StaticAttribute)
        name = item.get("name") if isinstance(item, dict) else None
        found = [*attempt.structure, *attempt.meaning]
        if attempt.failed:  # the name can be judged all the same
            found += published_name_faults(name, "$.name") if isinstance(name, str) else ()
        else:
            found += attempt.made.faults()
            entries.append(attempt.made)
        yield from (fault.below(path) for fault in found)
        if isinstance(name, str):
            before = first.setdefault(name.lower(), path)
            if before != path:
                message = f"the attribute {name[:80]!r} is defined at {before} too"
                hint = "give each a name of its own; case does not count"
                yield Fault(f"{path}.name", message, hint)
