"""Plugins: what installed distributions offer beside this one, by their entry points.

* named     by their distributions, as ``pip`` knows them; nothing is loaded that the deployer has
            not named, since it runs code
* loaded    the entry points of the groups `GROUPS`, each a module that registers what it has
* errors    `PluginError`; what other plugins offer is there all the same
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from importlib import metadata

import attrs

from ..model import texts
from ..model.declaration import check_registered, registered
from ..model.errors import QueueConnectorError

GROUPS = (
    "queue_connector.connectors",
    "queue_connector.pipes",
    "queue_connector.codecs",
)
"""Groups of entry points: sources, sinks and error policies; pipes; encodings."""

VARIABLE = "QUEUE_CONNECTOR_PLUGINS"
"""The environment variable that names plugins, separated by commas."""

MAX_REASON = 300
"""Characters of what a plugin has raised that are told."""

_loaded: set[str] = set()


@attrs.define(eq=False, slots=False)
class PluginError(QueueConnectorError):
    """A plugin that was asked for cannot be used."""

    name: str
    reason: str
    hint: str

    def __str__(self) -> str:
        return f"the plugin {self.name!r} {self.reason}; {self.hint}"


def asked_for(lists: Iterable[str] = ()) -> list[str]:
    """The names in these lists and in the environment, separated by commas or blanks."""
    written = ",".join([*lists, os.environ.get(VARIABLE, "")])
    return list(dict.fromkeys(filter(None, re.split(r"[\s,]+", written))))


def load(names: Iterable[str]) -> list[PluginError]:
    """Have these plugins register what they offer; those that cannot be used, and why."""
    errors = []
    for name in names:
        try:
            _load(name)
        except PluginError as error:
            errors.append(error)
    return errors


def _load(name: str) -> None:
    key = re.sub(r"[-_.]+", "-", name).lower()
    if key in _loaded:
        return
    try:
        distribution = metadata.distribution(name)
    except (metadata.PackageNotFoundError, ValueError):
        known = ", ".join(offered()) or "none that offers anything is"
        raise PluginError(name, "is not installed here", f"installed: {known}") from None
    points = [point for point in distribution.entry_points if point.group in GROUPS]
    if not points:
        groups = ", ".join(GROUPS)
        hint = "name the distribution that has them"
        raise PluginError(name, f"has no entry points of the groups {groups}", hint)
    for point in points:
        before = registered()
        try:
            point.load()
            check_registered(before)
        except Exception as error:  # of code that is not ours
            reason = texts.one_line(f"{type(error).__name__}: {error}", MAX_REASON)
            hint = "install another version of it, or leave it out"
            raise PluginError(name, f"cannot be loaded: {point.value}: {reason}", hint) from error
    _loaded.add(key)


def offered() -> list[str]:
    """The names of the installed distributions that could be asked for."""
    return sorted(
        {
            distribution.metadata["Name"]
            for distribution in metadata.distributions()
            if any(point.group in GROUPS for point in distribution.entry_points)
        }
    )
