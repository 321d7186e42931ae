"""A Kafka broker with listeners that want certificates and log-ins, and all that they ask for.

* listeners  ``CLIENT`` plain, ``TLS``, ``FOREIGN`` TLS with a certificate for another host,
  ``MUTUAL`` TLS that asks clients for a certificate too, ``LOGIN`` SASL over TLS
* log-ins    PLAIN, SCRAM-SHA-512 and OAUTHBEARER, whose tokens come from `TokenServer`; they are
  unsigned, as Kafka's own validator for tests takes them
* by hand    ``python -m tests.services.secure_kafka DIRECTORY`` runs one until Ctrl-C, with a
  configuration for it in ``DIRECTORY/configuration.json``
* source     Apache Kafka documentation, "Security"
"""

from __future__ import annotations

import base64
import http.server
import json
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import trustme
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from tests.services.kafka import KafkaServer, create_topic
from tests.services.process import LOOPBACK, free_port

USER = "alice"
PASSWORD = "correct horse battery staple"
CLIENT_SECRET = "of the client"
OTHER_HOST = "kafka.example"

_LISTENERS = {"TLS": "SSL", "FOREIGN": "SSL", "MUTUAL": "SSL", "LOGIN": "SASL_SSL"}
_MAP = "listener.security.protocol.map"
_MODULES = "org.apache.kafka.common.security"


class SecureKafkaServer(KafkaServer):
    """A `KafkaServer` with further listeners; ``ca.pem``, ``client.pem``, ``client.key`` beside it.

    ``stranger.*`` are of an authority that the broker does not know.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.ports = {name: free_port() for name in _LISTENERS}
        authority, stranger = trustme.CA(), trustme.CA()
        authority.cert_pem.write_to_path(str(directory / "ca.pem"))
        stranger.cert_pem.write_to_path(str(directory / "stranger-ca.pem"))
        _write_pair(authority, directory / "client", "connector")
        _write_pair(stranger, directory / "stranger", "connector")
        for name, host in (("broker", LOOPBACK), ("foreign", OTHER_HOST)):
            _write_pair(authority, directory / name, host)
            both = (directory / f"{name}.key").read_text() + (directory / f"{name}.pem").read_text()
            (directory / f"{name}-both.pem").write_text(both)
        self.properties |= self._security()

    def servers(self, listener: str) -> str:
        """The address of a listener."""
        return f"{LOOPBACK}:{self.ports[listener]}"

    @property
    def format_arguments(self) -> Sequence[str]:
        return ["--add-scram", f'SCRAM-SHA-512=[name={USER},password="{PASSWORD}"]']

    def _security(self) -> dict[str, object]:
        own = self._server_properties()
        extra = {name: f"{name}://{self.servers(name)}" for name in _LISTENERS}
        protocols = ",".join(f"{name}:{protocol}" for name, protocol in _LISTENERS.items())
        properties: dict[str, object] = {
            "listeners": ",".join([str(own["listeners"]), *extra.values()]),
            "advertised.listeners": ",".join([str(own["advertised.listeners"]), *extra.values()]),
            _MAP: f"{own[_MAP]},{protocols}",
            "listener.name.login.sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-512,OAUTHBEARER",
            "listener.name.login.plain.sasl.jaas.config": (
                f'{_MODULES}.plain.PlainLoginModule required user_{USER}="{PASSWORD}";'
            ),
            "listener.name.login.scram-sha-512.sasl.jaas.config": (
                f"{_MODULES}.scram.ScramLoginModule required;"
            ),
            "listener.name.login.oauthbearer.sasl.jaas.config": (
                f"{_MODULES}.oauthbearer.OAuthBearerLoginModule required "
                'unsecuredLoginStringClaim_sub="broker";'
            ),
        }
        for name in _LISTENERS:
            prefix = f"listener.name.{name.lower()}.ssl"
            store = "foreign" if name == "FOREIGN" else "broker"
            properties[f"{prefix}.keystore.type"] = "PEM"
            properties[f"{prefix}.keystore.location"] = self.directory / f"{store}-both.pem"
        properties["listener.name.mutual.ssl.client.auth"] = "required"
        properties["listener.name.mutual.ssl.truststore.type"] = "PEM"
        properties["listener.name.mutual.ssl.truststore.location"] = self.directory / "ca.pem"
        return properties


def _write_pair(authority: trustme.CA, stem: Path, host: str) -> None:
    """A certificate for *host* and its key, in PKCS#8 as Kafka wants it."""
    issued = authority.issue_cert(host)
    chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
    stem.with_suffix(".pem").write_bytes(chain)
    key = load_pem_private_key(issued.private_key_pem.bytes(), None)
    stem.with_suffix(".key").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )


class TokenServer:
    """Gives a token to whoever knows `CLIENT_SECRET`, as an OpenID provider does."""

    def __enter__(self) -> Self:
        self._server = http.server.ThreadingHTTPServer((LOOPBACK, 0), _TokenHandler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        """Where tokens are asked for."""
        return f"http://{LOOPBACK}:{self._server.server_port}/token"


class _TokenHandler(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        expected = base64.b64encode(f"{USER}:{CLIENT_SECRET}".encode()).decode()
        known = self.headers["Authorization"] == f"Basic {expected}"
        now = int(time.time())
        token = _part({"alg": "none"}) + "." + _part({"sub": USER, "iat": now, "exp": now + 300})
        answer = {"access_token": f"{token}.", "token_type": "Bearer", "expires_in": 300}
        refusal = {"error": "invalid_client", "error_description": "who are you?"}
        body = json.dumps(answer if known else refusal).encode()
        self.send_response(200 if known else 401)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def _part(claims: dict[str, object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")


def configuration(server: SecureKafkaServer) -> dict[str, Any]:
    """One exchange that writes with a password, and one that reads with a certificate."""
    trust = {"ssl.ca.location": f"{server.directory}/ca.pem"}
    writing = {
        **trust,
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": USER,
        "sasl.password": f"file:{server.directory}/password",
    }
    reading = {
        **trust,
        "security.protocol": "SSL",
        "ssl.certificate.location": f"{server.directory}/client.pem",
        "ssl.key.location": f"{server.directory}/client.key",
    }

    def kafka(kind: str, listener: str, options: dict[str, str]) -> dict[str, Any]:
        servers = server.servers(listener)
        return {"type": kind, "servers": servers, "topic": "numbers", "options": options}

    numbers = {"type": "InMemorySource", "data": list(range(60)), "delay": 1}
    shown = {"type": "TangoLocalAttributeSink", "attribute_name": "number"}
    routes = [
        {"source": numbers, "sink": kafka("KafkaProducerSink", "LOGIN", writing)},
        {"source": kafka("KafkaConsumerSource", "MUTUAL", reading), "sink": shown},
    ]
    return {"exchanges": [{"dtype": "int64", **route} for route in routes]}


def main() -> None:
    """Run a broker until Ctrl-C."""
    directory = Path(sys.argv[1]).resolve()
    directory.mkdir(parents=True, exist_ok=True)
    server = SecureKafkaServer(directory)
    (directory / "password").write_text(f"{PASSWORD}\n")
    with server:
        create_topic(server.bootstrap_servers, "numbers")
        (directory / "configuration.json").write_text(json.dumps(configuration(server), indent=2))
        for name in _LISTENERS:
            print(f"{name:8} {server.servers(name)}")
        print("Ctrl-C ends it", flush=True)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    main()
