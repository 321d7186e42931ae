"""The table of pauses: what is written of a run, and where."""

from __future__ import annotations

import attrs

from tests.faults.pauses import BEGIN, END, PAGE, Pause, load, save, table, write_page

PAUSE = Pause(peer="another broker", fault="mute", stream=21, read=4, state=3, command=2)


def test_pauses_survive_being_written_and_a_new_one_takes_the_place_of_the_old(tmp_path):
    path = tmp_path / "pauses.json"
    save([PAUSE, attrs.evolve(PAUSE, fault="slow")], path)
    save([attrs.evolve(PAUSE, stream=900)], path)
    assert [(pause.fault, pause.longest) for pause in load(path)] == [("mute", 900), ("slow", 21)]


def test_a_table_names_each_peer_once():
    lines = table([PAUSE, attrs.evolve(PAUSE, fault="slow")]).splitlines()
    assert lines[2:] == [
        "| another broker | mute | 21 | 4 | 3 | 2 |",
        "|  | slow | 21 | 4 | 3 | 2 |",
    ]


def test_the_page_keeps_what_is_around_the_table(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    write_page([PAUSE], page)
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert PAUSE.markdown() in text
    assert "old" not in text


def test_the_page_has_a_place_for_the_table():
    assert PAGE.read_text().count(BEGIN) == PAGE.read_text().count(END) == 1
