"""The requests of Tango's clients, which the ORB can hold back for a moment: none is inside then.

Tango's server looks into lists without a lock that would stop all who do. CORBA has what it takes:
an object adapter that holds requests has the threads that have received one wait before they reach
a device. PyTango does not hand that on, but its ORB exports it.

* before    a request that came before goes on, and is soon where it waits for long: for the
            device's monitor, or its thread for the next one. Nothing tells that of a request; but
            of a thread Linux tells whether it sleeps.
* where     wherever omniORB is a library of its own, as it is in PyTango's wheels. Elsewhere
            requests come in, and those that came before are given `UNTOLD` seconds
* source    CORBA 3.0, "POAManager Interface"; omniORB, ``omniOrbPOAManager``; Linux, ``proc(5)``
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import time
from collections.abc import Iterator
from functools import cache
from typing import Any

from ...runtime import threads
from ...runtime.worker import OneAtATime
from .libraries import loaded

PAUSE, LOOKS, LONGEST = 0.001, 20, 0.5
"""Seconds between two looks at the threads; how many looks they have to be asleep all together,
before it is enough that each was once; and seconds after which nobody is waited for."""

UNTOLD = 0.01
"""Seconds that requests are given where the system does not tell whether their threads sleep."""

FOREIGN = ("rdk:", "ZMQbg")
"""How the names of threads begin that serve no requests: those of librdkafka, and of ZeroMQ."""

log = logging.getLogger(__name__)

_one_at_a_time = OneAtATime()


class ObjectAdapter:
    """What takes the requests of this process."""

    _HOLDING, _ACTIVE = 0, 1

    def __init__(self) -> None:
        self._held: list[int] = []
        try:
            self._find(loaded("libomniORB4"))
        except (OSError, AttributeError, LookupError) as error:
            self._managers: list[int] = []
            log.warning("clients are not held back while attributes come and go: %s", error)

    def _find(self, orb: ctypes.CDLL) -> None:
        pointer, manager = ctypes.c_void_p, "17omniOrbPOAManager"
        self._state = _function(orb, f"{manager}9get_stateEv", ctypes.c_int, pointer)
        self._hold_requests = _function(
            orb, f"{manager}13hold_requestsEb", None, pointer, ctypes.c_bool
        )
        self._accept = _function(orb, f"{manager}8activateEv", None, pointer)
        manager_of = _function(orb, "10omniOrbPOA14the_POAManagerEv", pointer, pointer)
        # Tango's devices are in the second one where there is no database.
        adapters = (
            _function(orb, "10omniOrbPOA7rootPOAEi", pointer, ctypes.c_int)(0),
            _function(orb, "10omniOrbPOA10omniINSPOAEv", pointer)(),
        )
        self._managers = [manager_of(adapter) for adapter in adapters if adapter]

    @contextlib.contextmanager
    def requests_held(self) -> Iterator[None]:
        """Hold them, with those that are under way where they wait; for one thread at a time.

        It is for a thread that has the monitor of the device which they ask. Nothing inside may
        wait for an answer of this process's own devices.
        """
        with _one_at_a_time:
            self._hold()
            try:
                yield
            finally:
                self._activate()

    @contextlib.contextmanager
    def let_go(self) -> Iterator[None]:
        """Take them for a while, inside of `requests_held`."""
        self._activate()
        try:
            yield
        finally:
            self._hold()

    def _hold(self) -> None:
        self._held = [each for each in self._managers if self._state(each) == self._ACTIVE]
        for each in self._held:
            self._hold_requests(each, False)
        _come_to_rest()

    def _activate(self) -> None:
        for each in self._held:
            if self._state(each) == self._HOLDING:  # and not where the server ends
                self._accept(each)


@cache
def object_adapter() -> ObjectAdapter:
    """That of this process; there is none before Tango has made its server."""
    return ObjectAdapter()


def _function(library: ctypes.CDLL, name: str, result: type | None, *arguments: type) -> Any:
    """A function of omniORB's by its name in the ABI."""
    function = library[f"_ZN4omni{name}"]
    function.restype, function.argtypes = result, arguments
    return function


def _come_to_rest() -> None:
    """Wait until the threads that may serve a request sleep."""
    if not threads.are_known():
        time.sleep(UNTOLD)
        return
    end = time.monotonic() + LONGEST
    looks, at_rest, never = 0, 0, _awake()
    while at_rest < 2 and (never or looks < LOOKS) and time.monotonic() < end:
        time.sleep(PAUSE)
        awake = _awake()
        # Who sleeps may wait for one who does not, so what one look has seen is not enough.
        at_rest = 0 if awake else at_rest + 1
        never &= awake
        looks += 1


def _awake() -> set[int]:
    """The threads that do not sleep and may serve a request; one that is in Python is beyond."""
    beyond = threads.in_python()
    return {
        thread.number
        for thread in threads.others()
        if not (thread.asleep or thread.number in beyond or thread.name.startswith(FOREIGN))
    }
