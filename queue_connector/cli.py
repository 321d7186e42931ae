"""The command line tool ``queue-connector``.

Exit status: 0 well, 1 what was asked for failed (an invalid configuration, a demo that lost
something), 2 misuse of the command line.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from . import __version__, config
from .demo.routes import MOST_DISHES
from .errors import ConfigError, Fault
from .schema import json_schema

DEFAULT_DEVICE = "test-sdp/queueconnector/01"

EPILOG = """\
examples:
  queue-connector demo --seconds 20          watch data flow, nothing else needed
  queue-connector validate my-config.json    find every mistake before it is deployed
  queue-connector serve my-config.json       run the device from a file, without a Tango database
  queue-connector schema > schema.json       for an editor that checks JSON while you type
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the console script; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        status: int = options.run(options)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of our output has gone, e.g. ``| head``
        sys.stderr.close()
        return 0
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="queue-connector",
        description="Carries data live between Tango attributes and Kafka topics.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    serve = commands.add_parser(
        "serve",
        help="run the device from a configuration file, without a Tango database",
        description="Run the Tango device with a configuration from a file. It streams at once; "
        "Ctrl-C stops it in order. The address to connect a client to is printed.",
    )
    serve.add_argument("config", metavar="CONFIG.json", help="the configuration; - for stdin")
    serve.add_argument("--device", default=DEFAULT_DEVICE, metavar="NAME", help="%(default)s")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen at: %(default)s")
    serve.add_argument("--port", type=int, default=0, help="a free one unless given")
    serve.add_argument("-v", "--verbose", action="store_true", help="log DEBUG lines too")
    serve.set_defaults(run=_serve)

    demo = commands.add_parser(
        "demo",
        help="dishes, broker, pipeline and telescope on this machine, live",
        description="Pointings of simulated dishes go from Tango to Kafka, a pipeline sends "
        "offsets back, and a Tango client receives them. At the end what went in and what came "
        "out is compared; anything lost is an error.",
    )
    demo.add_argument(
        "--seconds", type=_positive, metavar="S", help="stop by itself after S seconds"
    )
    demo.add_argument("--dishes", type=_dishes, default=4, metavar="N", help="%(default)s")
    demo.add_argument("--rate", type=_positive, default=10.0, metavar="HZ", help="of each dish: 10")
    demo.set_defaults(run=_demo)

    validate = commands.add_parser(
        "validate",
        help="check configuration files, and name every fault",
        description="Exit status 0 when every file is valid, 1 when one is not.",
    )
    validate.add_argument("files", nargs="+", metavar="FILE", help="a configuration; - for stdin")
    validate.add_argument(
        "--json", action="store_true", help="print faults as JSON: an object of file to faults"
    )
    validate.set_defaults(run=_validate)

    schema = commands.add_parser("schema", help="print the JSON Schema of configurations")
    schema.set_defaults(run=_schema)
    return parser


def _fail(message: str) -> NoReturn:
    print(f"queue-connector: {message}", file=sys.stderr)
    raise SystemExit(2)


def _read(name: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        _fail(f"cannot read {name}: {error.strerror}")


def _faults(text: bytes) -> tuple[Fault, ...]:
    try:
        config.parse(text)
    except ConfigError as error:
        return error.faults
    return ()


def _validate(options: argparse.Namespace) -> int:
    found = {name: _faults(_read(name)) for name in options.files}
    if options.json:
        told = {
            name: [
                {"path": fault.path, "message": fault.message, "hint": fault.hint}
                for fault in faults
            ]
            for name, faults in found.items()
        }
        print(json.dumps(told, indent=2))
    else:
        for name, faults in found.items():
            print(f"{name}: " + (f"{len(faults)} faults" if faults else "valid"))
            for fault in faults:
                print(f"  {fault}")
    return 1 if any(found.values()) else 0


def _schema(_options: argparse.Namespace) -> int:
    print(json.dumps(json_schema(), indent=2))
    return 0


def _serve(options: argparse.Namespace) -> int:
    text = _read(options.config)
    if faults := _faults(text):
        print(f"{options.config}: {len(faults)} faults; nothing was started", file=sys.stderr)
        for fault in faults:
            print(f"  {fault}", file=sys.stderr)
        return 1

    # Late: importing Tango takes most of a second, which the other commands need not wait for.
    from tango.server import device_property
    from tango.test_context import get_server_host_port

    from .device import SDPQueueConnector, serve

    class Configured(SDPQueueConnector):
        """The device with a configuration of its own, in place of a property in a database."""

        exchanges_json = device_property(dtype=str, default_value=text.decode())

    def tell_address() -> None:
        host, port = get_server_host_port()
        print(f"tango://{host}:{port}/{options.device}#dbase=no", flush=True)

    arguments = ["cli", "-nodb", "-dlist", options.device]
    arguments += ["-ORBendPoint", f"giop:tcp:{options.host}:{options.port}"]
    if options.verbose:
        arguments.append("-v4")
    return serve(arguments, Configured, on_ready=tell_address)


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number above 0, found {text}")
    return value


def _dishes(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= MOST_DISHES:
        raise argparse.ArgumentTypeError(f"expected 1 to {MOST_DISHES}, found {text}")
    return int(text)


def _demo(options: argparse.Namespace) -> int:
    from .demo.run import run_demo

    return run_demo(seconds=options.seconds, dishes=options.dishes, rate=options.rate)
