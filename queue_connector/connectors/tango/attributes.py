"""The attributes that a device publishes data as: made, kept, pushed and removed while it runs.

`DynamicAttributes` is the `descriptors.AttributeHost` on a Tango device. Tango is called from one
`lane.Lane` only, one job per batch; reads are served from what is stored here and wait for
nobody.

* keeping   an attribute that is wanted again with the same type and shape is not touched, so its
            subscribers and its last value stay; before the first datum it reads as its default
* changing  each of these crashed: removal that cleans a database that is not there; removal of
            an attribute that is read and has no serialisation model of its own; a change of the
            list of attributes while a reader looks one up, or while clients are told of one, see
            `interface`
* polling   Tango stops the polling of an attribute that is removed, and waits for a thread that
            waits for the device's monitor; so it is stopped before the monitor is taken
* returning an attribute that is made anew has its subscribers again, see `returning`; not where it
            was made by `define_now`
* values    are cast by Tango without a word, so only what went through `types.fit` is published
* errors    `EndpointError` for what Tango refuses, or what would take another owner's attribute
* source    PyTango manual, "Dynamic attributes"; ARCHITECTURE, the traps of Tango
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar, TypeVarTuple

import attrs
import tango
import trio

from ...model.datatypes import Data, Kind
from ...model.errors import EndpointError
from ...model.exchanges import MAX_ATTRIBUTES
from ...model.services import PublishedAttribute
from ...runtime.lane import Lane
from . import differences
from .administrator import Administrator
from .current import Current, refused
from .interface import Interface
from .own_events import OwnEvents, is_local
from .returning import Returning
from .static_attributes import StaticAttribute, refusal, unkept
from .subscribers import Subscribers
from .values import Values

log = logging.getLogger(__name__)

Args = TypeVarTuple("Args")
R = TypeVar("R")
T = TypeVar("T")

AT_ONCE = 25
"""Attributes that are added or removed before others have a turn; takes some 15 ms."""

lane_context = tango.EnsureOmniThread
"""What the lane's thread must be inside while it calls Tango."""


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
        self._unkept: list[str] = []
        self._lane: Lane | None = None
        self._own = OwnEvents()
        self._current: dict[str, Current] = {}
        self._values = Values(device, self._current, self._own, self.subscribers)
        self._returning = Returning(self._administrator)
        self._interface = Interface(device, self._returning.stop_polling)

    def use(self, lane: Lane | None) -> None:
        """Call Tango from this lane from now on; its context must be `lane_context`."""
        self._lane = self._values.lane = lane

    def problems(self) -> list[str]:
        """What is to be told of what is not kept as it should be, and of slow subscribers."""
        return [*self._unkept, *self.subscribers.told()]

    def slow_subscribers(self) -> int:
        """How many do not take their events at the moment."""
        return len(self.subscribers.slow())

    def cut_subscribers(self) -> int:
        """How many were cut off for it until now."""
        return self.subscribers.cut

    def owners(self) -> dict[str, tuple[PublishedAttribute, ...]]:
        """What is defined for exchanges, by owner."""
        found: dict[str, list[PublishedAttribute]] = {}
        for current in list(self._current.values()):
            if current.static is not None:
                continue
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
        await self._change(self._remove_all, stale)
        try:
            await self._change(self._add_all, added)
        except EndpointError:
            await self._change(self._take_back, added)
            raise
        if self._returning.waiting:
            await self._do(self._returning.revive, self._current)

    async def publish(self, values: Sequence[tuple[str, Data]]) -> None:
        """Set attributes and push their change and archive events, in order, in one job.

        The values have gone through `types.fit`.

        Raises:
            EndpointError: an attribute is not defined, or Tango refused; those before it are out.
        """
        await self._do(self._values.publish, values)

    def define_now(self, owner: str, wanted: Sequence[PublishedAttribute]) -> None:
        """Do what `define` does, in this thread."""
        self._change_now(*self._compare(owner, wanted))

    def define_static_now(self, wanted: Sequence[StaticAttribute]) -> None:
        """Make the static attributes those wanted, in this thread: add, keep, remove.

        What an exchange has of such a name becomes one of them. Errors are those of `define`.
        """
        found = differences.of_static(self._current, wanted)
        for current, attribute in found.kept:
            self._keep(current, attribute)
        self._check_number(len(self._current) - len(found.stale) + len(found.added))
        self._change_now(found.stale, found.added)
        kept = tango.Util._UseDb and not tango.Util._FileDb
        self._unkept = [] if kept else unkept(wanted)
        for line in self._unkept:
            log.warning("%s", line)

    def own_events(self, device: str, attribute: str, event_type: int) -> OwnEvents | None:
        """Where the events of an attribute come from, if it is this device's."""
        return self._own if is_local(self._device, device, attribute, event_type) else None

    def _change_now(self, stale: Sequence[str], added: Sequence[Current]) -> None:
        self._remove_all(stale)
        try:
            self._add_all(added)
        except EndpointError:
            with contextlib.suppress(EndpointError):  # while the server starts Tango keeps them
                self._take_back(added)
            raise

    def adopt_now(self, other: DynamicAttributes) -> None:
        """Make what another device object of the same name had, with its last values."""
        self._add_all([attrs.evolve(current, made=None) for current in other._current.values()])

    def _compare(
        self, owner: str, wanted: Sequence[PublishedAttribute]
    ) -> tuple[list[str], list[Current]]:
        """The names of what must go, and what must come; what stays has its default."""
        self._check(owner, wanted)
        found = differences.of_owner(self._current, owner, wanted)
        for current, attribute in found.kept:
            self._keep(current, attribute)
        return found.stale, found.added

    @contextlib.contextmanager
    def _interface_held(self) -> Iterator[None]:
        try:
            with self._interface.held():
                yield
        except tango.DevFailed as error:
            raise refused(self._device, "*", error.args[0].desc) from None

    async def _change(self, function: Callable[[Sequence[T]], None], those: Sequence[T]) -> None:
        """Do it in the lane with a few of them at a time, for which others do not wait."""
        for begin in range(0, len(those), AT_ONCE):
            await self._interface.told()
            await self._do(function, those[begin : begin + AT_ONCE])

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
        mine = sum(1 for c in self._current.values() if c.static is None and c.owner == owner)
        named = [self._current.get(attribute.name.lower()) for attribute in wanted]
        fed = sum(1 for current in named if current is not None and current.static is not None)
        self._check_number(len(self._current) - mine + len(wanted) - fed)
        names = self._device.get_device_attr()
        for attribute, current in zip(wanted, named, strict=True):
            if current is not None:
                if current.static is not None:
                    if reason := refusal(current.static, attribute.spec):
                        raise refused(self._device, attribute.name, reason)
                elif current.owner != owner:
                    raise refused(self._device, attribute.name, f"it belongs to {current.owner!r}")
                continue
            try:
                names.get_attr_by_name(attribute.name)
            except tango.DevFailed:
                continue
            raise refused(
                self._device, attribute.name, "the device has one of its own of that name"
            )

    def _check_number(self, number: int) -> None:
        if number > MAX_ATTRIBUTES:
            raise refused(
                self._device,
                "*",
                f"expected at most {MAX_ATTRIBUTES} in all groups together, found {number}",
            )

    def _keep(self, current: Current, attribute: PublishedAttribute) -> None:
        current.keep(attribute)
        self._own.show(attribute.name.lower(), current.value, event=False)

    def _add_all(self, added: Sequence[Current]) -> None:
        if not added:
            return
        with self._interface_held():
            for current in added:
                name = current.attribute.name
                if name.lower() in self._current:
                    raise refused(self._device, name, "it has just been taken by another group")
                self._current[name.lower()] = current
                try:
                    self._add(current)
                except tango.DevFailed as error:
                    raise refused(self._device, name, error.args[0].desc) from None

    def _take_back(self, added: Sequence[Current]) -> None:
        """Remove those of them that were added."""
        names = [current.attribute.name.lower() for current in added]
        mine = zip(names, added, strict=True)
        self._remove_all([name for name, one in mine if self._current.get(name) is one])

    def _remove_all(self, names: Sequence[str]) -> None:
        """Remove those that are there."""
        there = [name for name in names if name in self._current]
        if there:
            self._interface.stop_polling(name for name in there if self._current[name].made)
            with self._interface_held():
                for name in there:
                    self._remove(name)

    def _add(self, current: Current) -> None:
        device, name = self._device, current.attribute.name
        with self._interface.change():
            device.add_attribute(current.declared(self._values.read, self._values.write))
        made = device.get_device_attr().get_attr_by_name(name)
        made.set_attr_serial_model(tango.AttrSerialModel.ATTR_NO_SYNC)
        device.set_change_event(name, True, False)
        device.set_archive_event(name, True, False)
        current.made = made
        self._returning.comes(name.lower())
        if reason := current.misfit():
            raise refused(self._device, name, reason)
        # What is to be is what is, until a client writes; of DevEncoded Tango cannot be told so.
        if current.written and current.attribute.spec.kind is not Kind.BYTES:
            made.set_write_value(current.value)
        self._own.show(name.lower(), current.value)

    def _remove(self, name: str) -> None:
        """Remove one; its record stays where Tango keeps it.

        Raises:
            EndpointError: Tango keeps it.
        """
        if (made := self._current[name].made) is not None:
            try:
                with self._interface.change([name]):
                    self._returning.goes(name, made)
                    self._device.remove_attribute(name, free_it=True, clean_db=tango.Util._UseDb)
            except tango.DevFailed as error:
                raise refused(self._device, name, f"it stays: {error.args[0].desc}") from None
        del self._current[name]
        self._own.hide(name)
