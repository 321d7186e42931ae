"""The page of the benchmarks is what its figures say."""

import json

from benchmarks.blackbox.goals import Goal, goals, growth
from benchmarks.blackbox.page import FOLDER, page

FIGURES = {
    "burst": {
        "connector": [{"burst": 20.0, "burst_cpu": 30.0}, {"burst": 10.0, "burst_cpu": 30.0}]
    },
    "streams_1": {"connector": [{"us": 100.0}]},
    "streams_300": {"connector": [{"us": 250.0}]},
    "kafka_to_tango": {"connector": [{"rate": 9.0}], "bare": [{"rate": 10.0}]},
}


def test_the_page_the_plot_and_the_figures_belong_together():
    found = json.loads((FOLDER / "benchmarks.json").read_text())
    assert (FOLDER / "benchmarks.md").read_text() == page(found)
    assert (FOLDER / "benchmarks.svg").read_text().startswith("<?xml")


def test_goals_are_judged_by_medians_and_ratios_of_what_was_run():
    assert [(goal.load, goal.figure, goal.met) for goal in goals(FIGURES)] == [
        ("burst", 15.0, True),
        ("burst", 30.0, False),
        ("streams_300", 2.5, False),
        ("kafka_to_tango", 0.9, True),
    ]
    assert growth(FIGURES, "streams") == [(1, 100.0), (300, 250.0)]


def test_a_goal_that_is_not_met_says_so():
    assert Goal("load", "CPU / bare", 1.5, 1.3).row().endswith("| ≤ 1.3 | 1.5 | **no** |")
    assert Goal("load", "rate / bare", 1.5, 1.3, at_least=True).row().endswith("| yes |")
