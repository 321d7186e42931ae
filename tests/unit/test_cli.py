"""The tool's commands, in this process, on the database in memory."""

import json
import subprocess
import sys
import uuid

import pytest
import trio

from queue_connector.cli import COMMANDS, main
from queue_connector.configdb.memory import MemoryDatabase
from queue_connector.configuration.document import MAX_SIZE, parse
from queue_connector.reconfiguration.flows.entities import LEVELS
from tests.support.flow_entities import PB, attribute, blocks, flow, queue, uri


@pytest.fixture(autouse=True)
def backend(monkeypatch):
    monkeypatch.setenv("SDP_CONFIG_BACKEND", "memory")


@pytest.fixture
def path():
    return f"/component/{uuid.uuid4().hex}/owner"


@pytest.fixture
def files(tmp_path):
    class Files:
        def __call__(self, name="a", **sink):
            sink = {"type": "TangoLocalAttributeSink", "attribute_name": name, **sink}
            source = {"type": "InMemorySource", "data": ["x"]}
            return self.text(json.dumps({"exchanges": [{"source": source, "sink": sink}]}))

        def text(self, text):
            file = tmp_path / f"{uuid.uuid4().hex}.json"
            file.write_text(text)
            return str(file)

    return Files()


def status(*arguments):
    try:
        return main(list(arguments))
    except SystemExit as ended:
        return ended.code


def write(path, value):
    trio.run(MemoryDatabase().put, path, value)


def test_a_configuration_is_written_read_listed_and_deleted(path, files, capsys):
    file = files()
    assert status("config", "put", f"{path}/my_id", file) == 0
    assert f"{path}/my_id: written, revision " in capsys.readouterr().out
    assert status("config", "put", f"{path}/my_id", file) == 0  # which leads out of FAULT
    assert "written" in capsys.readouterr().out
    write(f"{path}/my_id/state", '{"state": "ON", "revision": 9999}')
    write(f"{path}/my_id/fault", '{"error": "ConfigError", "message": "no"}')
    write(f"{path}/bad", "{")
    assert status("config", "list", path) == 0
    bad, good = capsys.readouterr().out.splitlines()
    assert "invalid: 1 fault  no state: not watched" in bad
    assert "1 exchange  ON  ConfigError: no" in good
    assert status("config", "get", f"{path}/my_id") == 0
    assert "TangoLocalAttributeSink" in capsys.readouterr().out
    assert status("config", "delete", f"{path}/my_id") == 0
    assert status("config", "get", f"{path}/my_id") == 1
    assert status("config", "delete", f"{path}/my_id") == 1
    assert capsys.readouterr().err.count("nothing is there") == 2


def test_an_invalid_one_is_not_written_and_every_fault_is_named(path, files, capsys):
    file = files.text('{"exchanges": [{"sink": 1}], "more": 2}')
    assert status("config", "put", f"{path}/my_id", file) == 1
    told = capsys.readouterr().err
    assert "nothing was written" in told
    assert "$.more" in told
    assert "$.exchanges[0].sink" in told
    assert status("config", "get", f"{path}/my_id") == 1


def test_what_others_own_is_left_alone(path, files, capsys):
    owner = '{"pid": 1, "hostname": "h", "command": ["c"]}'
    write(path, owner)
    assert status("config", "put", path, files()) == 1
    assert status("config", "delete", path) == 1
    assert capsys.readouterr().err.count("an owner record stands there") == 2
    assert status("config", "put", f"{path}/state", files()) == 2
    assert trio.run(MemoryDatabase().get, path).value.decode() == owner


def test_what_a_device_would_refuse_is_not_written_but_by_force(path, files, capsys):
    assert status("config", "put", f"{path}/one", files("x")) == 0
    assert status("config", "put", f"{path}/two", files("X")) == 1
    told = capsys.readouterr().err
    assert "claimed by 'one' too" in told
    assert "nothing was written" in told
    assert trio.run(MemoryDatabase().get, f"{path}/two") is None
    assert status("config", "put", "--force", f"{path}/two", files("X")) == 0
    assert "claimed by 'one' too" in capsys.readouterr().err
    assert status("config", "put", "--force", f"{path}/bad", files.text("{")) == 0
    assert trio.run(MemoryDatabase().get, f"{path}/bad").value == b"{"


@pytest.mark.parametrize("record", [True, False])
def test_the_place_of_an_owner_record_is_no_place_for_a_group(record, path, files, capsys):
    if record:
        write(path, '{"pid": 1, "hostname": "h", "command": ["c"]}')
    assert status("config", "put", path, files("x")) == 1
    assert "owner record" in capsys.readouterr().err
    assert status("config", "put", "--force", path, files("x")) == 0


def test_what_stands_at_the_path_itself_may_not_claim_what_its_children_have(path, files, capsys):
    path = path.replace("owner", "watched")
    assert status("config", "put", f"{path}/one", files("x")) == 0
    assert status("config", "put", path, files("x")) == 1
    assert "claimed by 'one' too" in capsys.readouterr().err
    assert status("config", "put", path, files("y")) == 0


def test_a_path_without_anything_is_said_to_have_nothing(path, files, capsys):
    assert status("config", "list", path) == 0
    assert capsys.readouterr().out == f"{path}: no configuration stands there, and none below\n"
    assert status("config", "list", "--json", path) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_a_list_says_what_is_not_applied_yet_and_keeps_each_child_on_a_line(path, files, capsys):
    assert status("config", "put", f"{path}/a", files("x")) == 0
    assert status("config", "put", f"{path}/b", files("y")) == 0
    revision = trio.run(MemoryDatabase().get, f"{path}/a").mod_revision
    author = {"device": "d/e/f", "host": "node\x1b[2J"}
    write(f"{path}/a/state", json.dumps({"state": "ON", "revision": revision - 1, **author}))
    write(f"{path}/a/fault", json.dumps({"error": "E", "message": "one\ntwo\x1b[2J" * 9999}))
    waiting = [{"exchange": f"b[{n}]", "name": "topic", "waiting_for": "a broker"} for n in (0, 1)]
    degraded = {"degraded": True, "waiting": waiting, "waiting_left_out": 7}
    write(f"{path}/b/state", json.dumps({"state": "ON", "revision": revision + 99, **degraded}))
    capsys.readouterr()
    assert status("config", "list", path) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert f"ON  not applied yet: this is of revision {revision - 1}  by d/e/f on node" in first
    assert "E: one; two" in first
    assert first.isprintable()
    assert len(first) < 10_000
    assert second.endswith("ON, degraded  b[0] topic waits for a broker and 8 more")
    assert status("config", "list", "--json", path) == 0
    told = json.loads(capsys.readouterr().out)
    assert [(each["path"], each["applied"]) for each in told] == [
        (f"{path}/a", False),
        (f"{path}/b", True),
    ]
    assert told[0]["state"]["device"] == "d/e/f"


@pytest.mark.parametrize(
    ("record", "fault", "ends", "told"),
    [
        ({"state": "ON"}, None, 0, "ON"),
        ({"state": "OFF"}, None, 0, "OFF"),
        ({"state": "FAULT"}, {"error": "E", "message": "no"}, 1, "not taken on: FAULT  E: no"),
        ({"state": "ON"}, {"error": "E", "message": "no"}, 1, "not taken on: ON  E: no"),
        ({"state": "OPEN"}, None, 1, "not taken on: OPEN; does a device watch /component"),
        ({"state": "ON", "revision": 0}, None, 1, "not applied yet"),
        (None, None, 1, "no state: not watched; does a device watch /component"),
    ],
)
def test_a_put_that_waits_tells_what_became_of_it(
    record, fault, ends, told, path, files, capsys, monkeypatch
):
    """A device that answers at once, before the wait begins, is what the watch finds first."""
    swap = MemoryDatabase.compare_and_swap

    async def answered(database, where, value, mod_revision):
        revision = await swap(database, where, value, mod_revision)
        if record is not None:
            await database.put(f"{where}/state", json.dumps({"revision": revision, **record}))
        if fault is not None:
            await database.put(f"{where}/fault", json.dumps(fault))
        return revision

    monkeypatch.setattr(MemoryDatabase, "compare_and_swap", answered)
    put = ("config", "put", "--wait", "--timeout", "0.2", f"{path}/a", files("x"))
    assert status(*put) == ends
    output = capsys.readouterr()
    assert told in output.out + output.err


def test_a_plan_on_a_path_changes_nothing(path, files, capsys):
    assert status("config", "put", f"{path}/one", files("x")) == 0
    capsys.readouterr()
    plan = ("plan", "--config-path", path, "--group", "one")
    assert status(*plan, files("x")) == 0
    assert capsys.readouterr().out.endswith("nothing changes\n")
    assert status(*plan, files("y")) == 0
    assert "+ attribute y: str" in capsys.readouterr().out
    assert status(*plan, "--json", files("y")) == 0
    assert json.loads(capsys.readouterr().out)["one"]["change"] == "changed"
    assert status(*plan, files.text("{")) == 1
    assert "it would be refused" in capsys.readouterr().err
    assert status(*plan, files("x")) == 0
    assert capsys.readouterr().out.endswith("nothing changes\n")


def test_a_file_that_cannot_be_read_does_not_keep_the_others_from_being_checked(
    files, tmp_path, capsys
):
    good, bad = files(), files.text("{")
    fifo = "x\0y"
    names = ["/no/such/file", good, str(tmp_path), fifo, bad]
    assert status("validate", *names) == 2
    told = capsys.readouterr().out.splitlines()
    assert told == [
        "/no/such/file: 1 fault",
        "  $: cannot read /no/such/file: No such file or directory",
        f"{good}: valid",
        f"{tmp_path}: 1 fault",
        f"  $: cannot read {tmp_path}: Is a directory",
        f"{fifo}: 1 fault",
        r"  $: cannot read x\x00y: no file has a NUL in its name",
        f"{bad}: 1 fault",
        told[-1],
    ]
    assert status("validate", "--json", *names) == 2
    faults = json.loads(capsys.readouterr().out)
    assert [len(faults[name]) for name in names] == [1, 0, 1, 1, 1]
    assert faults["/no/such/file"][0]["message"].startswith("cannot read")


@pytest.mark.parametrize("command", [["validate"], ["serve"], ["config", "put", "/a"]])
def test_a_file_without_an_end_is_read_no_further_than_a_configuration_may_be_long(command, capsys):
    assert status(*command, "/dev/zero") == 1
    assert f"expected at most {MAX_SIZE} bytes, found more" in "".join(capsys.readouterr())


def test_what_a_configuration_refers_to_and_is_not_here_is_warned_of(files, monkeypatch, capsys):
    options = {"security.protocol": "SSL", "ssl.ca.location": "/no/ca.pem"}
    kafka = {"servers": "a", "topic": "t"}
    exchange = {
        "source": {"type": "KafkaConsumerSource", **kafka, "options": options},
        "sink": [{"type": "KafkaProducerSink", **{**kafka, "topic": "u"}, "options": options}],
        "on_error": {
            **{"type": "dead_letter", **kafka, "topic": "v"},
            "options": {"security.protocol": "SSL", "ssl.ca.pem": "env:NO_CA"},
        },
    }
    file = files.text(json.dumps({"exchanges": {"g": [exchange]}}))
    assert status("validate", file) == 0
    told = capsys.readouterr()
    assert told.out == f"{file}: valid\n"
    absent = "/no/ca.pem: there is no such file that this process may read"
    assert [line.split(" (")[0] for line in told.err.splitlines()] == [
        f"{file}: warning: $.exchanges.g[0].source.options['ssl.ca.location']: {absent}",
        f"{file}: warning: $.exchanges.g[0].sink[0].options['ssl.ca.location']: {absent}",
        f"{file}: warning: $.exchanges.g[0].on_error.options['ssl.ca.pem']: env:NO_CA: "
        "the variable is not set",
    ]
    assert status("validate", "--json", file) == 0
    assert json.loads(capsys.readouterr().out) == {file: []}


def test_a_database_that_refuses_the_connection_is_told_with_the_reason(monkeypatch, capsys):
    monkeypatch.setenv("SDP_CONFIG_BACKEND", "etcd3")
    monkeypatch.setenv("SDP_CONFIG_PORT", "1")
    assert status("config", "get", "/a") == 1
    told = capsys.readouterr().err
    assert "Connection refused" in told
    assert "sub-exception" not in told


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1)])
def test_what_ends_a_database_command_gets_out_of_its_nursery(monkeypatch, error):
    def interrupted(*_arguments):
        raise BaseExceptionGroup("x", [error])

    monkeypatch.setattr("queue_connector.cli.common.trio.run", interrupted)
    with pytest.raises(type(error)):
        main(["config", "get", "/a"])


@pytest.mark.parametrize(
    "arguments",
    [
        ["serve"],
        ["serve", "x.json", "--config-path", "/a"],
        ["serve", "--config-path", "a/b"],
        ["serve", "--config-path", "/a/{}"],
        ["serve", "x.json", "--subarray", "01"],
        ["serve", "--subarray", "0/1"],
        ["flows"],
        ["flows", "0/1"],
        ["serve", "/no/such/file"],
        ["serve", "x.json", "--metrics-port", "70000"],
        ["plan", "x.json"],
        ["statistics", "a/b/c", "--watch", "0"],
        ["statistics", "a/b/c", "--format", "yaml"],
        ["plan", "x.json", "--device", "a/b/c", "--config-path", "/a"],
        ["plan", "x.json", "--config-path", "/a", "--group", "a/b"],
        ["plan", "x.json", "--config-path", "/a", "--group", "a\nb"],
        ["config"],
        ["config", "put", "/a"],
        ["config", "put", "a", "x.json"],
        ["config", "put", "/a", "/no/such/file"],
        ["config", "get", "/a/"],
    ],
)
def test_misuse_is_exit_status_2_with_a_reason(arguments, capsys):
    assert status(*arguments) == 2
    assert capsys.readouterr().err


@pytest.mark.parametrize("command", [["serve", "--config-path"], ["config", "get"]])
def test_a_wrong_environment_is_named_without_its_secrets(command, monkeypatch, capsys):
    monkeypatch.setenv("SDP_CONFIG_BACKEND", "etcd3")
    monkeypatch.setenv("SDP_CONFIG_PASSWORD", "s3cret")
    assert status(*command, "/a") == 1
    told = capsys.readouterr().err
    assert "SDP_CONFIG_USERNAME" in told
    assert "s3cret" not in told


def test_a_device_or_database_that_is_away_is_exit_status_1(files, monkeypatch, capsys):
    assert status("plan", files(), "--device", "tango://127.0.0.1:1/a/b/c#dbase=no") == 1
    monkeypatch.setenv("SDP_CONFIG_BACKEND", "etcd3")
    monkeypatch.setenv("SDP_CONFIG_PORT", "1")
    assert status("config", "get", "/a") == 1
    told = capsys.readouterr().err
    assert "cannot be asked for its configuration" in told
    assert "127.0.0.1:1" in told


def test_the_flows_of_a_subarray_are_told_with_those_that_are_refused(monkeypatch, capsys):
    monkeypatch.setenv("SDP_CONFIG_BACKEND", "memory")
    bad, good, other = (uri(name, "tango") for name in ("bad", "good", "other"))
    entities = {
        **blocks(),
        uri("q"): flow(queue()),
        good: flow(attribute("good"), uri("q")),
        bad: flow(attribute("bad", dtype="DevNothing"), uri("q")),
        other: flow(attribute("other"), uri("gone")),
    }

    async def write():
        texts = {path: json.dumps(value) for path, value in entities.items()}
        await MemoryDatabase().transact(texts)

    trio.run(write)
    try:
        assert status("flows", "01") == 1
        told = capsys.readouterr().out
        assert f"{good}: float64, KafkaConsumerSource(metrics-01) -> " in told
        assert f"{bad} is refused: as an exchange: $.dtype: " in told
        assert f"{other} waits for {uri('gone')} to be created" in told
        assert status("flows", "02") == 0
        assert "runs on subarray 01, not on 02" in capsys.readouterr().out
        assert status("flows", "1", "--json") == 1
        found = json.loads(capsys.readouterr().out)
        assert found["groups"][PB]["flows"] == [good]
        assert status("flows", "1", "--configuration") == 1
        (exchange,) = parse(capsys.readouterr().out).groups[PB]
        assert exchange.sinks[0].attribute_name == "good"
    finally:
        trio.run(MemoryDatabase().transact, dict.fromkeys(entities))


@pytest.fixture
def entities():
    """Of one subarray; what stands in the database is gone at the end."""
    made = {**blocks(), uri("q"): flow(queue()), uri("x", "tango"): flow(attribute("x"), uri("q"))}
    yield made
    view = trio.run(MemoryDatabase().view, LEVELS)
    trio.run(MemoryDatabase().transact, dict.fromkeys(view.values))


def test_flows_are_checked_and_told_from_a_file(entities, files, capsys):
    good = files.text(json.dumps(entities))
    assert status("validate", good) == 0
    assert capsys.readouterr().out == f"{good}: valid\n"
    assert status("flows", "01", "--file", good) == 0
    assert f"{uri('x', 'tango')}: float64, KafkaConsumerSource(metrics-01) -> " in (
        capsys.readouterr().out
    )
    entities[uri("other", "tango")] = flow(attribute("other"), uri("gone"))
    entities[uri("same", "tango")] = flow(attribute("X"), uri("q"))
    bad = files.text(json.dumps(entities))
    assert status("validate", bad) == 1
    told = capsys.readouterr()
    assert f"{uri('other', 'tango')}: waits for {uri('gone')} to be created" in told.err
    assert f"{uri('x', 'tango')} as an exchange: $.sink" in told.out
    assert "1 fault\n" in told.out
    assert status("flows", "01", "--file", bad) == 1


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"/flow/a:tango": {}}, "$['/flow/a:tango']: it is no path of an entity"),
        ({"/pb/a": [1]}, "$['/pb/a']: expected an object, found [1]"),
        ({"/pb/a": {}, "exchanges": []}, "$.exchanges: it is no path of an entity"),
        ({uri("x"): {**flow({}, uri("q"))}}, f"{uri('x')} $.sink: the kind 'none' is none"),
    ],
)
def test_what_is_no_flow_is_said_with_its_path(content, told, files, capsys):
    file = files.text(json.dumps(content))
    assert status("validate", file) == 1
    assert told in capsys.readouterr().out
    assert status("config", "apply", file) == 1
    assert told in capsys.readouterr().err


def test_flows_are_written_listed_and_deleted_with_their_states(entities, files, capsys):
    x, y = uri("x", "tango"), uri("y", "tango")
    assert status("config", "apply", files.text(json.dumps(entities))) == 0
    assert f"{x}: written, revision " in capsys.readouterr().out
    taken = files.text(json.dumps(flow(attribute("X"), uri("q"))))
    assert status("config", "put", y, taken) == 1
    assert f"claimed by {x} too" in capsys.readouterr().err
    assert status("config", "put", y, files.text(json.dumps(flow(attribute("y"), uri("z"))))) == 0
    assert f"{y} waits for {uri('z')} to be created" in capsys.readouterr().out
    assert status("config", "put", f"{x}/state", files.text('{"status": "FLOWING"}')) == 0
    assert status("config", "put", y, files.text("[")) == 1
    assert status("config", "put", "--wait", y, taken) == 2
    capsys.readouterr()
    assert status("config", "list", "/flow") == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{x}  revision ")
    assert first.endswith(
        "float64, KafkaConsumerSource(metrics-01) -> TangoLocalAttributeSink(x)  FLOWING"
    )
    assert second.endswith(f"waits for {uri('z')} to be created  no state")
    assert status("config", "list", "--json", "/flow") == 0
    assert json.loads(capsys.readouterr().out)[0]["state"] == {"status": "FLOWING"}
    assert status("config", "put", "--force", y, taken) == 0
    assert status("config", "delete", x) == 0
    capsys.readouterr()
    assert status("config", "get", f"{x}/state") == 1
    assert status("config", "list", "/flow") == 0
    assert "TangoLocalAttributeSink(X)" in capsys.readouterr().out
    assert status("config", "delete", y) == 0
    capsys.readouterr()
    assert status("config", "list", "/flow") == 0
    assert capsys.readouterr().out == "/flow: no flow below names a queue connector\n"


def topics(name, source, *sinks, **more):
    kafka = {"servers": "h:9092", "encoding": "bytes"}
    sources = [{"type": "KafkaConsumerSource", "topic": topic, **kafka} for topic in source]
    ends = [{"type": "KafkaProducerSink", "topic": topic, **kafka} for topic in sinks]
    return {name: [{"dtype": "bytes", "source": sources, "sink": ends, **more}]}


def test_exchanges_are_drawn_for_a_terminal(files, capsys):
    window = {"type": "BufferWithTimePipe", "timespan": 1.0}
    groups = topics("one", ["a", "bb"], "c", "d") | topics("two", ["c"], "e")
    groups["two"][0] |= {"dtype": "int64", "pipe": window}
    for end in (*groups["two"][0]["source"], *groups["two"][0]["sink"]):
        end["encoding"] = "npy"
    assert status("graph", files.text(json.dumps({"exchanges": groups}))) == 0
    assert (
        capsys.readouterr().out
        == """\
one
  [0] bytes
      KafkaConsumerSource(a)  ─┐
      KafkaConsumerSource(bb) ─┴─→ KafkaProducerSink(c)
                               └─→ KafkaProducerSink(d)
two
  [0] int64
      KafkaConsumerSource(c) ─→ BufferWithTimePipe ─→ KafkaProducerSink(e)
"""
    )


def test_what_one_exchange_writes_and_another_reads_is_one_box(files, capsys):
    groups = topics("one", ["a"], "b") | topics('t"wo', ["b"], "c")
    file = files.text(json.dumps({"exchanges": groups}))
    assert status("graph", "--format", "mermaid", file) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "flowchart LR"
    assert '  subgraph "t#34;wo"' in lines
    assert [line.strip() for line in lines if "-->" in line] == [
        "p0 --> e0",
        "e0 --> p1",
        "p1 --> e1",
        "e1 --> p2",
    ]
    assert sum("the topic 'b'" in line for line in lines) == 1


def test_only_what_is_there_and_valid_is_drawn(files, capsys):
    assert status("graph", files.text("{")) == 1
    assert "nothing was drawn" in capsys.readouterr().err
    assert status("graph") == 2
    assert status("graph", "x.json", "--running", "a/b/c") == 2


def test_a_warning_is_told_and_refuses_nothing(path, files, capsys):
    attribute = {"attribute_name": "a", "dtype": "int64", "filter": 'type=="x"'}
    sink = {"type": "TangoObjectScatterAttributeSink", "attributes": [attribute]}
    source = {"type": "InMemorySource", "data": []}
    exchange = {"dtype": "object", "source": source, "sink": sink}
    file = files.text(json.dumps({"exchanges": [exchange]}))
    assert status("validate", file) == 0
    for command in (
        ("validate", file),
        ("validate", "--json", file),
        ("config", "put", f"{path}/one", file),
        ("plan", file, "--config-path", path, "--group", "two"),
    ):
        status(*command)
        told = f"{file}: warning: $.exchanges[0].sink.attributes[0].filter: "
        assert told in capsys.readouterr().err
    assert trio.run(MemoryDatabase().get, f"{path}/one") is not None


def test_names_of_a_device_write_nothing_to_the_terminal(capsys, monkeypatch):
    ledger = {
        **dict.fromkeys(("received", "delivered", "failed", "in_flight"), 0),
        **{"dropped": {}, "upstream": {}, "sources": [], "sinks": []},
    }
    told = [json.dumps({"a\x1b[2J\nb[0]": ledger}), "{}", "1"]
    monkeypatch.setattr("queue_connector.cli.statistics.ask_device", lambda *_: told)
    assert status("statistics") == 0
    assert "a\\x1b[2J\\nb[0]" in (output := capsys.readouterr().out)
    assert "\x1b" not in output


def test_a_key_that_writes_to_the_terminal_is_shown_escaped(files, capsys):
    file = files.text(json.dumps({"exchanges": {"a\x1b[2J\nb": [{"sink": 1, "\x1b": 2}]}}))
    assert status("validate", file) == 1
    output = capsys.readouterr()
    assert "\\x1b" in output.out + output.err
    assert "\x1b" not in output.out + output.err


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["nonsense"], []])
def test_what_needs_no_command_waits_for_none_of_the_slow_imports(arguments):
    script = f"""
import sys
from queue_connector.cli import COMMANDS, main
try:
    main({arguments!r})
except SystemExit:
    print([name for name in ("tango", "trio", "confluent_kafka", "numpy") if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_brings_all_that_it_needs(command):
    script = "import sys; from queue_connector.cli import main; sys.exit(main(sys.argv[1:]))"
    arguments = {
        "schema": [],
        "validate": ["-"],
        "plan": ["-", "--config-path", "/a", "--group", "b"],
        "config": ["put", "/a/b", "-"],
    }.get(command, ["--help"])
    done = subprocess.run(
        [sys.executable, "-c", script, command, *arguments],
        input='{"exchanges": [{"source": {"type": "InMemorySource", "data": ["x"]}, '
        '"sink": {"type": "TangoLocalAttributeSink", "attribute_name": "a"}}]}',
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def test_with_json_stdout_is_one_value_and_nothing_else(path, files, capsys):
    def told(*arguments, expected=0):
        assert status(*arguments, "--json") == expected
        return json.loads(capsys.readouterr().out)

    file = files()
    written = told("config", "put", f"{path}/my_id", file)
    assert written["written"] == [f"{path}/my_id"]
    [entry] = told("config", "list", path)
    assert entry["revision"] == written["revision"]
    assert told("plan", file, "--config-path", path, "--group", "my_id")
    assert told("config", "delete", f"{path}/my_id") == {"deleted": [f"{path}/my_id"]}
    entities = files.text(json.dumps(blocks()))
    assert told("config", "apply", entities)["written"] == [*blocks()]
    assert told("validate", file) == {file: []}
    assert told("validate", files.text("{"), expected=1)
    assert told("run", files.text('{"exchanges": []}')) == {}
    drawn = told("graph", file)
    assert drawn["default"][0]["sinks"] == [
        {"label": "TangoLocalAttributeSink(a)", "places": ["the attribute 'a'"]}
    ]


def test_words_are_tinted_at_a_terminal_and_nowhere_else(files, monkeypatch, capsys):
    file = files()
    assert status("validate", file) == 0
    assert capsys.readouterr().out == f"{file}: valid\n"
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert status("validate", file) == 0
    assert capsys.readouterr().out == f"{file}: \x1b[32mvalid\x1b[0m\n"
    monkeypatch.setenv("NO_COLOR", "1")
    assert status("validate", file) == 0
    assert capsys.readouterr().out == f"{file}: valid\n"


def divided(share, dishes=5):
    sources = [
        {"type": "TangoSubscriptionSource", "device_name": f"a/dish/{n}", "attribute_name": "az"}
        for n in range(dishes)
    ]
    sink = {"type": "KafkaProducerSink", "servers": "broker:9092", "topic": "t"}
    exchange = {"dtype": "float64", "source": sources, "sink": sink, "share": share}
    return json.dumps({"exchanges": [exchange]})


def test_a_check_tells_what_of_a_divided_list_is_read_once_by_nobody_or_by_several(path, capsys):
    paths = [f"{path}/{number}" for number in range(3)]
    assert status("config", "check", *paths) == 0
    assert capsys.readouterr().out == "no exchange with the key 'share' stands there\n"
    write(f"{paths[0]}/dishes", divided("1/3"))
    write(f"{paths[1]}/dishes", divided("2/3"))
    assert status("config", "check", *paths) == 1
    first, *shares, gap = capsys.readouterr().out.splitlines()
    assert first.startswith("5 sources, TangoSubscriptionSource(a/dish/0/az")
    assert shares == [
        f"  1/3: {paths[0]} dishes[0] reads 2",
        f"  2/3: {paths[1]} dishes[0] reads 2",
    ]
    assert gap.startswith("  gap: nobody reads TangoSubscriptionSource(a/dish/2/az")
    write(f"{paths[2]}/dishes", divided("3/3"))
    assert status("config", "check", *paths) == 0
    assert "gap" not in capsys.readouterr().out
    write(f"{paths[2]}/dishes", divided("2/2"))
    assert status("config", "check", *paths) == 1
    out = capsys.readouterr().out
    assert f"  overlap: {paths[0]} dishes[0] (1/3) and {paths[2]} dishes[0] (2/2) both" in out
    assert "  gap: nobody reads TangoSubscriptionSource(a/dish/2/az" in out
    assert status("config", "check", *paths, "--json") == 1
    (found,) = json.loads(capsys.readouterr().out)
    reads = {each["share"]: each["reads"] for each in found["shares"]}
    assert list(reads) == ["1/3", "2/3", "2/2"]
    for label in found["sources"]:
        readers = sum(label in each for each in reads.values())
        assert (label in found["gaps"]) is (readers == 0)
        assert any(label in each["sources"] for each in found["overlaps"]) is (readers > 1)
    assert {len(each["exchanges"]) for each in found["overlaps"]} == {2}


def test_a_plan_says_which_part_of_a_list_is_read(path, files, capsys):
    write(f"{path}/dishes", divided("1/2"))
    file = files.text(divided("2/2"))
    assert status("plan", file, "--config-path", path, "--group", "dishes") == 0
    out = capsys.readouterr().out
    assert "2/2 of 5: TangoSubscriptionSource(a/dish/1/az" in out
    assert "a/dish/3/az" in out
    assert "1/2 of 5" in out
