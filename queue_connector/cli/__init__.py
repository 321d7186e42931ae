"""The command line tool ``queue-connector``: one file for each command.

Exit status: 0 well, 1 what was asked for failed (an invalid configuration, a database that does
not answer, a demo that lost something), 2 misuse of the command line, 129 ended as the terminal was
closed, 130 by Ctrl-C, 141 as the reader of the output has gone, 143 by SIGTERM.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import io
import os
import sys
from collections.abc import Callable, Sequence

from ..model.errors import leaves
from ..runtime.process import HELD, INTERRUPTED, end_status, leave, release_signals

COMMANDS = {
    "serve": "run the device without a Tango database",
    "run": "run exchanges without any Tango device",
    "demo": "dishes, broker, pipeline and telescope on this machine, live",
    "init": "write a configuration to begin with, and its tests",
    "validate": "check configuration files, and name every fault",
    "test": "run test cases of configurations, without any service",
    "plan": "print what a configuration would change, without doing it",
    "statistics": "print what became of every datum of a running device",
    "tap": "show data as they pass an exchange of a running device",
    "top": "watch the exchanges of running devices",
    "exchange": "pause, resume or restart one exchange of a running device",
    "doctor": "look whether all is there that a configuration needs",
    "explain": "say why a stream of a running device does not flow",
    "config": "write and read configurations in the configuration database",
    "flows": "print what the connector of a subarray would carry, and why not the rest",
    "graph": "draw the exchanges of a configuration, or of a running device",
    "schema": "print the JSON Schema of configurations or test files",
}
"""Each command, which has a file of its own, and what it does in few words."""

SHELLS = ("bash", "zsh", "fish", "tcsh")
"""The shells that can complete command lines."""

UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EPIPE}
"""What the system says of an output that cannot be written."""

PIPE_CLOSED = 141
"""The exit status where the reader of the output has gone, as shells have it for SIGPIPE."""

EPILOG = """\
examples:
  queue-connector demo --seconds 20          watch data flow, nothing else needed
  queue-connector init                       list what there is to begin with
  queue-connector validate my-config.json    find every mistake before it is deployed
  queue-connector test my-tests.json         see whether it does what you mean
  queue-connector serve my-config.json       run the device from a file, without a Tango database
  queue-connector serve --subarray 01        run the flows of a subarray
  queue-connector run my-config.json         run it without a device, from topic to topic
  queue-connector plan my-config.json --device test-sdp/queueconnector/01
                                             what would change, without doing it
  queue-connector statistics test-sdp/queueconnector/01 --watch 1
                                             what becomes of every datum
  queue-connector tap test-sdp/queueconnector/01 'default[0]' -n 3
                                             the next three data, with their positions
  queue-connector config put /component/name/owner/my_id my-config.json
                                             check it, then write it to the configuration database
  queue-connector schema > schema.json       for an editor that checks JSON while you type
"""


def run() -> int:
    """What the console script does: `main`, with the signals that were held until now.

    What a signal ends does not wait for the threads that still ask somebody.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # it was closed when we began
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115  for as long as we live
        elif isinstance(stream, io.TextIOWrapper):  # a name or an arrow must not end it
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            return main(begin=release_signals)
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        leave(INTERRUPTED)
    except SystemExit as ended:
        if isinstance(ended.code, int) and ended.code in map(end_status, HELD):
            leave(ended.code)
        raise
    except OSError as error:
        if _is_of_the_output(error):
            return _unwritten(error)
        raise


def main(
    arguments: Sequence[str] | None = None, *, begin: Callable[[], None] = lambda: None
) -> int:
    """Do what the command line asks for; returns the exit status.

    *begin* is called once all is imported: libraries have threads by then, which would else take
    the signals, and an import that is interrupted fails in strange ways.
    """
    given = sys.argv[1:] if arguments is None else arguments
    parser = _parser([word for word in given if word in COMMANDS][:1])
    begin()
    options = parser.parse_args(given)
    if misused := _load_plugins(options.plugins):
        return misused
    try:
        status: int = options.run(options)
    except BaseExceptionGroup as errors:
        for error in leaves(errors):  # a nursery wraps them
            if isinstance(error, KeyboardInterrupt | SystemExit) or _is_of_the_output(error):
                raise error from None
        raise
    return status


def _load_plugins(written: str) -> int:
    """Load those that are asked for; the exit status, which is not 0 when one cannot be."""
    if not written and "QUEUE_CONNECTOR_PLUGINS" not in os.environ:
        return 0
    from ..configuration import plugins  # late, as it is seldom needed

    errors = plugins.load(plugins.asked_for([written]))
    for error in errors:
        print(f"queue-connector: {error}", file=sys.stderr)
    return 2 if errors else 0


def _is_of_the_output(error: BaseException) -> bool:
    """Whether the output cannot be written."""
    return isinstance(error, OSError) and error.filename is None and error.errno in UNWRITABLE


def _unwritten(error: OSError) -> int:
    """The exit status where the output could not be written; what is left of it is dropped."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    if isinstance(error, BrokenPipeError):  # the reader of our output has gone, e.g. ``| head``
        return PIPE_CLOSED
    print(f"queue-connector: cannot write the output: {error.strerror}", file=sys.stderr)
    return 1


class _Version(argparse.Action):
    """Tells the version, which takes long to find out: not before somebody wants to know."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from .. import __version__

        print(__version__)
        parser.exit()


class _PrintCompletion(argparse.Action):
    """Tells what has a shell complete command lines, for which every command is looked at."""

    def __call__(
        self, parser: argparse.ArgumentParser, _options: object, shell: object, *_: object
    ) -> None:
        from .completion import script  # late, as it is seldom needed

        print(script(_parser(), str(shell)))
        parser.exit()


def _parser(names: Sequence[str] = tuple(COMMANDS)) -> argparse.ArgumentParser:
    """The parser; of commands that are not among the *names* it knows no more than that they are.

    To know more takes half a second: what a command needs is imported with it.
    """
    parser = argparse.ArgumentParser(
        prog="queue-connector",
        description="Carries data live between Tango attributes and Kafka topics.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--version",
        action=_Version,
        nargs=0,
        default=argparse.SUPPRESS,
        help="show program's version number and exit",
    )
    parser.add_argument(
        "--plugins",
        default="",
        metavar="NAMES",
        help="installed distributions whose sources, sinks, pipes and encodings may be used too, "
        "separated by commas: their code is run. The environment variable "
        "QUEUE_CONNECTOR_PLUGINS does the same",
    )
    parser.add_argument(
        "--print-completion",
        action=_PrintCompletion,
        choices=SHELLS,
        metavar="SHELL",
        default=argparse.SUPPRESS,
        help=f"print what has a shell complete commands, options and files: {', '.join(SHELLS)}",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, words in COMMANDS.items():
        if name in names:
            importlib.import_module(f".{name}", __name__).add_to(commands, words)
        else:
            commands.add_parser(name, help=words)
    return parser
