"""What stands in the log, whatever came from outside."""

import logging
import sys

from queue_connector.runtime.logs import SKAFormatter


def formatted(message, error=None):
    try:
        raise error or ValueError
    except ValueError:
        exc_info = sys.exc_info() if error else None
    record = logging.LogRecord("n", logging.INFO, "/f.py", 1, message, (), exc_info, "function")
    return SKAFormatter().format(record)


def test_a_message_cannot_forge_a_line_nor_write_to_the_terminal():
    told = formatted("group a\n1|2026-01-01T00:00:00.000Z|INFO|forged\x1b[2J")
    assert len(told.splitlines()) == 1
    assert told.isprintable()
    assert "forged\\x1b[2J" in told


def test_the_text_of_an_error_cannot_either():
    told = formatted("it failed", ValueError("no\n1|2026-01-01T00:00:00.000Z|INFO|forged\x1b[2J"))
    first, *traceback = told.splitlines()
    assert first.startswith("1|")
    assert "Traceback (most recent call last):" in traceback[0]
    assert all(line.startswith("  ") and line.isprintable() for line in traceback)


def test_a_huge_message_or_error_is_cut():
    assert len(formatted("x" * 5_000_000)) < 20_000
    assert len(formatted("it failed", ValueError("x" * 5_000_000))) < 40_000
