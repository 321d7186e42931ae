"""Which server a device is on: in its name, or told by the Tango database.

* thread    a hop for each device that the database is asked for, once it has just answered
* units     seconds
* errors    `EndpointError`: the database does not answer, or does not know a server for the device
* source    PyTango manual, "Database API"
"""

from __future__ import annotations

import os
from typing import Any

import tango

from ...model.errors import EndpointError
from ...runtime.worker import Worker
from .client import thread_context
from .failures import endpoint_error
from .locate import Address, DeviceName, address_of_ior, reach

_DATABASE_KEY = "database"
"""The key under which a database's server has its object."""


class Directory:
    """Finds the servers of devices, and remembers them until told to forget."""

    def __init__(self) -> None:
        self._found: dict[str, Address] = {}
        self._databases: dict[Address, Any] = {}
        self._worker = Worker(thread_context)

    async def find(self, name: str) -> Address:
        """Where the server of a device is.

        Raises:
            EndpointError: nobody knows, at the moment.
        """
        found = self._found.get(name)
        if found is not None:
            return found
        parsed = DeviceName.parse(name)
        if parsed.database:
            database = parsed.at or default_database()
            await reach(database, _DATABASE_KEY)
            found = await self._worker.run(self._look_up, database, parsed.device)
        elif parsed.at is None:
            raise EndpointError(name, "name", "without a database, it needs a host and a port")
        else:
            found = parsed.at
        self._found[name] = found
        return found

    def forget(self, name: str) -> None:
        """Its server has gone, and may come back elsewhere."""
        self._found.pop(name, None)

    def _look_up(self, at: Address, device: str) -> Address:
        try:
            database = self._databases.get(at)
            if database is None:
                database = self._databases[at] = tango.Database(at.host, at.port)
            info = database.get_device_info(device)
        except tango.DevFailed as error:
            self._databases.pop(at, None)
            raise endpoint_error(device, "asking the Tango database", error) from None
        except Exception as error:  # whatever it is, the next try may be luckier
            self._databases.pop(at, None)
            reason = f"unexpected {error!r}"
            raise EndpointError(device, "asking the Tango database", reason) from error
        if not info.exported:
            raise EndpointError(device, "asking the Tango database", "its server is not running")
        return address_of_ior(info.ior)


def default_database() -> Address:
    """The database that this process uses, the first if there are several.

    Raises:
        EndpointError: there is none.
    """
    named = os.environ.get("TANGO_HOST") or tango.ApiUtil.get_env_var("TANGO_HOST") or ""
    first = str(named).partition(",")[0].strip()
    host, _, port = first.rpartition(":")
    if not (host and port.isdigit()):
        raise EndpointError("Tango database", "asking for a device", "TANGO_HOST names none")
    return Address(host, int(port))
