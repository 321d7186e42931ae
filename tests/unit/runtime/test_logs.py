"""What stands in the log, whatever came from outside."""

import contextvars
import json
import logging
import sys

from queue_connector.runtime.logs import JSONFormatter, SKAFormatter, device_name, exchange_name


def formatted(message, error=None, formatter=SKAFormatter):
    try:
        raise error or ValueError
    except ValueError:
        exc_info = sys.exc_info() if error else None
    record = logging.LogRecord("n", logging.INFO, "/f.py", 1, message, (), exc_info, "function")
    return formatter().format(record)


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


def in_exchange(name, function):
    """What *function* gives where the device and an exchange of this name are known."""

    def run():
        device_name.set("a/b/c")
        exchange_name.set(name)
        return function()

    return contextvars.copy_context().run(run)


def test_the_exchange_is_a_tag_beside_the_device():
    told = in_exchange("group[1]", lambda: formatted("hello"))
    assert "|tango-device:a/b/c,exchange:group[1]|hello" in told


def test_the_name_of_an_exchange_can_part_neither_fields_nor_tags():
    told = in_exchange("a|b,c\n[0]", lambda: formatted("hello"))
    assert told.endswith("|tango-device:a/b/c,exchange:a_b_c; [0]|hello")


def test_a_line_may_be_a_json_object():
    told = in_exchange("g[0]", lambda: formatted("no\nway \x1b", ValueError("x"), JSONFormatter))
    assert len(told.splitlines()) == 1
    assert told.isascii()
    found = json.loads(told)
    assert found.pop("traceback").startswith("Traceback (most recent call last):")
    assert found.pop("time")[-1] == "Z"
    assert found.pop("thread")
    assert found == {
        "level": "INFO",
        "message": "no\nway \x1b",
        "device": "a/b/c",
        "exchange": "g[0]",
        "function": "function",
        "file": "f.py#1",
    }
