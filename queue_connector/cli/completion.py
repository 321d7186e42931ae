"""``--print-completion``: what has a shell complete commands, options and files, by shtab.

The script holds all there is to complete, so that a Tab costs the shell no start of Python.
"""

from __future__ import annotations

import argparse

import shtab

_FILES = {"FILE", "CONFIG.json"}
"""What stands for a file in the help of a command."""


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """What the shell is to read, for this parser and all below it."""
    _complete_files(parser)
    return shtab.complete(parser, shell)


def _complete_files(parser: argparse.ArgumentParser) -> None:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                _complete_files(below)
        elif action.metavar in _FILES:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
