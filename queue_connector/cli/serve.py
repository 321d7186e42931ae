"""``serve``: the device without a Tango database, from a file or a configuration database."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from .. import configdb
from ..model.errors import ConfigError
from ..runtime.process import hold_signals, signals_held
from .common import (
    DEFAULT_DEVICE,
    ENVIRONMENT,
    Commands,
    device_name,
    faults,
    misuse,
    path,
    port,
    read,
    tell,
)


def add_to(commands: Commands, words: str) -> None:
    """Declare the command."""
    serve = commands.add_parser(
        "serve",
        help=words,
        description="Run the Tango device with a configuration from a file, or with those that "
        "the configuration database holds below a path, now and whenever they change, or with "
        "the flows of a subarray. "
        f"{ENVIRONMENT} It streams at once; Ctrl-C stops it in order. The address to connect a "
        "client to is printed.",
    )
    serve.add_argument(
        "config", nargs="?", metavar="CONFIG.json", help="the configuration; - for stdin"
    )
    serve.add_argument(
        "--config-path",
        type=path,
        metavar="PATH",
        help="watch this path of the configuration database instead, e.g. /component/name/owner",
    )
    serve.add_argument(
        "--standby",
        action="store_true",
        help="with --config-path or --subarray: wait while another device streams the same, and "
        "take over when it has gone",
    )
    serve.add_argument(
        "--subarray",
        metavar="ID",
        help="carry the flows of this subarray that the configuration database holds, e.g. 01",
    )
    serve.add_argument(
        "--device", type=device_name, default=DEFAULT_DEVICE, metavar="NAME", help="%(default)s"
    )
    _add_addresses(serve)
    serve.add_argument("-v", "--verbose", action="store_true", help="log DEBUG lines too")
    serve.set_defaults(run=run)


def _add_addresses(serve: argparse.ArgumentParser) -> None:
    """Where clients find the device and its metrics."""
    serve.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen at, 0.0.0.0 for every one of the machine: %(default)s",
    )
    serve.add_argument("--port", type=port, default=0, help="a free one unless given")
    serve.add_argument(
        "--event-port",
        type=port,
        default=0,
        metavar="PORT",
        help="where events are sent from, and heartbeats at the port after it; free ones unless "
        "given. Clients connect to them too, so a firewall or a container must let them through",
    )
    serve.add_argument(
        "--publish",
        metavar="HOST",
        help="the address that clients are told, where they reach it by another than --host",
    )
    serve.add_argument(
        "--metrics-port",
        type=port,
        default=0,
        metavar="PORT",
        help="serve a status page, /metrics, /live and /ready at this port; none unless given",
    )
    serve.add_argument(
        "--metrics-host", default="127.0.0.1", metavar="HOST", help="address of it: %(default)s"
    )


def run(options: argparse.Namespace) -> int:
    """Serve until told to end."""
    given = [options.config, options.config_path, options.subarray]
    if sum(each is not None for each in given) != 1:
        misuse(
            "give one of CONFIG.json, --config-path PATH and --subarray ID; "
            "see queue-connector serve --help"
        )
    if options.standby and options.config is not None:
        misuse("--standby: give --config-path or --subarray too, which says what to stand by for")
    if options.config is None:
        if options.config_path is not None and "{}" in options.config_path:
            misuse("--config-path: write what {} stands for, there is no subarray_id here")
        if options.subarray is not None and not options.subarray.isalnum():
            misuse(f"--subarray: expected letters and digits, e.g. 01, found {options.subarray!r}")
        try:
            configdb.from_environment()
        except ConfigError as error:
            return tell("environment", error.faults, "nothing was started")
        return _serve(options)
    text = read(options.config)
    if found := faults(text):
        return tell(options.config, found, "nothing was started")
    return _serve(options, lines=(text.decode(),))


def _serve(options: argparse.Namespace, *, lines: Sequence[str] = ()) -> int:
    endpoint = _endpoint(options)
    hold_signals()  # until the server heeds them
    # Late: importing Tango takes most of a second, which the other commands need not wait for.
    from tango.server import device_property
    from tango.test_context import get_server_host_port

    from ..device.device import SDPQueueConnector
    from ..device.prerequisites import EVENT_PORTS
    from ..device.server import serve

    class Configured(SDPQueueConnector):
        """The device with properties of its own, in place of those in a database."""

        exchanges_json = device_property(dtype=(str,), default_value=lines)
        exchanges_config_path = device_property(dtype=str, default_value=options.config_path or "")
        standby = device_property(dtype=str, default_value=str(options.standby))
        subarray_id = device_property(dtype=str, default_value=options.subarray or "")
        metrics_port = device_property(dtype=str, default_value=str(options.metrics_port))
        metrics_host = device_property(dtype=str, default_value=options.metrics_host)

    def tell_address() -> None:
        host, port = get_server_host_port()
        # With its end in one write: groups log at the same time, and into the same file perhaps.
        sys.stdout.write(f"tango://{host}:{port}/{options.device}#dbase=no\n")
        sys.stdout.flush()

    if options.event_port:
        for offset, variable in enumerate(EVENT_PORTS):
            os.environ[variable] = str(options.event_port + offset)
    arguments = ["cli", "-nodb", "-dlist", options.device, *endpoint]
    if options.verbose:
        arguments.append("-v4")
    return serve(arguments, Configured, on_ready=tell_address)


def _endpoint(options: argparse.Namespace) -> list[str]:
    """Where the server listens, as the options of omniORB that Tango takes."""
    with signals_held():
        from ..device.prerequisites import listening_complaint

    everywhere = options.host in ("", "*", "0.0.0.0")
    ports = [options.port]
    if options.event_port:
        ports += [options.event_port, options.event_port + 1]
    if options.publish is not None and not options.port:
        misuse("--publish: give --port too, which clients are told as well")
    if len(set(ports)) < len(ports) or max(ports) >= 1 << 16:
        misuse("--event-port: it takes this port and the next one; --port must be another")
    for number in ports:
        if complaint := listening_complaint("" if everywhere else options.host, number):
            where = f"{options.host} port {number}" if number else options.host
            misuse(f"cannot listen at {where}: {complaint}")
    arguments = ["-ORBendPoint", f"giop:tcp:{'' if everywhere else options.host}:{options.port}"]
    if options.publish is not None:
        arguments += ["-ORBendPointPublish", f"giop:tcp:{options.publish}:{options.port}"]
    return arguments
