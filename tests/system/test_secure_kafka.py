"""TLS and SASL against a real Kafka: what is right streams, what is wrong says so and ends."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator

import pytest
import trio
from confluent_kafka.admin import (
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from queue_connector.configuration.document import parse
from queue_connector.connectors.kafka import client
from queue_connector.connectors.kafka.client import REFUSAL_GRACE
from queue_connector.engine.state import State
from queue_connector.engine.supervisor import open_supervisor
from queue_connector.model.delivery import Delivery
from queue_connector.model.errors import EndpointError
from queue_connector.model.services import Services
from tests.services.fixtures import running
from tests.services.kafka import create_topic
from tests.services.secure_kafka import (
    CLIENT_SECRET,
    PASSWORD,
    USER,
    SecureKafkaServer,
    TokenServer,
)
from tests.support.kafka_topics import make_sink, make_source, produce, read_all
from tests.support.waiting import until

LIMIT = 60.0  # s for anything that must come
PROMPT = REFUSAL_GRACE + 10.0  # s for a refusal to become an error


@pytest.fixture(scope="module")
def broker() -> Iterator[SecureKafkaServer]:
    with running(SecureKafkaServer) as server:
        yield server


@pytest.fixture
def secrets(broker, monkeypatch):
    """Where the references of the tests lead to."""
    (broker.directory / "password").write_text(f"{PASSWORD}\n")
    (broker.directory / "wrong").write_text("hunter2\n")
    monkeypatch.setenv("TEST_KAFKA_PASSWORD", PASSWORD)
    monkeypatch.setenv("TEST_KAFKA_CLIENT_SECRET", CLIENT_SECRET)
    return broker.directory


def tls(broker, **more):
    return {"security.protocol": "SSL", "ssl.ca.location": f"{broker.directory}/ca.pem", **more}


def login(broker, mechanism="SCRAM-SHA-512", password=None):
    return {
        **tls(broker),
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": mechanism,
        "sasl.username": USER,
        "sasl.password": password or f"file:{broker.directory}/password",
    }


def own(broker, name="client"):
    """The options for a certificate of our own."""
    return {
        "ssl.certificate.location": f"{broker.directory}/{name}.pem",
        "ssl.key.pem": f"file:{broker.directory}/{name}.key",
    }


async def flows(servers, topic, options):
    """Whether data go to the topic and come back, all through these options."""
    with trio.fail_after(LIMIT):
        async with (
            make_sink(servers, topic, options=options) as sink,
            make_source(servers, topic, options=options) as source,
        ):
            await sink.awrite_batch(Delivery(range(100)))
            received = []
            while len(received) < 100:
                received += (await source.receive_batch()).values
    return received == list(range(100))


@pytest.mark.parametrize(
    ("listener", "options"),
    [
        ("TLS", tls),
        ("TLS", lambda broker: {"security.protocol": "ssl", "ssl.ca.pem": pem(broker, "ca")}),
        ("TLS", lambda broker: tls(broker, **{"ssl.cipher.suites": "ECDHE+AESGCM"})),
        ("MUTUAL", lambda broker: tls(broker, **own(broker))),
        ("LOGIN", login),
        ("LOGIN", lambda broker: login(broker, "PLAIN")),
        ("LOGIN", lambda broker: login(broker, password="env:TEST_KAFKA_PASSWORD")),
    ],
    ids=["TLS", "CA as PEM", "cipher", "mutual TLS", "SCRAM, file", "PLAIN, file", "SCRAM, env"],
)
async def test_data_flow(broker, secrets, topic, listener, options):
    create_topic(broker.bootstrap_servers, topic)
    assert await flows(broker.servers(listener), topic, options(broker))


def pem(broker, name):
    return f"file:{broker.directory}/{name}.pem"


def token(broker, url, secret="env:TEST_KAFKA_CLIENT_SECRET"):
    return {
        **tls(broker),
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "OAUTHBEARER",
        "sasl.oauthbearer.method": "oidc",
        "sasl.oauthbearer.client.id": USER,
        "sasl.oauthbearer.client.secret": secret,
        "sasl.oauthbearer.token.endpoint.url": url,
    }


async def test_data_flow_with_tokens_of_a_server(broker, secrets, topic):
    create_topic(broker.bootstrap_servers, topic)
    with TokenServer() as server:
        assert await flows(broker.servers("LOGIN"), topic, token(broker, server.url))


async def test_a_token_server_that_refuses_is_in_the_log(broker, secrets, topic, caplog):
    caplog.set_level(logging.INFO, "queue_connector")
    create_topic(broker.bootstrap_servers, topic)
    with TokenServer() as server:
        options = token(broker, server.url, f"file:{secrets}/wrong")
        source = make_source(broker.servers("LOGIN"), topic, options=options)
        with trio.move_on_after(REFUSAL_GRACE + 1.0) as scope:
            await source.start()
        await source.stop()
    assert scope.cancelled_caught
    assert "OAUTHBEARER" in caplog.text
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize(
    ("listener", "options", "said"),
    [
        ("LOGIN", lambda b: login(b, "SCRAM-SHA-512", f"file:{b.directory}/wrong"), "_AUTHENT"),
        ("LOGIN", lambda b: login(b, "PLAIN", f"file:{b.directory}/wrong"), "_AUTHENTICATION"),
        ("LOGIN", lambda b: login(b, "SCRAM-SHA-256"), "_AUTHENTICATION"),
        ("TLS", lambda b: tls(b, **{"ssl.ca.location": f"{b.directory}/stranger-ca.pem"}), "_SSL"),
        ("TLS", lambda b: {"security.protocol": "SSL"}, "_SSL"),
        ("FOREIGN", tls, "_SSL"),
        ("MUTUAL", tls, "alert bad certificate"),
        ("MUTUAL", lambda b: tls(b, **own(b, "stranger")), "alert bad certificate"),
    ],
    ids=[
        "wrong password, SCRAM",
        "wrong password, PLAIN",
        "mechanism that the broker has not",
        "wrong CA",
        "the system's CAs",
        "certificate of another host",
        "no certificate",
        "certificate of a stranger",
    ],
)
async def test_what_is_refused_is_an_error_that_says_so(
    broker, secrets, topic, caplog, monkeypatch, listener, options, said
):
    monkeypatch.setattr(client, "REFUSAL_GRACE", 2.0)  # what it is otherwise, other tests see
    caplog.set_level(logging.INFO)
    create_topic(broker.bootstrap_servers, topic)
    servers = broker.servers(listener)

    async def is_refused(make, operation):
        services = Services(log=logging.getLogger(operation))
        endpoint = make(servers, topic, options=options(broker), services=services)
        with trio.fail_after(PROMPT), pytest.raises(EndpointError) as caught:
            await endpoint.start()
        await endpoint.stop()
        text = str(caught.value)
        assert text.startswith(f"Kafka topic '{topic}' at {servers}: {operation} failed: ")
        assert said in text
        told = [r for r in caplog.records if r.name == operation and said in r.getMessage()]
        assert len(told) == 1
        assert not {"hunter2", PASSWORD} & set(re.findall(r"\w+", text + repr(caught.value)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(is_refused, make_source, "reading")
        nursery.start_soon(is_refused, make_sink, "writing")
    assert "hunter2" not in caplog.text
    assert PASSWORD not in caplog.text


async def test_a_certificate_of_another_host_does_when_nobody_looks_at_the_host(broker, topic):
    create_topic(broker.bootstrap_servers, topic)
    options = tls(broker, **{"ssl.endpoint.identification.algorithm": "none"})
    assert await flows(broker.servers("FOREIGN"), topic, options)


async def test_any_certificate_does_when_nobody_looks_at_it(broker, topic):
    create_topic(broker.bootstrap_servers, topic)
    options = {"security.protocol": "SSL", "enable.ssl.certificate.verification": False}
    assert await flows(broker.servers("FOREIGN"), topic, options)


async def test_a_reference_that_leads_nowhere_is_an_error_at_the_start(broker, topic):
    options = login(broker, password="file:/nowhere/password")
    source = make_source(broker.servers("LOGIN"), topic, options=options)
    with pytest.raises(EndpointError, match=r"sasl\.password = file:/nowhere/password: the file"):
        await source.start()
    await source.stop()


async def test_a_secured_broker_that_is_down_is_waited_for(broker, secrets, topic):
    create_topic(broker.bootstrap_servers, topic)
    servers, options = broker.servers("LOGIN"), login(broker)
    with trio.fail_after(2 * LIMIT):
        async with (
            make_sink(servers, topic, options=options) as sink,
            make_source(servers, topic, options=options) as source,
        ):
            await sink.awrite(1)
            assert await source.receive() == 1
            await trio.to_thread.run_sync(broker.kill)
            with trio.move_on_after(REFUSAL_GRACE + 2.0):
                await source.receive()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(sink.awrite, 2)
                nursery.start_soon(trio.to_thread.run_sync, broker.start)
            assert await source.receive() == 2


async def test_a_password_that_is_changed_meanwhile_is_an_error(broker, secrets, topic):
    create_topic(broker.bootstrap_servers, topic)
    servers, options = broker.servers("LOGIN"), login(broker)
    try:
        async with (
            make_source(servers, topic, options=options) as source,
            make_sink(servers, topic, options=options) as sink,
        ):
            await trio.to_thread.run_sync(set_password, broker, "changed")
            await trio.to_thread.run_sync(broker.restart)  # no open connection asks again
            for use in (source.receive, lambda: sink.awrite(1)):
                with trio.fail_after(PROMPT), pytest.raises(EndpointError, match="_AUTHENT"):
                    await use()
    finally:
        await trio.to_thread.run_sync(set_password, broker, PASSWORD)
    assert await flows(servers, topic, options)


async def test_dead_letters_go_through_options_of_their_own(broker, secrets, topic):
    dead = f"{topic}-dead"
    for name in (topic, dead):
        create_topic(broker.bootstrap_servers, name)
    kafka = {"servers": broker.servers("TLS"), "topic": topic, "options": tls(broker)}
    letters = {"servers": broker.servers("LOGIN"), "topic": dead, "options": login(broker)}
    exchange = {
        "dtype": "int64",
        "source": {"type": "KafkaConsumerSource", **kafka},
        "sink": {"type": "InMemorySink", "key": topic},
        "on_error": {"type": "dead_letter", **letters},
    }
    async with open_supervisor() as supervisor:
        await supervisor.configure(parse(json.dumps({"exchanges": [exchange]})))
        await supervisor.start()
        await until(lambda: supervisor.state is State.ON, lambda: supervisor.status)
        produce(broker.bootstrap_servers, topic, [b"1", b"no number", b"2"])
        with trio.fail_after(LIMIT):
            await until(lambda: supervisor.statistics()["default[0]"]["dead_lettered"] == 1)
    assert read_all(broker.bootstrap_servers, dead) == {0: [b"no number"]}


async def test_a_wrong_password_shows_in_the_fault_of_its_group_and_disturbs_no_other(
    broker, secrets, topic
):
    create_topic(broker.bootstrap_servers, topic)

    def route(listener, options):
        source = {
            "type": "KafkaConsumerSource",
            "servers": broker.servers(listener),
            "topic": topic,
            "options": options,
        }
        return [{"source": source, "sink": {"type": "InMemorySink", "key": topic}}]

    wrong = login(broker, password=f"file:{secrets}/wrong")
    groups = {"wrong": route("LOGIN", wrong), "right": route("TLS", tls(broker))}
    async with open_supervisor() as supervisor:
        await supervisor.configure(parse(json.dumps({"exchanges": groups})))
        with trio.fail_after(LIMIT):
            await supervisor.start()
            group = supervisor.groups["wrong"]
            await until(lambda: group.state is State.FAULT, lambda: supervisor.status)
        assert "_AUTHENTICATION" in group.fault.message
        assert supervisor.groups["right"].state is State.ON
        for text in (supervisor.as_dict(), supervisor.configuration(), supervisor.status):
            assert "hunter2" not in repr(text)


def set_password(broker, password):
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers, "log_level": 0})
    info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
    changed = UserScramCredentialUpsertion(USER, info, password.encode())
    for done in admin.alter_user_scram_credentials([changed]).values():
        done.result(LIMIT)
