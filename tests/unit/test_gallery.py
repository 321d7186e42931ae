"""The cases to begin with: each is valid, passes its tests, and is on the page."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from queue_connector.cli.init import CASES, GALLERY
from queue_connector.configuration import document
from tests.unit.test_cli import status

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "gallery.md"


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_gallery_has_what_is_listed_and_the_page_shows_it(capsys):
    names = {path.name.partition(".")[0] for path in GALLERY.iterdir() if path.suffix == ".json"}
    assert names == {*CASES}
    assert status("init") == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [*CASES]
    page = PAGE.read_text("utf-8")
    for name, words in CASES.items():
        assert f"## {name}\n\n{words[0].upper()}{words[1:]}.\n" in page
        assert f"gallery/{name}.json" in page
        assert f"gallery/{name}.test.json" in page


@pytest.mark.parametrize("case", CASES)
def test_each_case_is_valid_and_passes_its_tests_under_any_name(case, here, capsys):
    assert status("init", case, "it is.mine.json") == 0
    told = capsys.readouterr().out
    assert status("validate", "it is.mine.json") == 0
    assert status("test", "it is.mine.test.json") == 0
    *_, test, _, last = told.splitlines()
    assert test.strip() == "queue-connector test 'it is.mine.test.json'"
    command = "serve" if case.endswith(("to-attribute", "to-attributes")) else "run"
    assert last.strip() == f"queue-connector {command} 'it is.mine.json'"


def test_every_key_that_is_written_is_explained(here, capsys):
    def written(value, path=""):
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, dict):
                for key, below in item.items():
                    yield from [] if key == "type" else [path + key]
                    yield from written(below, f"{path}{key}.")

    for case in CASES:
        assert status("init", case) == 0
        explained = {line.strip() for line in capsys.readouterr().out.splitlines()}
        assert {*written(document.load(Path(f"{case}.json").read_bytes()))} <= explained


def test_what_is_there_stays(here, capsys):
    case, *_ = CASES
    (here / "a.test.json").write_text("mine")
    assert status("init", case, "a.json") == 1
    assert "a.test.json: it is there already; nothing was written" in capsys.readouterr().err
    assert not (here / "a.json").exists()
    assert (here / "a.test.json").read_text() == "mine"
    assert status("init", case, "b.json", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"written": ["b.json", "b.test.json"]}
    assert status("init", case, "b.json") == 1
    assert status("init", case, "nowhere/c.json") == 1
    assert "nowhere/c.json: cannot be written: " in capsys.readouterr().err
    assert status("init", case, "-") == 0
    assert document.parse(capsys.readouterr().out)
    assert not (here / "-").exists()


def test_a_case_that_is_not_there_is_misuse(here, capsys):
    assert status("init", "topic-to-atribute") == 2
    assert "did you mean 'topic-to-attribute'?" in capsys.readouterr().err
    assert os.listdir(here) == []


def test_a_newcomer_goes_from_nothing_to_a_passed_test(tmp_path):
    def tool(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "queue_connector", *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    assert tool("init", "message-to-attributes").returncode == 0
    assert tool("validate", "message-to-attributes.json").stdout.endswith(": valid\n")
    passed = tool("test", "message-to-attributes.test.json")
    assert (passed.returncode, passed.stderr) == (0, "")
    again = tool("init", "message-to-attributes")
    assert (again.returncode, again.stdout) == (1, "")
    assert len(again.stderr.splitlines()) == 1
