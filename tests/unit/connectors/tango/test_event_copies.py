import platform

import pytest

from queue_connector.connectors.tango import event_copies


def test_where_it_is_not_known_how_it_says_so_and_nothing_waits(monkeypatch):
    monkeypatch.setattr(event_copies, "_table", None)
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    with pytest.raises(event_copies.CannotCopyError, match=r"not for .*aarch64"):
        event_copies.install()
    assert event_copies.waiting() == 0


def test_the_function_and_its_table_have_room_in_a_page_each():
    assert len(event_copies._CODE) < event_copies._PAGE
