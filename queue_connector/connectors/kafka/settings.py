"""The settings of librdkafka that a configuration may have: TLS, SASL and little else.

* allowed   what `SETTINGS` lists; no setting that loads code, runs programs or changes what the
            guarantees rest on
* source    librdkafka, CONFIGURATION.md
"""

from __future__ import annotations

import re
from typing import Any

import attrs

from ...model.errors import Fault
from ...model.option import step
from ...model.registry import did_you_mean

Value = str | bool

REFERENCE = r"^(file:/[^\u0000]*|env:[A-Za-z_][A-Za-z0-9_]*)$"
"""How a reference is written, as a regular expression of JSON Schema and Python alike."""

LIKE_A_REFERENCE = re.compile(r"(file|env):")


@attrs.frozen
class Setting:
    """One setting of librdkafka that `options` may hold."""

    name: str
    doc: str
    choices: tuple[str, ...] = ()
    """What it may be, where it is not free."""
    secret: bool = False
    """Whether it is written by reference alone."""
    boolean: bool = False
    path: bool = False
    """Whether it names a file that librdkafka reads."""
    sink_only: bool = False

    @property
    def kind(self) -> str:
        """What to write, for people."""
        if self.secret:
            return "reference"
        if self.boolean:
            return "true or false"
        if self.choices:
            return " or ".join(map(repr, self.choices))
        return "path" if self.path else "text"

    def schema(self) -> dict[str, Any]:
        """What may be written, as JSON Schema."""
        reference = {"type": "string", "pattern": REFERENCE}
        if self.secret:
            return reference
        if self.boolean:
            return {"anyOf": [{"type": "boolean"}, reference]}
        if self.choices:
            return {"anyOf": [{"type": "string", "enum": list(self.choices)}, reference]}
        return {"type": "string", "minLength": 1}

    def complaint(self, value: object) -> tuple[str, str]:
        """What is wrong with the form of a value, and a hint; both empty when nothing is."""
        referred = isinstance(value, str) and re.search(REFERENCE, value)
        if self.secret:
            if referred:
                return "", ""
            return "a secret is not written into a configuration, only where it is", _REFER
        if referred or (self.boolean and isinstance(value, bool)):
            return "", ""
        if self.choices or self.boolean:
            near = did_you_mean(value, self.choices) if isinstance(value, str) else ""
            hint = _REFER if near.startswith("known") or not near else near
            return ("", "") if value in self.choices else (f"expected {self.kind}", hint)
        if not isinstance(value, str) or not value:
            return "expected text", "write it in double quotes" if value != "" else self.doc
        return "", ""


_REFER = "write file:/path, a file that holds it, or env:NAME, a variable"

_PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER")

SETTINGS: dict[str, Setting] = {
    setting.name: setting
    for setting in (
        Setting(
            "security.protocol",
            "How to speak to the brokers; PLAINTEXT when it is not given.",
            (*_PROTOCOLS, *map(str.lower, _PROTOCOLS)),
        ),
        Setting("sasl.mechanism", "How to log in.", MECHANISMS),
        Setting("sasl.mechanisms", "The same as sasl.mechanism.", MECHANISMS),
        Setting("sasl.username", "Who logs in, with PLAIN and SCRAM."),
        Setting("sasl.password", "The password that goes with it.", secret=True),
        Setting(
            "sasl.oauthbearer.method",
            "How to get tokens: with OAUTHBEARER it must say that they come from a server.",
            ("oidc",),
        ),
        Setting("sasl.oauthbearer.client.id", "Who asks for tokens."),
        Setting("sasl.oauthbearer.client.secret", "The secret that goes with it.", secret=True),
        Setting("sasl.oauthbearer.token.endpoint.url", "The server to get tokens from."),
        Setting("sasl.oauthbearer.scope", "What the tokens are to be good for."),
        Setting("sasl.oauthbearer.extensions", "More for the broker: key=value, with commas."),
        Setting("https.ca.location", "Certificates to trust the token server by.", path=True),
        Setting("https.ca.pem", "The same as PEM text."),
        Setting("ssl.ca.location", "Certificates to trust brokers by, as PEM.", path=True),
        Setting("ssl.ca.pem", "The same as PEM text."),
        Setting("ssl.certificate.location", "The connector's own certificate, as PEM.", path=True),
        Setting("ssl.certificate.pem", "The same as PEM text."),
        Setting("ssl.key.location", "The key of the own certificate, as PEM.", path=True),
        Setting("ssl.key.pem", "The same as PEM text.", secret=True),
        Setting("ssl.key.password", "What the key is encrypted with.", secret=True),
        Setting("ssl.keystore.location", "Own certificate and key in PKCS#12.", path=True),
        Setting("ssl.keystore.password", "What the keystore is encrypted with.", secret=True),
        Setting("ssl.crl.location", "Certificates that were revoked.", path=True),
        Setting("ssl.cipher.suites", "Ciphers that may be used, as OpenSSL names them."),
        Setting("ssl.curves.list", "Curves that may be used, as OpenSSL names them."),
        Setting("ssl.sigalgs.list", "Signatures that may be used, as OpenSSL names them."),
        Setting(
            "ssl.endpoint.identification.algorithm",
            "Whether the broker's certificate must be for its host: https, the default, or none.",
            ("https", "none"),
        ),
        Setting(
            "enable.ssl.certificate.verification",
            "Whether the broker's certificate is checked at all; true when it is not given.",
            boolean=True,
        ),
        Setting("client.id", "How the brokers' logs and quotas call the connector."),
        Setting("client.rack", "Where it runs, so that the nearest replica is read."),
        Setting(
            "compression.type",
            "How a sink compresses what it sends.",
            ("none", "gzip", "snappy", "lz4", "zstd"),
            sink_only=True,
        ),
    )
}


def option_fault(name: str, message: str, hint: str) -> Fault:
    """What is wrong with a setting, at its place in the descriptor."""
    return Fault(f"$.options{step(name)}", message, hint)


def refers(value: Value) -> bool:
    """Whether a value is a reference, or was meant to be one."""
    return isinstance(value, str) and LIKE_A_REFERENCE.match(value) is not None
