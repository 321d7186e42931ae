"""The dashboard and the alert rules name nothing that a device does not tell."""

import json
import re

import pytest
import trio
import yaml
from prometheus_client.parser import text_string_to_metric_families

from queue_connector.configuration.document import parse
from queue_connector.connector import open_connector
from queue_connector.observability.exposition import Exposition
from queue_connector.observability.metrics import FAMILIES
from tests.support.charts import CHART

FILES = CHART / "files"
DASHBOARD = json.loads((FILES / "dashboard.json").read_text("utf-8"))
RULES = [
    rule
    for group in yaml.safe_load((FILES / "alerts.yaml").read_text("utf-8"))["groups"]
    for rule in group["rules"]
]
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
OF_PROMETHEUS = {"job", "instance", "le"}
"""Labels that Prometheus gives to what it reads, and the one of each histogram's buckets."""

WORDS = {
    *("and", "or", "unless", "on", "by", "offset", "sum", "max", "time", "vector", "rate", "deriv"),
    *("increase", "changes", "max_over_time", "histogram_quantile", "label_values"),
}
"""What of an expression is no metric: operators and functions."""


def metrics_of(expression):
    """Each metric in an expression, and the labels that the expression names."""
    for variable in "$__rate_interval", "$instance", "$group":
        expression = expression.replace(variable, "1m")
    labels = re.findall(r"[{,]\s*(\w+)\s*(?:=~|!~|!=|=)", expression)
    for listed in re.findall(r"\b(?:on|by) \(([^)]*)\)", expression):
        labels += [label.strip() for label in listed.split(",")]
    bare = re.sub(r"\{[^}]*\}|\[[^]]*\]|\b(?:on|by) \([^)]*\)", " ", expression)
    bare = re.sub(r"\boffset \w+", " ", bare)
    if bare.startswith("label_values("):
        bare, _, label = bare.rpartition(",")
        labels.append(label.strip(" )"))
    names = {*re.findall(r"(?<![\w.])[a-z_]\w*", bare)} - WORDS
    return names, {*labels}


def shown(template):
    """The labels that a legend or an annotation shows."""
    return {*re.findall(r"\{\{\s*(?:\$labels\.)?(\w+)\s*\}\}", template)}


EXPRESSIONS = [
    *(
        pytest.param(target["expr"], shown(target["legendFormat"]), id=panel["title"])
        for panel in PANELS
        for target in panel["targets"]
    ),
    *(
        pytest.param(rule["expr"], shown(" ".join(rule["annotations"].values())), id=rule["alert"])
        for rule in RULES
    ),
    *(
        pytest.param(variable["definition"], set(), id=variable["name"])
        for variable in DASHBOARD["templating"]["list"]
        if variable["type"] == "query"
    ),
]


EXCHANGE = {
    "dtype": "int64",
    "source": {"type": "InMemorySource", "data": [1, 2]},
    "sink": {"type": "InMemorySink", "key": "test_monitoring"},
}


async def exposed():
    """What a connector that has carried something answers to Prometheus."""
    async with open_connector() as connector:
        await connector.run(parse(json.dumps({"exchanges": {"g": [EXCHANGE]}})))
        _, answer = await Exposition(connector.snapshot).answer("")
        return answer.decode()


@pytest.fixture(scope="module")
def told():
    """The labels of each metric that a device tells, by its name; ``up`` is Prometheus's own."""
    declared = {family.name: {*family.labels} for family in FAMILIES}
    names = {"up": set()}
    for family in text_string_to_metric_families(trio.run(exposed)):
        for name in family.name, f"{family.name}_total":
            if name in declared:
                names[name] = declared[name]
        for sample in family.samples:
            names[sample.name] = {*sample.labels}
    assert names["queue_connector_delivered_total"] == {"group", "exchange"}
    return names


@pytest.mark.parametrize(("expression", "shown"), EXPRESSIONS)
def test_every_metric_and_every_label_is_one_of_the_device(told, expression, shown):
    names, labels = metrics_of(expression)
    assert names
    assert names <= told.keys()
    known = OF_PROMETHEUS.union(*(told[name] for name in names))
    assert labels <= known
    assert shown <= known


def test_the_reader_of_expressions_finds_what_is_there():
    text = 'sum by (group) (rate(a_total{x=~"$group", y="b"}[5m] offset 10m)) > 2 and on (z) b'
    assert metrics_of(text) == ({"a_total", "b"}, {"group", "x", "y", "z"})
    assert metrics_of('label_values(a{x=~"$instance"}, l)') == ({"a"}, {"x", "l"})
    assert shown("{{x}} is {{ $labels.y }}, {{ $value | humanize1024 }}") == {"x", "y"}


def test_each_kind_of_trouble_that_is_told_has_an_alert():
    watched = set().union(*(metrics_of(rule["expr"])[0] for rule in RULES))
    troubles = ("waiting", "fault", "degraded", "dropped", "failed", "slow", "cut", "lost")
    for family in FAMILIES:
        name = family.name.removeprefix("queue_connector_")
        if name.removeprefix("source_").removeprefix("sink_").startswith(troubles):
            of_the_exchange = re.sub("connector_(source|sink)_", "connector_", family.name)
            assert {family.name, of_the_exchange} & watched, family.name


def test_a_rule_says_how_bad_it_is_and_what_to_do():
    assert len({rule["alert"] for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
        assert rule["annotations"].keys() == {"summary", "description"}


def test_the_dashboard_is_one_that_grafana_takes():
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    taken = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
    for panel in PANELS:
        assert panel["datasource"]["uid"] == "${datasource}"
        ids = [target["refId"] for target in panel["targets"]]
        assert len({*ids}) == len(ids)
