"""``demo``: the classic loop on one machine."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from ..demo.routes import MOST_DISHES
from ..runtime.process import signals_held
from .common import Commands, failure, port, positive


def add_to(commands: Commands, words: str) -> None:
    """Declare the command."""
    demo = commands.add_parser(
        "demo",
        help=words,
        description="Pointings of simulated dishes go from Tango to Kafka, a pipeline sends "
        "offsets back, and a Tango client receives them. At the end what went in and what came "
        "out is compared; anything lost is an error.",
    )
    demo.add_argument(
        "--seconds", type=positive, metavar="S", help="stop by itself after S seconds"
    )
    demo.add_argument("--dishes", type=_dishes, default=4, metavar="N", help="%(default)s")
    demo.add_argument("--rate", type=positive, default=10.0, metavar="HZ", help="of each dish: 10")
    demo.add_argument(
        "--metrics-port",
        type=port,
        default=0,
        metavar="PORT",
        help="serve the connector's status page and metrics at this port; none unless given",
    )
    demo.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run it until it has been long enough."""
    with signals_held():
        from ..demo.run import run_demo

    try:
        directory = Path(tempfile.mkdtemp(prefix="queue-connector-demo-"))
    except OSError as error:
        failure(f"nowhere to keep the logs of the demonstration: {error.strerror}; set TMPDIR")
    return run_demo(
        directory,
        seconds=options.seconds,
        dishes=options.dishes,
        rate=options.rate,
        metrics_port=options.metrics_port,
    )


def _dishes(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= MOST_DISHES:
        raise argparse.ArgumentTypeError(f"expected 1 to {MOST_DISHES}, found {text}")
    return int(text)
