"""What a configuration may tell librdkafka itself: TLS, SASL and little else. Only `resolve` reads.

* allowed     what `SETTINGS` lists; no setting that loads code, runs programs or changes what the
              guarantees rest on
* values      as they stand, or by reference: ``file:/path`` is the content of a file less one
              newline at its end, ``env:NAME`` that of a variable
* secrets     by reference alone, so that no configuration holds one. A reference is followed when a
              client is opened, and what it led to is handed to librdkafka and kept nowhere else
* faults      never show a value: what stands at the wrong place may be a secret too
* source      librdkafka, CONFIGURATION.md
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from ...model.errors import EndpointError, Fault
from ...model.hooks import MAX_FAULTS
from ...model.option import step
from ...model.registry import did_you_mean
from .librdkafka_settings import NAMES

Value = str | bool

MAX_REFERENCED_BYTES = 64 * 1024
"""The largest file or variable that a reference of `options` may lead to."""

REFERENCE = r"^(file:/[^\u0000]*|env:[A-Za-z_][A-Za-z0-9_]*)$"
"""How a reference is written, as a regular expression of JSON Schema and Python alike."""

_LIKE_A_REFERENCE = re.compile(r"(file|env):")


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
_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER")

SETTINGS: dict[str, Setting] = {
    setting.name: setting
    for setting in (
        Setting(
            "security.protocol",
            "How to speak to the brokers; PLAINTEXT when it is not given.",
            (*_PROTOCOLS, *map(str.lower, _PROTOCOLS)),
        ),
        Setting("sasl.mechanism", "How to log in.", _MECHANISMS),
        Setting("sasl.mechanisms", "The same as sasl.mechanism.", _MECHANISMS),
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

_INSTEAD = {
    "bootstrap.servers": "write the key servers beside options",
    "metadata.broker.list": "write the key servers beside options",
    "message.max.bytes": "write the key message_max_bytes beside options",
    "group.id": "write the key group_id beside options",
    "auto.offset.reset": "write the key start beside options",
}

OPTIONS_DOC = (
    "Settings of librdkafka for TLS and SASL, by their names. A secret is written as file:/path or "
    "env:NAME only."
)
"""What the key `options` means."""


class OptionsForm:
    """How `options` are written, as a `Form`: ``option(default={}, form=OptionsForm(), ...)``."""

    def faults(self, value: object) -> Iterator[Fault]:
        """What is wrong with the form, in which no value is shown."""
        if not isinstance(value, Mapping):
            yield Fault("$", "expected a mapping of names to settings", "write it in { }")
            return
        told = 0
        for name, given in value.items():
            path = "$" + step(_short(str(name)))
            if name not in SETTINGS:
                yield Fault(path, *_unknown(name))
            elif complaint := SETTINGS[name].complaint(given):
                if not complaint[0]:
                    continue
                yield Fault(path, *complaint)
            told += 1
            if told == MAX_FAULTS:
                return

    def schema(self) -> dict[str, Any]:
        """The form as JSON Schema."""
        return {
            "type": "object",
            "properties": {
                name: {"description": setting.doc, **setting.schema()}
                for name, setting in SETTINGS.items()
            },
            "required": [],
            "additionalProperties": False,
        }


def _short(name: str) -> str:
    return name if len(name) <= 80 else name[:79] + "…"


def _unknown(name: object) -> tuple[str, str]:
    if name in NAMES:
        hint = _INSTEAD.get(str(name), "the reference of options lists those that are")
        return "librdkafka has this setting, but it is not allowed here", hint
    near = did_you_mean(str(name), list(SETTINGS), ["see the reference of options"])
    return "there is no such setting", near.removeprefix("known: ")


# -- what goes with what ---------------------------------------------------------------------------


def faults_of_options(options: Mapping[str, Value], *, sink: bool) -> Iterator[Fault]:
    """What cannot work, of options that have the right form; paths start at the descriptor.

    What is given by reference is not looked at, and may be anything.
    """
    for name, value in options.items():
        setting = SETTINGS[name]
        if setting.sink_only and not sink:
            yield _fault(name, "only a sink has this setting", "remove it")
        if isinstance(value, str) and (complaint := _text_complaint(setting, value)):
            yield _fault(name, *complaint)
    for first, second in _TWICE:
        if first in options and second in options:
            yield _fault(second, f"{first} is given too", "write one of the two")
    protocol = _plain(options, "security.protocol", "PLAINTEXT")
    if protocol is not None:
        yield from _protocol_faults(options, protocol.upper())
    mechanism = _plain(options, "sasl.mechanism", _plain(options, "sasl.mechanisms", ""))
    if mechanism:
        yield from _mechanism_faults(options, mechanism)
    yield from _certificate_faults(options)


_TWICE = (
    ("sasl.mechanism", "sasl.mechanisms"),
    *((f"{what}.location", f"{what}.pem") for what in ("https.ca", "ssl.ca")),
    *((f"{what}.location", f"{what}.pem") for what in ("ssl.certificate", "ssl.key")),
    ("ssl.keystore.location", "ssl.certificate.location"),
    ("ssl.keystore.location", "ssl.certificate.pem"),
)


def _fault(name: str, message: str, hint: str) -> Fault:
    return Fault(f"$.options{step(name)}", message, hint)


def _text_complaint(setting: Setting, value: str) -> tuple[str, str] | None:
    if setting.path and value.startswith("file:"):
        pem = setting.name.replace(".location", ".pem")
        other = f", or {pem} with this reference" if pem in SETTINGS else ""
        return "this names a file itself", f"write the path without file:{other}"
    if "\0" in value:
        return "holds a NUL character", "remove it"
    if _LIKE_A_REFERENCE.match(value) and not re.search(REFERENCE, value):
        return "is not a reference", "write file: and an absolute path, or env: and a name"
    return None


def _plain(options: Mapping[str, Value], name: str, otherwise: str | None) -> str | None:
    """A setting as it is written; None when it is given by reference."""
    value = options.get(name, otherwise)
    return value if isinstance(value, str) and not _LIKE_A_REFERENCE.match(value) else None


def _protocol_faults(options: Mapping[str, Value], protocol: str) -> Iterator[Fault]:
    sasl, tls = protocol.startswith("SASL_"), protocol.endswith("SSL")
    for name in options:
        if name.startswith("sasl.") and not sasl:
            hint = "write security.protocol SASL_SSL or SASL_PLAINTEXT"
            yield _fault(name, f"{protocol} has no log-in", hint)
        if name.startswith(("ssl.", "enable.ssl.")) and not tls:
            hint = f"write security.protocol {'SASL_SSL' if sasl else 'SSL'}"
            yield _fault(name, f"{protocol} is not encrypted", hint)
    if sasl and not {"sasl.mechanism", "sasl.mechanisms"} & set(options):
        known = ", ".join(_MECHANISMS)
        yield _fault(
            "sasl.mechanism", f"the key is missing; {protocol} needs it", f"one of {known}"
        )


_WITH_PASSWORD = ("sasl.username", "sasl.password")
_WITH_TOKEN = (
    "sasl.oauthbearer.method",
    "sasl.oauthbearer.client.id",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.token.endpoint.url",
)


def _mechanism_faults(options: Mapping[str, Value], mechanism: str) -> Iterator[Fault]:
    token = mechanism == "OAUTHBEARER"
    for name in _WITH_TOKEN if token else _WITH_PASSWORD:
        if name not in options:
            hint = SETTINGS[name].doc
            yield _fault(name, f"the key is missing; {mechanism} needs it", hint)
    for name in options:
        if name in _WITH_PASSWORD if token else name.startswith("sasl.oauthbearer."):
            yield _fault(
                name, f"{mechanism} has no use for it", "remove it, or change the mechanism"
            )


def _certificate_faults(options: Mapping[str, Value]) -> Iterator[Fault]:
    def given(what: str) -> str:
        found = (f"{what}.{form}" for form in ("location", "pem") if f"{what}.{form}" in options)
        return next(found, "")

    certificate, key = given("ssl.certificate"), given("ssl.key")
    if certificate and not key:
        yield _fault(certificate, "a certificate without its key", "write ssl.key.location")
    if key and not certificate:
        yield _fault(key, "a key without its certificate", "write ssl.certificate.location")
    if "ssl.key.password" in options and not key:
        yield _fault("ssl.key.password", "there is no key", "write ssl.key.location")
    keystore = {"ssl.keystore.location", "ssl.keystore.password"}
    if missing := keystore - set(options) if keystore & set(options) else None:
        (name,) = missing
        (other,) = keystore - missing
        yield _fault(other, f"needs {name} too", SETTINGS[name].doc)


# -- what they lead to -----------------------------------------------------------------------------


class _Unusable(Exception):
    """Why a value cannot be used, without the value."""


def resolve(options: Mapping[str, Value], endpoint: str, operation: str) -> dict[str, str]:
    """The settings as librdkafka takes them, with what references lead to. Reads files.

    Raises:
        EndpointError: a reference leads to nothing that can be used. Setting and reference are
            named, what was found is not shown.
    """
    resolved = {}
    for name, value in options.items():
        try:
            resolved[name] = _resolved(SETTINGS[name], value)
        except _Unusable as error:
            where = f"{name} = {value}" if _refers(value) or SETTINGS[name].path else name
            raise EndpointError(endpoint, operation, f"option {where}: {error}") from None
    return resolved


def absences_of_options(options: Mapping[str, Value]) -> Iterator[Fault]:
    """Which values lead to nothing that can be used here; paths start at the descriptor."""
    for name, value in options.items():
        try:
            _resolved(SETTINGS[name], value)
        except _Unusable as error:
            where = f"{value}: " if _refers(value) or SETTINGS[name].path else ""
            yield _fault(name, f"{where}{error}", "it must be there where the device runs")


def _refers(value: Value) -> bool:
    return isinstance(value, str) and _LIKE_A_REFERENCE.match(value) is not None


def _resolved(setting: Setting, value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if value.startswith("file:"):
        content = _content(value.removeprefix("file:"))
    elif value.startswith("env:"):
        content = _variable(value.removeprefix("env:"))
    else:
        content = value
    if "\0" in content:
        raise _Unusable("it holds a NUL character")
    if setting.boolean and content.lower() not in ("true", "false"):
        raise _Unusable("it holds neither true nor false")
    if setting.choices and content not in setting.choices:
        raise _Unusable(f"it holds something else than {setting.kind}")
    if setting.path and content != "probe" and not os.access(content, os.R_OK):
        raise _Unusable("there is no such file that this process may read")
    return content


def _variable(name: str) -> str:
    content = os.environ.get(name)
    if content is None:
        raise _Unusable("the variable is not set")
    if not content:
        raise _Unusable("the variable is empty")
    if len(os.fsencode(content)) > MAX_REFERENCED_BYTES:
        raise _Unusable(f"the variable has more than {MAX_REFERENCED_BYTES} bytes")
    return content


def _content(path: str) -> str:
    try:
        # Without waiting: nobody may ever write into what turns out to be a pipe.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise _Unusable("it is not a regular file")
            data = file.read(MAX_REFERENCED_BYTES + 1)
    except OSError as error:
        raise _Unusable(f"the file cannot be read: {error.strerror}") from None
    if len(data) > MAX_REFERENCED_BYTES:
        raise _Unusable(f"the file has more than {MAX_REFERENCED_BYTES} bytes")
    try:
        content = data.decode()
    except UnicodeDecodeError:
        raise _Unusable("the file is not UTF-8") from None
    content = content.removesuffix("\n").removesuffix("\r")
    if not content:
        raise _Unusable("the file is empty")
    return content
