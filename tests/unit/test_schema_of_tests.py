"""The schema of test files and their parser agree."""

import copy
import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from queue_connector.cli import main
from queue_connector.model.convert import structure
from queue_connector.model.errors import ConfigError
from queue_connector.testing import cases
from tests.unit.configuration.test_schema import places

ROOT = Path(__file__).parents[2]
VALIDATOR = Draft202012Validator(cases.tests_schema())
FILES = [
    *sorted((ROOT / "docs/how-to/tests").glob("*.json")),
    *sorted((ROOT / "queue_connector/gallery").glob("*.test.json")),
]
OTHERS = [None, True, -1, 0.5, "", "other", [], ["other"], {}, {"other": 1}]

CASE = {"name": "it", "expect": {}}


def readable(value):
    try:
        structure(value, cases.Tests)
    except ConfigError:
        return False
    return True


def with_another(value, place, other):
    changed = copy.deepcopy(value)
    *above, last = place
    inside = changed
    for key in above:
        inside = inside[key]
    inside[last] = other
    return changed


def ids(file):
    return str(file.relative_to(ROOT))


def test_there_are_files_of_both_folders():
    assert len({file.parent for file in FILES}) == 2


@pytest.mark.parametrize("file", FILES, ids=ids)
def test_every_file_of_tests_is_valid(file):
    assert list(VALIDATOR.iter_errors(json.loads(file.read_text()))) == []


@pytest.mark.parametrize("file", FILES, ids=ids)
def test_schema_and_parser_agree_on_what_is_made_of_it(file):
    value = json.loads(file.read_text())
    judged = {True: 0, False: 0}
    for place in places(value):
        for other in OTHERS if place and place[0] != "configuration" else []:
            changed = with_another(value, place, other)
            expected = readable(changed)
            assert VALIDATOR.is_valid(changed) == expected, (place, other)
            judged[expected] += 1
    assert min(judged.values()) > 20


@pytest.mark.parametrize(
    ("wrong", "place"),
    [
        ({"cases": [CASE]}, []),
        ({"configuration": 1, "cases": [CASE]}, ["configuration"]),
        ({"configuration": {"exchange": []}, "cases": [CASE]}, ["configuration"]),
        ({"configuration": "a.json", "cases": []}, ["cases"]),
        ({"configuration": "a.json", "cases": [{"name": "it"}]}, ["cases", 0]),
        ({"configuration": "a.json", "cases": [{**CASE, "given": [{"text": "a"}]}]},
         ["cases", 0, "given", 0]),
        ({"configuration": "a.json", "cases": [{**CASE, "expects": {}}]}, ["cases", 0]),
        ({"configuration": "a.json", "cases": [CASE], "tolerance": -1}, ["tolerance"]),
    ],
)  # fmt: skip
def test_a_wrong_one_is_not_and_the_place_is_told(wrong, place):
    assert [list(error.absolute_path) for error in VALIDATOR.iter_errors(wrong)] == [place]


def test_the_tool_prints_it(capsys):
    assert main(["schema", "--tests"]) == 0
    assert json.loads(capsys.readouterr().out) == cases.tests_schema()
    with pytest.raises(SystemExit):
        main(["schema", "--tests", "--attributes"])
