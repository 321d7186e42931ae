"""What a configuration may tell librdkafka itself, and that no secret ever shows."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import string

import pytest
from confluent_kafka import KafkaException, Producer
from hypothesis import HealthCheck, assume, given, settings, strategies as st

from queue_connector.configuration import document
from queue_connector.connectors.kafka.librdkafka_settings import NAMES
from queue_connector.connectors.kafka.options import faults_of_options
from queue_connector.connectors.kafka.producer import KafkaProducer
from queue_connector.connectors.kafka.references import MAX_REFERENCED_BYTES, resolve
from queue_connector.connectors.kafka.settings import SETTINGS
from queue_connector.connectors.kafka.sink import KafkaProducerSinkDescriptor
from queue_connector.model.errors import ConfigError, EndpointError

SECRETS = [name for name, setting in SETTINGS.items() if setting.secret]
TLS = {"security.protocol": "SSL"}
LOGIN = {
    "security.protocol": "SASL_SSL",
    "sasl.mechanism": "SCRAM-SHA-512",
    "sasl.username": "alice",
    "sasl.password": "env:KAFKA_PASSWORD",
}
TOKENS = {
    "security.protocol": "SASL_SSL",
    "sasl.mechanism": "OAUTHBEARER",
    "sasl.oauthbearer.method": "oidc",
    "sasl.oauthbearer.client.id": "connector",
    "sasl.oauthbearer.client.secret": "file:/run/secrets/client",
    "sasl.oauthbearer.token.endpoint.url": "https://id.example/token",
}


def configuration(options, end="sink", **keys):
    memory = {
        "source": {"type": "InMemorySource", "data": ["x"]},
        "sink": {"type": "InMemorySink", "key": "k"},
    }
    kinds = {
        "source": "KafkaConsumerSource",
        "sink": "KafkaProducerSink",
        "on_error": "dead_letter",
    }
    kafka = {"type": kinds[end], "servers": "a", "topic": "t", "options": options, **keys}
    return {"exchanges": [{**memory, end: kafka}]}


def faults(options, end="sink"):
    """Each fault's path below the options, its message and its hint."""
    prefix = f"$.exchanges[0].{end}.options"
    found = document.examine(json.dumps(configuration(options, end))).faults
    return [(fault.path.removeprefix(prefix), fault.message, fault.hint) for fault in found]


@pytest.mark.parametrize("end", ["source", "sink", "on_error"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"client.id": "queue-connector-01", "client.rack": "mid"},
        TLS,
        {**TLS, "ssl.ca.location": "/etc/kafka/ca.pem"},
        {**TLS, "ssl.ca.pem": "file:/etc/kafka/ca.pem"},
        {**TLS, "enable.ssl.certificate.verification": False},
        {**TLS, "enable.ssl.certificate.verification": "env:VERIFY"},
        {**TLS, "ssl.endpoint.identification.algorithm": "none"},
        {**TLS, "ssl.certificate.location": "/c.pem", "ssl.key.pem": "file:/k.pem"},
        {**TLS, "ssl.keystore.location": "/k.p12", "ssl.keystore.password": "env:P"},
        LOGIN,
        {**LOGIN, "security.protocol": "sasl_plaintext"},
        {**LOGIN, "sasl.username": "env:KAFKA_USER"},
        TOKENS,
        {"security.protocol": "env:PROTOCOL", "sasl.password": "env:P", "ssl.ca.pem": "x"},
    ],
)
def test_what_works_is_read_and_written_back_as_it_was(options, end):
    assert faults(options, end) == []
    reading = document.examine(json.dumps(configuration(options, end)))
    assert getattr(reading.descriptor.exchanges[0], end).options == options


@pytest.mark.parametrize(
    ("options", "path", "message", "hint"),
    [
        ({"sasl.pasword": "x"}, "['sasl.pasword']", "no such setting", "mean 'sasl.password'"),
        ({"qqq": "x"}, ".qqq", "no such setting", "see the reference"),
        ({"debug": "all"}, ".debug", "not allowed", "the reference"),
        ({"plugin.library.paths": "x"}, "['plugin.library.paths']", "not allowed", ""),
        ({"ssl.engine.location": "x"}, "['ssl.engine.location']", "not allowed", ""),
        ({"sasl.kerberos.kinit.cmd": "x"}, "['sasl.kerberos.kinit.cmd']", "not allowed", ""),
        ({"bootstrap.servers": "x"}, "['bootstrap.servers']", "not allowed", "key servers"),
        ("ssl", "", "expected a mapping", "{ }"),
        (["ssl"], "", "expected a mapping", "{ }"),
        (None, "", "expected a mapping", "{ }"),
        ({"security.protocol": "TLS"}, "['security.protocol']", "expected 'PLAINTEXT' or", ""),
        ({"security.protocol": "SASL_SL"}, "['security.protocol']", "expected", "'SASL_SSL'"),
        ({"client.id": ""}, "['client.id']", "expected text", ""),
        ({"client.id": 5}, "['client.id']", "expected text", "double quotes"),
        ({"client.id": "a\0b"}, "['client.id']", "NUL", "remove"),
        ({"client.id": "env:"}, "['client.id']", "not a reference", "env: and a name"),
        ({"client.id": "file:a"}, "['client.id']", "not a reference", "absolute"),
        ({**TLS, "ssl.ca.location": "file:/a"}, "['ssl.ca.location']", "itself", "ssl.ca.pem"),
        ({**TLS, "ssl.crl.location": "file:/a"}, "['ssl.crl.location']", "itself", "without"),
        ({"enable.ssl.certificate.verification": 1}, "['enable.ssl.certificate.verification']",
         "expected true or false", ""),
        ({"sasl.username": "a"}, "['sasl.username']", "PLAINTEXT has no log-in", "SASL_SSL"),
        ({**LOGIN, "security.protocol": "SSL"}, "['sasl.mechanism']", "no log-in", "SASL_SSL"),
        ({"ssl.ca.location": "/a"}, "['ssl.ca.location']", "not encrypted", "protocol SSL"),
        ({"security.protocol": "SASL_SSL"}, "['sasl.mechanism']", "missing", "OAUTHBEARER"),
        ({"security.protocol": "SASL_SSL", "sasl.mechanism": "PLAIN"}, "['sasl.username']",
         "PLAIN needs it", ""),
        ({**LOGIN, "sasl.mechanisms": "PLAIN"}, "['sasl.mechanisms']", "given too", "one"),
        ({**LOGIN, "sasl.oauthbearer.scope": "x"}, "['sasl.oauthbearer.scope']", "no use", ""),
        ({**TOKENS, "sasl.username": "x"}, "['sasl.username']", "no use for it", "remove"),
        ({**TLS, "ssl.ca.pem": "x", "ssl.ca.location": "y"}, "['ssl.ca.pem']", "given too", ""),
        ({**TLS, "ssl.certificate.pem": "x"}, "['ssl.certificate.pem']", "without its key", ""),
        ({**TLS, "ssl.key.location": "/k"}, "['ssl.key.location']", "without its cert", ""),
        ({**TLS, "ssl.key.password": "env:P"}, "['ssl.key.password']", "there is no key", ""),
        ({**TLS, "ssl.keystore.location": "/k"}, "['ssl.keystore.location']", "password too", ""),
    ],
)  # fmt: skip
def test_what_cannot_work_is_a_fault_where_it_stands(options, path, message, hint):
    found = faults(options)
    assert found[0][0] == path
    assert message in found[0][1]
    assert hint in found[0][2]


@pytest.mark.parametrize("missing", sorted({*LOGIN, *TOKENS} - {"security.protocol"}))
def test_each_part_of_a_log_in_is_asked_for(missing):
    options = LOGIN if missing in LOGIN and missing != "sasl.mechanism" else TOKENS
    path, message, _ = faults({key: options[key] for key in options if key != missing})[0]
    assert (path, "the key is missing" in message) == (f"['{missing}']", True)


def test_compression_is_for_sinks():
    assert faults({"compression.type": "zstd"}, "sink") == []
    assert faults({"compression.type": "zstd"}, "on_error") == []
    [(path, message, _)] = faults({"compression.type": "zstd"}, "source")
    assert (path, message) == ("['compression.type']", "only a sink has this setting")


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("written", ["hunter2", "", 12345678, True, None, ["hunter2"], "file:a"])
def test_a_secret_is_written_by_reference_only(name, written):
    path, message, hint = faults({name: written})[0]
    assert path == f"['{name}']"
    assert message == "a secret is not written into a configuration, only where it is"
    assert "file:/path" in hint


def test_passwords_keys_and_client_secrets_are_the_secrets():
    assert SECRETS == [
        "sasl.password",
        "sasl.oauthbearer.client.secret",
        "ssl.key.pem",
        "ssl.key.password",
        "ssl.keystore.password",
    ]


def test_the_faults_of_many_options_stay_readable():
    assert len(faults({f"k{number}": "x" for number in range(10_000)})) == 100


# -- no secret shows -------------------------------------------------------------------------------

letters = st.text(string.ascii_letters + string.digits, min_size=6, max_size=30)


@st.composite
def texts_with_a_secret(draw):
    """A secret, and the text of a configuration that has it where none may stand."""
    secret = "Zq" + draw(letters)
    number = draw(st.integers(10**9, 10**12))
    written, value = draw(
        st.sampled_from(
            [
                (secret, secret),
                (secret, f"file:{secret}"),
                (secret, f"env:{secret}-x"),
                (secret, secret + "\ud800"),
                (secret, [secret]),
                (secret, {"value": secret}),
                (str(number), number),
                (str(number), number + 0.5),
            ]
        )
    )
    name = draw(st.sampled_from(SECRETS))
    options = {name: value}
    if draw(st.booleans()):
        options = {**draw(st.sampled_from([TLS, LOGIN, TOKENS])), **options}
    whole = configuration(options, draw(st.sampled_from(["source", "sink", "on_error"])))
    match draw(st.sampled_from(["as it is", "beside", "as text", "list", "deep", "in a union"])):
        case "beside":
            whole["exchanges"][0].update(options)
        case "as text":
            whole = {"exchanges": json.dumps(whole["exchanges"])}
        case "list":
            whole = [whole]
        case "deep":
            whole["exchanges"][0]["source"] = json.dumps(options)
        case "in a union":
            whole["exchanges"][0]["sink"] = {**configuration(options)["exchanges"][0]["sink"]}
            whole["exchanges"][0]["sink"]["servers"] = [options]
    text = json.dumps(whole)
    if draw(st.booleans()):
        text = json.dumps(text)
    match draw(st.sampled_from(["whole", "cut", "broken", "doubled"])):
        case "cut":
            text = text[: draw(st.integers(0, len(text)))]
        case "broken":
            at = draw(st.integers(0, len(text)))
            text = text[:at] + draw(st.sampled_from(['"', "}", "\\", "\n", ",", "'"])) + text[at:]
            assume(name in text)  # else nobody can know what stands there
        case "doubled":
            text = text.replace('"topic"', '"servers"')
    return written, text


@settings(max_examples=1000, suppress_health_check=[HealthCheck.too_slow])
@given(texts_with_a_secret())
def test_no_secret_that_is_written_inline_shows_in_anything_that_reading_says(drawn):
    secret, text = drawn
    said = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())
    logger = logging.getLogger("queue_connector")
    logger.addHandler(handler)
    try:
        reading = document.examine(text)
        said += [repr(reading), *map(str, reading.faults), *map(str, reading.warnings)]
        with contextlib.suppress(ConfigError):
            said.append(repr(document.parse(text)))
        for fault in reading.faults:
            said.append(str(ConfigError([fault])))
    finally:
        logger.removeHandler(handler)
    assert reading.faults
    assert all(secret not in part for part in said), [part for part in said if secret in part]


def test_a_descriptor_that_is_made_in_python_refuses_a_secret_without_showing_it():
    with pytest.raises(ValueError, match=r"options: \$\['sasl\.password'\]: a secret") as caught:
        KafkaProducerSinkDescriptor(servers="a", topic="t", options={"sasl.password": "hunter2"})
    assert "hunter2" not in str(caught.value)


def test_what_a_descriptor_shows_is_the_reference(monkeypatch):
    monkeypatch.setenv("KAFKA_PASSWORD", "hunter2")
    descriptor = KafkaProducerSinkDescriptor(servers="a", topic="t", options=LOGIN)
    assert "env:KAFKA_PASSWORD" in repr(descriptor)
    assert "hunter2" not in repr(descriptor)


# -- references ------------------------------------------------------------------------------------


def resolved(name, value):
    return resolve({name: value}, "topic 't'", "writing")[name]


def refusal(name, value):
    with pytest.raises(EndpointError) as caught:
        resolved(name, value)
    assert caught.value.__cause__ is None
    assert str(caught.value).startswith(f"topic 't': writing failed: option {name} = {value}: ")
    return caught.value.reason.split(": ", 1)[1]


def test_what_is_no_reference_is_taken_as_it_stands():
    assert resolved("client.id", "a") == "a"
    assert resolved("enable.ssl.certificate.verification", False) == "false"


@pytest.mark.parametrize(
    ("content", "meant"),
    [(b"s", "s"), (b"s\n", "s"), (b"s\r\n", "s"), (b"s\n\n", "s\n"), (b" s ", " s "),
     ("ä\n".encode(), "ä"), (b"x" * MAX_REFERENCED_BYTES, "x" * MAX_REFERENCED_BYTES)],
)  # fmt: skip
def test_a_file_holds_the_value_less_one_newline(tmp_path, content, meant):
    (tmp_path / "secret").write_bytes(content)
    assert resolved("sasl.password", f"file:{tmp_path / 'secret'}") == meant


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (b"\n", "the file is empty"),
        (b"hunter2\xff", "the file is not UTF-8"),
        (b"hunter2\0", "it holds a NUL character"),
        (b"x" * (MAX_REFERENCED_BYTES + 1), "the file has more than 65536 bytes"),
    ],
)
def test_a_file_that_holds_no_value_is_an_error_without_its_content(tmp_path, content, reason):
    (tmp_path / "secret").write_bytes(content)
    assert refusal("sasl.password", f"file:{tmp_path / 'secret'}") == reason


def test_what_is_no_file_is_an_error_and_never_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert refusal("sasl.password", f"file:{tmp_path / 'pipe'}") == "it is not a regular file"
    assert refusal("sasl.password", f"file:{tmp_path}").endswith(": Is a directory")
    assert refusal("sasl.password", "file:/dev/zero") == "it is not a regular file"
    missing = f"file:{tmp_path / 'missing'}"
    reason = "the file cannot be read: No such file or directory"
    assert refusal("sasl.password", missing) == reason


def test_a_variable_holds_the_value(monkeypatch):
    monkeypatch.setenv("SOME_SECRET", "hunter2\n")
    assert resolved("sasl.password", "env:SOME_SECRET") == "hunter2\n"
    monkeypatch.setenv("SOME_SECRET", "")
    assert refusal("sasl.password", "env:SOME_SECRET") == "the variable is empty"
    monkeypatch.delenv("SOME_SECRET")
    assert refusal("sasl.password", "env:SOME_SECRET") == "the variable is not set"
    monkeypatch.setenv("SOME_SECRET", "x" * (MAX_REFERENCED_BYTES + 1))
    assert refusal("sasl.password", "env:SOME_SECRET") == "the variable has more than 65536 bytes"


def test_what_a_reference_leads_to_is_judged_too(monkeypatch):
    monkeypatch.setenv("PROTOCOL", "hunter2")
    assert "something else than 'PLAINTEXT'" in refusal("security.protocol", "env:PROTOCOL")
    name = "enable.ssl.certificate.verification"
    assert refusal(name, "env:PROTOCOL") == "it holds neither true nor false"
    monkeypatch.setenv("PROTOCOL", "SSL")
    assert resolved("security.protocol", "env:PROTOCOL") == "SSL"


def test_a_file_that_librdkafka_is_to_read_must_be_there(tmp_path, monkeypatch):
    reason = "there is no such file that this process may read"
    assert refusal("ssl.ca.location", f"{tmp_path}/ca.pem") == reason
    monkeypatch.setenv("CA", f"{tmp_path}/ca.pem")
    assert refusal("ssl.ca.location", "env:CA") == reason
    (tmp_path / "ca.pem").touch()
    assert resolved("ssl.ca.location", "env:CA") == f"{tmp_path}/ca.pem"


# -- librdkafka ------------------------------------------------------------------------------------


def knows(name):
    """Whether librdkafka has a setting; a bad one beside it keeps it from making a client."""
    try:
        Producer({name: "\x01", "message.max.bytes": 0, "log_level": 0})
    except KafkaException as error:
        return f'No such configuration property: "{name}"' not in str(error)
    except TypeError:  # the Python client has looked at it first
        return True
    return True


@pytest.mark.parametrize("name", SETTINGS)
def test_librdkafka_has_every_setting_that_is_allowed(name):
    assert knows(name)
    assert name in NAMES


def test_librdkafka_has_every_setting_that_is_said_to_be_not_allowed():
    asked = NAMES - {"test.mock.num.brokers", "log_level", "message.max.bytes"}
    assert [name for name in sorted(asked) if not knows(name)] == []
    assert not knows("no.such.setting")


@pytest.mark.parametrize("name", ["ssl.key.pem", "ssl.key.password", "ssl.keystore.password"])
def test_what_librdkafka_says_of_a_bad_secret_does_not_show_it(name, tmp_path, caplog, monkeypatch):
    monkeypatch.setenv("BAD", "hunter2-hunter2")
    (tmp_path / "some.p12").write_bytes(b"hunter2-hunter2")
    partners = {
        "ssl.key.pem": {},
        "ssl.key.password": {"ssl.key.pem": "env:BAD"},
        "ssl.keystore.password": {"ssl.keystore.location": str(tmp_path / "some.p12")},
    }
    options = {**TLS, **partners[name], name: "env:BAD"}
    producer = KafkaProducer("127.0.0.1:1", options, 1000, logging.getLogger("kafka"))
    with pytest.raises(EndpointError) as caught:
        producer._client.open()
    assert "ssl.key" in str(caught.value)
    assert "hunter2" not in f"{caught.value!r} {caught.value} {caught.value.__dict__} {caplog.text}"


def test_faults_of_options_never_raise_for_what_has_the_right_form():
    for name, setting in SETTINGS.items():
        value = "env:X" if setting.secret else True if setting.boolean else "x"
        value = setting.choices[0] if setting.choices else value
        for fault in faults_of_options({name: value}, sink=True):
            assert fault.path.startswith("$.options[")
