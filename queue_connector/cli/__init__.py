"""The command line tool ``queue-connector``: one file for each command.

Exit status: 0 well, 1 what was asked for failed (an invalid configuration, a database that does
not answer, a demo that lost something), 2 misuse of the command line.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from .. import __version__
from . import config, demo, plan, schema, serve, statistics, validate

EPILOG = """\
examples:
  queue-connector demo --seconds 20          watch data flow, nothing else needed
  queue-connector validate my-config.json    find every mistake before it is deployed
  queue-connector serve my-config.json       run the device from a file, without a Tango database
  queue-connector plan my-config.json --device test-sdp/queueconnector/01
                                             what would change, without doing it
  queue-connector statistics test-sdp/queueconnector/01 --watch 1
                                             what becomes of every datum
  queue-connector config put /component/name/owner/my_id my-config.json
                                             check it, then write it to the configuration database
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
    for command in (serve, demo, validate, plan, statistics, config, schema):
        command.add_to(commands)
    return parser
