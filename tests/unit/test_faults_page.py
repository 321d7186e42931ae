"""The page of faults explains what its table holds, and holds what it explains."""

from __future__ import annotations

import attrs
import pytest

from tests.faults.rows import BEGIN, END, PAGE, Row, explained, load, save, table, write_page

ROW = Row(
    fault="broker stopped",
    pair="Kafka → Kafka",
    sent=3,
    out=2,
    duplicated=0,
    lost=1,
    counted={"failed": 1},
    recovered=0.25,
)


def test_the_table_of_the_page_has_every_fault_that_is_explained():
    text = PAGE.read_text()
    lines = text.split(BEGIN)[1].split(END)[0].strip().splitlines()[2:]
    faults = [fault for line in lines if (fault := line.split("|")[1].strip())]
    assert faults == explained(text)
    assert len(faults) >= 12


def test_rows_survive_being_written_and_those_of_other_runs_stay(tmp_path):
    path = tmp_path / "faults.json"
    other = attrs.evolve(ROW, fault="broker killed", recovered=None)
    save([ROW], path)
    save([other, attrs.evolve(other, pair="Tango → Kafka")], path)
    save([attrs.evolve(ROW, lost=0)], path)
    assert [(row.fault, row.lost) for rows in load(path).values() for row in rows] == [
        ("broker stopped", 0),
        ("broker killed", 1),
        ("broker killed", 1),
    ]


def test_a_table_names_each_fault_once():
    lines = table([ROW, attrs.evolve(ROW, pair="Tango → Kafka")]).splitlines()
    assert lines[2] == "| broker stopped | Kafka → Kafka | 3 | 2 | 0 | 1 | failed: 1 | 0.2 |"
    assert lines[3].startswith("|  | Tango → Kafka |")


def test_a_fault_that_is_not_explained_is_refused(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"broker killed\n: It is.\n\n{BEGIN}\n{END}\n")
    with pytest.raises(ValueError, match=r"broker killed.*broker stopped"):
        write_page([ROW], page)
