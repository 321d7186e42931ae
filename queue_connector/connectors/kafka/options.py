"""What a configuration may tell librdkafka itself, and what of it goes with what.

* faults    never show a value: what stands at the wrong place may be a secret too
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ...model.errors import Fault
from ...model.hooks import MAX_FAULTS
from ...model.option import step
from ...model.registry import did_you_mean
from .librdkafka_settings import NAMES
from .settings import (
    LIKE_A_REFERENCE,
    MECHANISMS,
    REFERENCE,
    SETTINGS,
    Setting,
    Value,
    option_fault,
)

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


def faults_of_options(options: Mapping[str, Value], *, sink: bool) -> Iterator[Fault]:
    """What cannot work, of options that have the right form; paths start at the descriptor.

    What is given by reference is not looked at, and may be anything.
    """
    for name, value in options.items():
        setting = SETTINGS[name]
        if setting.sink_only and not sink:
            yield option_fault(name, "only a sink has this setting", "remove it")
        if isinstance(value, str) and (complaint := _text_complaint(setting, value)):
            yield option_fault(name, *complaint)
    for first, second in _TWICE:
        if first in options and second in options:
            yield option_fault(second, f"{first} is given too", "write one of the two")
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


def _text_complaint(setting: Setting, value: str) -> tuple[str, str] | None:
    if setting.path and value.startswith("file:"):
        pem = setting.name.replace(".location", ".pem")
        other = f", or {pem} with this reference" if pem in SETTINGS else ""
        return "this names a file itself", f"write the path without file:{other}"
    if "\0" in value:
        return "holds a NUL character", "remove it"
    if LIKE_A_REFERENCE.match(value) and not re.search(REFERENCE, value):
        return "is not a reference", "write file: and an absolute path, or env: and a name"
    return None


def _plain(options: Mapping[str, Value], name: str, otherwise: str | None) -> str | None:
    """A setting as it is written; None when it is given by reference."""
    value = options.get(name, otherwise)
    return value if isinstance(value, str) and not LIKE_A_REFERENCE.match(value) else None


def _protocol_faults(options: Mapping[str, Value], protocol: str) -> Iterator[Fault]:
    sasl, tls = protocol.startswith("SASL_"), protocol.endswith("SSL")
    for name in options:
        if name.startswith("sasl.") and not sasl:
            hint = "write security.protocol SASL_SSL or SASL_PLAINTEXT"
            yield option_fault(name, f"{protocol} has no log-in", hint)
        if name.startswith(("ssl.", "enable.ssl.")) and not tls:
            hint = f"write security.protocol {'SASL_SSL' if sasl else 'SSL'}"
            yield option_fault(name, f"{protocol} is not encrypted", hint)
    if sasl and not {"sasl.mechanism", "sasl.mechanisms"} & set(options):
        known = ", ".join(MECHANISMS)
        yield option_fault(
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
            yield option_fault(name, f"the key is missing; {mechanism} needs it", hint)
    for name in options:
        if name in _WITH_PASSWORD if token else name.startswith("sasl.oauthbearer."):
            yield option_fault(
                name, f"{mechanism} has no use for it", "remove it, or change the mechanism"
            )


def _certificate_faults(options: Mapping[str, Value]) -> Iterator[Fault]:
    def given(what: str) -> str:
        found = (f"{what}.{form}" for form in ("location", "pem") if f"{what}.{form}" in options)
        return next(found, "")

    certificate, key = given("ssl.certificate"), given("ssl.key")
    if certificate and not key:
        yield option_fault(certificate, "a certificate without its key", "write ssl.key.location")
    if key and not certificate:
        yield option_fault(key, "a key without its certificate", "write ssl.certificate.location")
    if "ssl.key.password" in options and not key:
        yield option_fault("ssl.key.password", "there is no key", "write ssl.key.location")
    keystore = {"ssl.keystore.location", "ssl.keystore.password"}
    if missing := keystore - set(options) if keystore & set(options) else None:
        (name,) = missing
        (other,) = keystore - missing
        yield option_fault(other, f"needs {name} too", SETTINGS[name].doc)
