"""The pictures of ``queue-connector graph``, drawn by the real Graphviz and read back."""

import json
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import example, given, settings, strategies as st

from queue_connector.cli import main
from queue_connector.cli.graph import graphviz
from queue_connector.cli.graph.chart import MOST_ENDS, chart
from queue_connector.configuration import document
from queue_connector.model import texts
from tests.support.graphviz import need_dot
from tests.support.pictures import arrows_of, colours_of, texts_of


@pytest.fixture(scope="module")
def dot():
    need_dot()


def attribute(number):
    name = {"device_name": f"mid/dish/{number:04}", "attribute_name": "pointing"}
    return {"type": "TangoSubscriptionSource", **name}


def kafka(kind, topic):
    return {"type": kind, "servers": "kafka", "topic": topic, "encoding": "json"}


def copy(source, sink, **more):
    ends = kafka("KafkaConsumerSource", source), kafka("KafkaProducerSink", sink)
    return {"dtype": "float64", "source": ends[0], "sink": ends[1], **more}


def drawn(tmp_path, exchanges, ending="svg"):
    config, picture = tmp_path / "config.json", tmp_path / f"picture.{ending}"
    config.write_text(json.dumps({"exchanges": exchanges}))
    assert main(["graph", str(config), "--output", str(picture)]) == 0
    return picture.read_bytes()


CHAIN = {
    "one": [copy("a", "b", pipe={"type": "BufferWithTimePipe", "timespan": 1})],
    "two": [copy("b", "c")],
}
CHAIN["one"][0]["sink"]["encoding"] = "npy"
CHAIN["two"][0]["source"]["encoding"] = "npy"


def test_groups_exchanges_topics_and_arrows_are_drawn(dot, tmp_path):
    svg = drawn(tmp_path, CHAIN)
    assert texts_of(svg) == {
        "cluster0": "one",
        "e0": "one[0]float64BufferWithTimePipe",
        "cluster1": "two",
        "e1": "two[0]float64",
        "p0": "the topic 'a'",
        "p1": "the topic 'b'",
        "p2": "the topic 'c'",
    }
    assert arrows_of(svg) == {("p0", "e0"), ("e0", "p1"), ("p1", "e1"), ("e1", "p2")}


def test_a_png_holds_the_colours_of_exchanges_and_of_topics(dot, tmp_path):
    assert colours_of(drawn(tmp_path, CHAIN, "png")) >= {
        (0xDB, 0xE9, 0xF6),
        (0xF6, 0xF0, 0xDB),
    }


HOSTILE = [
    '"quoted" \\" \\',
    "\\N \\G \\L \\l\\n",
    "<b>&amp; & &lt; &#34; &#x41; &nbsp ]]></text><script/>",
    "<<table>>",
    "a\nb\r\n\tc\0d\x1b[31m\x85\u2028",
    "π 望遠鏡 \N{SATELLITE ANTENNA} e\u0301 \ufffe \u202e",
    "  two  spaces  ",
    "{a|b} -> c; -- #quot; %3 //",
    "x" * 10_000,
    '"' * 10_000,
    "\\" * 10_000,
    "",
]


@settings(max_examples=40, deadline=None)
@given(names=st.lists(st.text(), min_size=1, max_size=8, unique=True))
@example(names=HOSTILE)
def test_any_name_is_drawn_as_it_is_told(dot, names):
    found = document.parse(json.dumps({"exchanges": named(names)}))
    svg = graphviz.picture(chart(found, "a/b/c"), "svg")
    told = texts_of(svg)
    for number, (group, (exchange,)) in enumerate(found.groups.items()):
        assert told[f"cluster{number}"] == texts.name(group)
        assert told[f"e{number}"] == texts.name(group) + "[0]str"
        assert told[f"e{number}r0"] == "InMemorySource"
        assert told[f"e{number}w0"] == texts.name(exchange.sinks[0].label)
    assert len(told) == 4 * len(names)


def named(names):
    """A group for each name, that writes to a place of that name."""
    source = {"type": "InMemorySource", "data": []}
    return {
        f"{number}{name}"[:255]: [
            {"source": source, "sink": {"type": "InMemorySink", "key": f"k{name}"}}
        ]
        for number, name in enumerate(names)
    }


def test_hostile_names_are_drawn_as_png(dot, tmp_path):
    assert len(colours_of(drawn(tmp_path, named(HOSTILE), "png"))) > 2


def test_of_the_largest_array_a_few_dishes_are_drawn_and_the_rest_counted(dot, tmp_path):
    exchange = copy("a", "b") | {"source": [attribute(n) for n in range(591)]}
    exchange["sink"] = kafka("KafkaProducerSink", "all")
    copies = {"source": attribute(590), "sink": {"type": "InMemorySink", "key": "k"}}
    svg = drawn(tmp_path, {"all": [exchange], "last": [{"dtype": "float64", **copies}]})
    told = texts_of(svg)
    boxes = Counter(told.values())
    assert sum("mid/dish" in text for text in told.values()) == MOST_ENDS
    assert boxes["the attribute 'mid/dish/0590/pointing'"] == 1, "what another one reads as well"
    assert boxes["the attribute 'mid/dish/0000/pointing'"] == 1
    assert boxes[f"and {591 - MOST_ENDS} more"] == 1


def test_an_exchange_for_each_dish_of_the_largest_array_is_drawn(dot, tmp_path):
    sink = kafka("KafkaProducerSink", "all")
    each = [{"dtype": "float64", "source": attribute(n), "sink": sink} for n in range(591)]
    svg = drawn(tmp_path, each)
    assert len(texts_of(svg)) == 1 + 591 + 591 + 1
    assert len(arrows_of(svg)) == 2 * 591


def test_groups_with_names_that_are_told_alike_are_both_drawn(dot, tmp_path):
    names = ["n" * 250 + "a", "n" * 250 + "b"]
    told = texts_of(
        drawn(tmp_path, {name: [copy(f"{name[-1]}1", f"{name[-1]}2")] for name in names})
    )
    assert {"cluster0", "cluster1", "e0", "e1"} <= {*told}


def test_a_picture_goes_to_stdout_where_that_is_no_terminal(dot, tmp_path):
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"exchanges": CHAIN}))
    for language, begin in (("png", b"\x89PNG"), ("svg", b"<?xml")):
        command = [sys.executable, "-m", "queue_connector", "graph", str(config)]
        done = subprocess.run(
            [*command, "--format", language], capture_output=True, timeout=60, check=True
        )
        assert done.stdout.startswith(begin)
        assert all(
            line.startswith(b"queue-connector: dot says: ") for line in done.stderr.splitlines()
        )


def test_a_png_never_goes_to_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    with pytest.raises(SystemExit) as ended:
        main(["graph", "nowhere.json", "--format", "png"])
    assert ended.value.code == 2
    assert "give --output FILE, or pipe it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "options", "begin"),
    [
        ("x.txt", [], "one\n"),
        ("x.mmd", [], "flowchart LR\n"),
        ("x.JSON", [], "{\n"),
        ("x.json", ["--format", "text"], "one\n"),
    ],
)
def test_the_name_of_the_file_says_the_format_where_nothing_else_does(
    name, options, begin, tmp_path, capsys
):
    config, file = tmp_path / "config.json", tmp_path / "drawn" / name
    file.parent.mkdir()
    config.write_text(json.dumps({"exchanges": CHAIN}))
    assert main(["graph", str(config), *options, "--output", str(file)]) == 0
    assert file.read_text("utf-8").startswith(begin)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("/dev/full", "No space left on device"),
        ("no/such/folder/x", "No such file or directory"),
        ("a\0b", "embedded null byte"),
    ],
)
def test_a_file_that_cannot_be_written_is_told(output, reason, tmp_path, capsys):
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"exchanges": CHAIN}))
    with pytest.raises(SystemExit) as ended:
        main(["graph", str(config), "--output", output])
    assert ended.value.code == 1
    assert f"cannot be written: {reason}" in capsys.readouterr().err


@pytest.mark.parametrize("ending", ["txt", "svg"])
def test_no_exchange_is_a_picture_of_nothing(dot, tmp_path, ending):
    picture = drawn(tmp_path, {}, ending)
    nothing = b"nothing is configured\n"
    assert picture == nothing if ending == "txt" else texts_of(picture) == {}


def test_mermaid_takes_any_name(tmp_path):
    name = '`"<b>&#;\\n'
    lines = drawn(tmp_path, {name: [copy("a", "b")]}, "mmd").decode().splitlines()
    escaped = "#96;#34;#60;b#62;#38;#35;;#92;n"
    assert f'  subgraph "{escaped}"' in lines
    assert f'    e0["{escaped}[0]<br>float64"]' in lines


@pytest.fixture
def failed(tmp_path, monkeypatch, capsys):
    """What is told where a program stands in dot's place, or none."""

    def ask(program):
        monkeypatch.setenv("PATH", str(tmp_path))
        if program is not None:
            (tmp_path / "dot").write_bytes(program)
            (tmp_path / "dot").chmod(0o755)
        with pytest.raises(SystemExit) as ended:
            drawn(tmp_path, CHAIN)
        assert ended.value.code == 1
        assert not (tmp_path / "picture.svg").exists()
        return capsys.readouterr().err

    return ask


def test_without_graphviz_it_says_what_to_install(failed):
    assert "there is no program dot" in (told := failed(None))
    assert "apt install graphviz" in told


def test_what_graphviz_says_of_its_failure_is_told(failed, tmp_path):
    told = failed(b"#!/bin/sh\necho 'out of ink\ntoday' >&2\nexit 3\n")
    assert f"{tmp_path}/dot failed with status 3: out of ink; today" in told


def test_a_graphviz_that_cannot_be_run_is_told(failed, tmp_path):
    assert f"cannot run {tmp_path}/dot: Exec format error" in failed(b"\x7fELF")


def test_a_graphviz_that_takes_too_long_is_ended(failed, monkeypatch):
    monkeypatch.setattr(graphviz, "LONGEST", 0.2)
    assert "dot took more than 0.2 s to place 4 arrows" in failed(
        b"#!/bin/sh\nexec /bin/sleep 60\n"
    )


def test_what_graphviz_says_beside_a_picture_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "dot").write_text("#!/bin/sh\nread x\necho scaled >&2\necho picture\n")
    (tmp_path / "dot").chmod(0o755)
    assert drawn(tmp_path, CHAIN) == b"picture\n"
    assert capsys.readouterr().err == "queue-connector: dot says: scaled\n"
