"""The attributes that a device publishes data as: made, kept, pushed and removed while it runs.

`DynamicAttributes` is the `descriptors.AttributeHost` on a Tango device. Tango is called from one
`bridge.Lane` only, one job per batch; reads are served from what is stored here and wait for
nobody.

* keeping   an attribute that is wanted again with the same type and shape is not touched, so its
            subscribers and its last value stay; before the first datum it reads as its default
* changing  each of these crashed: removal that cleans a database that is not there; removal of
            an attribute that is read and has no serialisation model of its own; a change of the
            list of attributes while a reader looks one up (`DynamicAttributes._readers_held`)
* polling   Tango stops the polling of an attribute that is removed, and waits for a thread that
            waits for the device's monitor; so it is stopped before the monitor is taken
* returning an attribute that is made anew has no subscribers as far as Tango's server knows, though
            the clients think that they have subscribed: `DynamicAttributes._revive` tells it, and
            has it polled as before
* values    are cast by Tango without a word, so only what went through `types.fit` is published
* errors    `EndpointError` for what Tango refuses, or what would take another owner's attribute
* source    PyTango manual, "Dynamic attributes"; ARCHITECTURE, the traps of Tango
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar, TypeVarTuple

import attrs
import tango
import trio
from tango.server import attribute as tango_attribute

from ...model.datatypes import Data, Kind
from ...model.descriptors import MAX_ATTRIBUTES, PublishedAttribute
from ...model.errors import EndpointError
from ...runtime.bridge import Lane
from .administrator import Administrator
from .subscribers import Subscribers
from .types import dimensions, tango_type, wire

log = logging.getLogger(__name__)

Args = TypeVarTuple("Args")
R = TypeVar("R")
T = TypeVar("T")

_VALID = tango.AttrQuality.ATTR_VALID

SETTLE, SETTLING = 0.002, 5
"""Seconds, and how many times, that reads are held up before the list of attributes is changed."""

AT_ONCE = 25
"""Attributes that are added or removed before others have a turn; takes some 15 ms."""

lane_context = tango.EnsureOmniThread
"""What the lane's thread must be inside while it calls Tango."""


@attrs.define(eq=False)
class _Current:
    """One attribute of the device, and what it reads as."""

    attribute: PublishedAttribute
    owner: str
    reading: tuple[Any, ...]
    """Value, time and quality, as PyTango's ``set_value_date_quality`` takes them."""
    made: Any = None
    """Tango's own attribute, while it is there."""
    published: bool = False

    @classmethod
    def new(cls, attribute: PublishedAttribute, owner: str) -> _Current:
        return cls(attribute, owner, _reading(attribute, attribute.default, time.time()))


def _reading(attribute: PublishedAttribute, value: Data, when: float) -> tuple[Any, ...]:
    parts = wire(value)
    return (*(parts if attribute.spec.kind is Kind.BYTES else (parts,)), when, _VALID)


def _slices(items: Sequence[T]) -> Iterator[Sequence[T]]:
    return (items[begin : begin + AT_ONCE] for begin in range(0, len(items), AT_ONCE))


class DynamicAttributes:
    """The attributes of the exchanges, on one device object.

    It lives as long as the device object does, over every ``Init``; each run of the Trio loop
    brings a lane of its own. The methods that end in ``_now`` are for a thread that is inside a
    call of Tango's, such as ``init_device``, while no lane works.
    """

    def __init__(self, device: Any) -> None:
        self._device = device
        self._administrator = Administrator(device)
        self.subscribers = Subscribers(self._administrator.event_ports)
        self._lane: Lane | None = None
        self._current: dict[str, _Current] = {}
        self._bereaved: dict[str, tuple[str, ...]] = {}  # the kinds of events that were wanted
        self._polled: dict[str, int] = {}  # the periods in ms of those that were polled
        self._returned: set[str] = set()

    def use(self, lane: Lane | None) -> None:
        """Call Tango from this lane from now on; its context must be `lane_context`."""
        self._lane = lane

    def owners(self) -> dict[str, tuple[PublishedAttribute, ...]]:
        """What is defined, by owner."""
        found: dict[str, list[PublishedAttribute]] = {}
        for current in list(self._current.values()):
            found.setdefault(current.owner, []).append(current.attribute)
        return {owner: tuple(attributes) for owner, attributes in found.items()}

    async def define(self, owner: str, wanted: Sequence[PublishedAttribute]) -> None:
        """Make the attributes of *owner* those wanted: add, keep the same ones, remove the rest.

        Others have their turn after every few. Where one cannot be added, none is.

        Raises:
            EndpointError: Tango refused, one of them belongs to somebody else, or there are too
                many; for the last two nothing was touched.
        """
        stale, added = await self._do(self._compare, owner, wanted)
        await self._do(self._stop_polling, stale)
        for some in _slices(stale):
            await self._do(self._remove_all, some)
        try:
            for more in _slices(added):
                await self._do(self._add_all, more)
        except EndpointError:
            for failed in _slices(added):
                await self._do(self._take_back, failed)
            raise
        if self._returned:
            await self._do(self._revive)

    async def publish(self, values: Sequence[tuple[str, Data]]) -> None:
        """Set attributes and push their change and archive events, in order, in one job.

        The values have gone through `types.fit`.

        Raises:
            EndpointError: an attribute is not defined, or Tango refused; those before it are out.
        """
        await self._do(self._publish_now, values)

    def define_now(self, owner: str, wanted: Sequence[PublishedAttribute]) -> None:
        """Do what `define` does, in this thread."""
        stale, added = self._compare(owner, wanted)
        with tango.AutoTangoAllowThreads(self._device):
            self._stop_polling(stale)
        self._remove_all(stale)
        try:
            self._add_all(added)
        except EndpointError:
            self._take_back(added)
            raise

    def adopt_now(self, other: DynamicAttributes) -> None:
        """Make what another device object of the same name had, with its last values."""
        self._add_all([attrs.evolve(current, made=None) for current in other._current.values()])

    def _compare(
        self, owner: str, wanted: Sequence[PublishedAttribute]
    ) -> tuple[list[str], list[_Current]]:
        """The names of what must go, and what must come; what stays has its default."""
        self._check(owner, wanted)
        same, added = set(), []
        for attribute in wanted:
            current = self._current.get(attribute.name.lower())
            if current is not None and current.attribute.same_type(attribute):
                same.add(attribute.name.lower())
                self._keep(current, attribute)
            else:
                added.append(_Current.new(attribute, owner))
        stale = [n for n, c in self._current.items() if c.owner == owner and n not in same]
        return stale, added

    @contextlib.contextmanager
    def _readers_held(self) -> Iterator[None]:
        """Hold the device's monitor, with every client that is reading waiting for it.

        Tango looks a reader's attribute up before it waits for the monitor, in a list that adding
        and removing change without a lock that would stop it: that crashes. A client waits for
        the answer to its one request, so those that read all the time are past that look-up once
        the monitor has been held for a while, and cannot come again.
        """
        try:
            with tango.AutoTangoMonitor(self._device):
                for _ in range(SETTLING if not tango.Util.instance().is_svr_starting() else 0):
                    time.sleep(SETTLE)
                yield
        except tango.DevFailed as error:
            raise self._refused("*", error.args[0].desc) from None

    async def _do(self, function: Callable[[*Args], R], *args: *Args) -> R:
        """Do it in the lane.

        Raises:
            EndpointError: the device is being taken down.
        """
        if self._lane is not None:
            with contextlib.suppress(trio.ClosedResourceError):
                return await self._lane.run(function, *args)
        raise EndpointError(self._device.get_name(), "publishing", "the device is not running")

    def _check(self, owner: str, wanted: Sequence[PublishedAttribute]) -> None:
        """Refuse what is somebody else's, or too many, before anything is touched."""
        others = sum(1 for current in self._current.values() if current.owner != owner)
        if (number := others + len(wanted)) > MAX_ATTRIBUTES:
            raise self._refused(
                "*", f"expected at most {MAX_ATTRIBUTES} in all groups together, found {number}"
            )
        names = self._device.get_device_attr()
        for attribute in wanted:
            key = attribute.name.lower()
            current = self._current.get(key)
            if current is not None:
                if current.owner != owner:
                    raise self._refused(attribute.name, f"it belongs to {current.owner!r}")
                continue
            try:
                names.get_attr_by_name(attribute.name)
            except tango.DevFailed:
                continue
            raise self._refused(attribute.name, "the device has one of its own of that name")

    def _keep(self, current: _Current, attribute: PublishedAttribute) -> None:
        current.attribute = attrs.evolve(attribute, name=current.attribute.name)
        if not current.published:
            current.reading = _reading(attribute, attribute.default, current.reading[-2])

    def _add_all(self, added: Sequence[_Current]) -> None:
        if not added:
            return
        with self._readers_held():
            for current in added:
                name = current.attribute.name
                if name.lower() in self._current:
                    raise self._refused(name, "it has just been taken by another group")
                self._current[name.lower()] = current
                try:
                    self._add(current)
                except tango.DevFailed as error:
                    raise self._refused(name, error.args[0].desc) from None

    def _take_back(self, added: Sequence[_Current]) -> None:
        """Remove those of them that were added."""
        names = [current.attribute.name.lower() for current in added]
        mine = zip(names, added, strict=True)
        self._remove_all([name for name, one in mine if self._current.get(name) is one])

    def _remove_all(self, names: Sequence[str]) -> None:
        """Remove those that are there."""
        if names:
            with self._readers_held():
                for name in names:
                    self._remove(name)

    def _add(self, current: _Current) -> None:
        device, spec, name = self._device, current.attribute.spec, current.attribute.name
        wanted = dimensions(spec)
        device.add_attribute(
            tango_attribute(name=name, dtype=tango_type(spec), fget=self._read, **wanted)
        )
        made = device.get_device_attr().get_attr_by_name(name)
        made.set_attr_serial_model(tango.AttrSerialModel.ATTR_NO_SYNC)
        device.set_change_event(name, True, False)
        device.set_archive_event(name, True, False)
        current.made = made
        if name.lower() in self._bereaved or name.lower() in self._polled:
            self._returned.add(name.lower())
        if (made.get_max_dim_x(), made.get_max_dim_y()) != (
            wanted.get("max_dim_x", 1),
            wanted.get("max_dim_y", 0),
        ):
            raise self._refused(name, "another device of this server has one with another shape")

    def _remove(self, name: str) -> None:
        """Remove one; its record stays where Tango keeps it.

        Raises:
            EndpointError: Tango keeps it.
        """
        current = self._current.get(name)
        if current is None:
            return
        if (made := current.made) is not None:
            kinds = {
                "change": made.change_event_subscribed,
                "archive": made.archive_event_subscribed,
            }
            if wanted := tuple(kind for kind, subscribed in kinds.items() if subscribed()):
                self._bereaved[name] = wanted
            try:
                self._device.remove_attribute(name, free_it=True, clean_db=tango.Util._UseDb)
            except tango.DevFailed as error:
                raise self._refused(name, f"it stays: {error.args[0].desc}") from None
        del self._current[name]

    def _stop_polling(self, names: Iterable[str]) -> None:
        """Have Tango not poll these any more; while nobody holds the device's monitor."""
        for name in names:
            if self._current[name].made is None:
                continue
            if period := self._device.get_attribute_poll_period(name):
                self._polled[name] = period
                try:
                    self._administrator.stop_polling(name)
                except tango.DevFailed as error:  # then its removal does it, and takes longer
                    log.warning("%s is still polled: %s", name, error.args[0].desc)

    def _revive(self) -> None:
        """Give attributes that are back their subscribers, who have no idea that they were gone.

        Tango's clients ask the device that administers the server, and so do we. It is not asked
        while a thread of Tango's waits for this one, hence not by `define_now`.
        """
        try:
            while self._returned:
                name = self._returned.pop()
                if period := self._polled.pop(name, 0):
                    self._administrator.poll(name, period)
                for kind in self._bereaved.pop(name, ()) if name in self._current else ():
                    self._administrator.take_on(name, kind)
        except tango.DevFailed as error:  # then they have to wait until their library notices
            self._returned.clear()
            log.warning("subscribers are not taken on again: %s", error.args[0].desc)

    def _publish_now(self, values: Sequence[tuple[str, Data]]) -> None:
        when, largest = time.time(), 0
        device = self._device
        for name, value in values:
            current = self._current.get(name.lower())
            if current is None:
                raise self._refused(name, "it is not defined")
            reading = _reading(current.attribute, value, when)
            current.reading = reading
            current.published = True
            try:  # who subscribes from now on reads the value when it does
                if current.made.change_event_subscribed():
                    device.push_change_event(name, *reading)
                if current.made.archive_event_subscribed():
                    device.push_archive_event(name, *reading)
            except tango.DevFailed as error:
                raise self._refused(name, error.args[0].desc) from None
            largest = max(largest, getattr(value, "nbytes", 0))
        self.subscribers.pushed(largest)

    def _read(self, _device: Any, attr: Any) -> None:
        """Answer a client, in a thread of Tango's that holds the device's monitor."""
        current = self._current.get(attr.get_name().lower())
        if current is None:
            raise RuntimeError(f"the attribute {attr.get_name()} is being removed")
        attr.set_value_date_quality(*current.reading)

    def _refused(self, name: str, reason: str) -> EndpointError:
        return EndpointError(
            f"{self._device.get_name()}/{name}", "attribute", " ".join(reason.split())
        )
