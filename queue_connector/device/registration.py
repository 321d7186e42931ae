"""Puts a device and its properties into the Tango database, as a deployment wants them.

``python -m queue_connector.device.registration FILE INSTANCE`` waits for the database, and makes
what it holds of the server's INSTANCE what the FILE says:
``{instance: {device: {property: value}}}``, where a value is a text or a list of texts. A property
of ours that the FILE does not name is taken out of the database, so that it has its default again;
those of Tango itself are left alone.

* status    0 the database holds it; 1 it does not; 2 the FILE or the command line cannot be used;
            143 SIGTERM ended it
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import tango

from ..runtime.logs import configure_logging
from ..runtime.process import release_signals
from .device import SDPQueueConnector
from .prerequisites import wait_for_database

SERVER = "SDPQueueConnector"

Properties = Mapping[str, str | Sequence[str]]

_log = logging.getLogger(__name__)


class RegistrationError(Exception):
    """What is wanted cannot be registered; the text is for who wrote it."""


def wanted_devices(text: str, instance: str) -> Mapping[str, Properties]:
    """What a file says of an instance: its devices, each with its properties.

    Raises:
        RegistrationError: it is no such file, or says nothing of the instance.
    """
    try:
        found = json.loads(text)
    except ValueError as error:
        raise RegistrationError(f"no JSON: {error}") from error
    if not isinstance(found, dict) or not isinstance(found.get(instance), dict):
        known = ", ".join(found) if isinstance(found, dict) else "no instance"
        raise RegistrationError(f"nothing is said of the instance {instance!r}; there is {known}")
    devices: Mapping[str, Properties] = found[instance]
    for device, properties in devices.items():
        _check(device, properties)
    return devices


def _check(device: str, properties: object) -> None:
    if not isinstance(properties, dict):
        raise RegistrationError(f"{device}: expected its properties, found {properties!r}")
    known = _properties()
    for name, value in properties.items():
        if name not in known:
            listed = ", ".join(known)
            raise RegistrationError(f"{device}: there is no property {name!r}; there are {listed}")
        texts = value if isinstance(value, list) else [value]
        if not all(isinstance(each, str) for each in texts):
            raise RegistrationError(f"{device}: {name}: expected texts, found {value!r}")


def register(instance: str, devices: Mapping[str, Properties]) -> None:
    """Make the database hold the devices of an instance, with these properties.

    Raises:
        tango.DevFailed: the database does not do it.
    """
    database = tango.Database()
    for name, properties in devices.items():
        found = tango.DbDevInfo()
        found.name, found._class, found.server = name, SERVER, f"{SERVER}/{instance}"
        database.add_device(found)
        for stale in database.get_device_property_list(name, "*").value_string:
            if stale in _properties() and stale not in properties:
                database.delete_device_property(name, stale)
                _log.info("%s: the property %s has its default again", name, stale)
        texts = {key: [v] if isinstance(v, str) else list(v) for key, v in properties.items()}
        if texts:
            database.put_device_property(name, texts)
        _log.info("%s is registered, a device of %s", name, found.server)


def _properties() -> Sequence[str]:
    return list(SDPQueueConnector.TangoClassClass.device_property_list)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it with the arguments of the process."""
    release_signals()  # an init container is process 1, which SIGTERM would else not end
    parser = argparse.ArgumentParser(prog="registration", description="Register a device.")
    parser.add_argument("file", metavar="FILE", type=Path, help="what is wanted, as JSON")
    parser.add_argument("instance", metavar="INSTANCE", help="of the server SDPQueueConnector")
    options = parser.parse_args(arguments)
    configure_logging(logging.INFO)
    try:
        devices = wanted_devices(options.file.read_text("utf-8"), options.instance)
    except (OSError, UnicodeError, RegistrationError) as error:
        _log.error("%s: %s", options.file, getattr(error, "strerror", None) or error)
        return 2
    wait_for_database([options.instance], lambda: False)
    try:
        register(options.instance, devices)
    except tango.DevFailed as error:
        _log.error("not registered: %s", " ".join(error.args[0].desc.split()))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
