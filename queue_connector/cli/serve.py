"""``serve``: the device without a Tango database, from a file or a configuration database."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .. import configdb
from ..errors import ConfigError
from .common import DEFAULT_DEVICE, ENVIRONMENT, faults, misuse, path, read, tell

if TYPE_CHECKING:
    from .common import Commands


def add_to(commands: Commands) -> None:
    """Declare the command."""
    serve = commands.add_parser(
        "serve",
        help="run the device without a Tango database",
        description="Run the Tango device with a configuration from a file, or with those that "
        "the configuration database holds below a path, now and whenever they change. "
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
    serve.add_argument("--device", default=DEFAULT_DEVICE, metavar="NAME", help="%(default)s")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen at: %(default)s")
    serve.add_argument("--port", type=int, default=0, help="a free one unless given")
    serve.add_argument(
        "--metrics-port",
        type=_port,
        default=0,
        metavar="PORT",
        help="serve metrics over HTTP at this port, at /metrics; none unless given",
    )
    serve.add_argument(
        "--metrics-host", default="127.0.0.1", metavar="HOST", help="address of it: %(default)s"
    )
    serve.add_argument("-v", "--verbose", action="store_true", help="log DEBUG lines too")
    serve.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Serve until told to end."""
    if (options.config is None) is (options.config_path is None):
        misuse("give either a CONFIG.json or --config-path PATH; see queue-connector serve --help")
    if options.config_path is not None:
        if "{}" in options.config_path:
            misuse("--config-path: write what {} stands for, there is no subarray_id here")
        try:
            configdb.from_environment()
        except ConfigError as error:
            return tell("environment", error.faults, "nothing was started")
        return _serve(options, config_path=options.config_path)
    text = read(options.config)
    if found := faults(text):
        return tell(options.config, found, "nothing was started")
    return _serve(options, lines=(text.decode(),))


def _serve(options: argparse.Namespace, *, lines: Sequence[str] = (), config_path: str = "") -> int:
    # Late: importing Tango takes most of a second, which the other commands need not wait for.
    from tango.server import device_property
    from tango.test_context import get_server_host_port

    from ..device import SDPQueueConnector
    from ..server import serve

    class Configured(SDPQueueConnector):
        """The device with properties of its own, in place of those in a database."""

        exchanges_json = device_property(dtype=(str,), default_value=lines)
        exchanges_config_path = device_property(dtype=str, default_value=config_path)
        metrics_port = device_property(dtype=int, default_value=options.metrics_port)
        metrics_host = device_property(dtype=str, default_value=options.metrics_host)

    def tell_address() -> None:
        host, port = get_server_host_port()
        print(f"tango://{host}:{port}/{options.device}#dbase=no", flush=True)

    arguments = ["cli", "-nodb", "-dlist", options.device]
    arguments += ["-ORBendPoint", f"giop:tcp:{options.host}:{options.port}"]
    if options.verbose:
        arguments.append("-v4")
    return serve(arguments, Configured, on_ready=tell_address)


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) >= 1 << 16:
        raise argparse.ArgumentTypeError(f"expected a port, 0 to 65535, found {text}")
    return int(text)
