"""What a configuration says of a Kafka topic, shared by source and sink; no I/O.

* servers   ``host``, ``host:port``, ``[::1]:port``, alone, comma-separated or as a list
* topic     1 to 249 of ``a-z A-Z 0-9 . _ -``, as the broker demands
* encoding  a registered codec; for bytes any text, or null
* options   settings of librdkafka for TLS and SASL, see `options`
* source    Apache Kafka, ``org.apache.kafka.common.internals.Topic``
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import attrs

from ...codecs import Codec, codec_for, codecs
from ...model.complaint import shown
from ...model.datatypes import DataSpec, Kind
from ...model.endpoints import EndpointDescriptor, PeerDescriptor, SinkDescriptor, SourceDescriptor
from ...model.errors import Fault
from ...model.option import option
from ...model.probe import Probe
from ...model.registry import UnknownNameError
from ...model.services import Place
from .options import OPTIONS_DOC, OptionsForm, faults_of_options
from .references import absences_of_options

DEFAULT_PORT = 9092
MAX_TOPIC_LENGTH = 249

_ADDRESS = re.compile(
    r"(?P<protocol>(?i:SASL_)?(?i:PLAINTEXT|SSL)://)?(?P<host>\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9._-]+)(:(?P<port>\d{1,5}))?"
)


def bootstrap_servers(servers: str | Sequence[str]) -> str:
    """The addresses as librdkafka takes them, each with a port: ``"a"`` is ``"a:9092"``."""
    return ",".join(_with_port(address) for _, address in _addresses(servers))


def _addresses(servers: str | Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each address with the relative JSON path of the text that it stands in."""
    if isinstance(servers, str):
        texts = [("", servers)]
    else:
        texts = [(f"[{index}]", text) for index, text in enumerate(servers)]
    for path, text in texts:
        for address in text.split(","):
            yield path, address.strip()


def _with_port(address: str) -> str:
    found = _ADDRESS.fullmatch(address)
    return address if found is None or found["port"] else f"{address}:{DEFAULT_PORT}"


def _address_complaint(address: str) -> str:
    found = _ADDRESS.fullmatch(address)
    if found is None:
        return f"{shown(address)} is not the address of a Kafka broker"
    if found["port"] and not 0 < int(found["port"]) < 65536:
        return f"{address!r} has no valid port"
    return ""


def _topic_complaint(topic: str) -> str:
    if not topic:
        return "a topic without a name"
    if topic in (".", ".."):
        return f"a topic cannot be called {topic!r}"
    if len(topic) > MAX_TOPIC_LENGTH:
        return f"the topic's name has {len(topic)} characters, Kafka allows {MAX_TOPIC_LENGTH}"
    illegal = sorted(set(re.sub(r"[A-Za-z0-9._-]", "", topic)))
    if illegal:
        return f"the topic {topic!r} has characters that Kafka does not allow: {''.join(illegal)!r}"
    return ""


DEFAULT_ENCODING = "python"


@attrs.frozen(kw_only=True, slots=False)  # so that it can stand beside another base with fields
class KafkaAddress(PeerDescriptor):
    """A topic, and where it is."""

    servers: str | list[str] = option(
        min_length=1, doc="Addresses to ask for the cluster, host or host:port; the port is 9092."
    )
    topic: str = option(min_length=1, doc="The name of the topic.")
    options: dict[str, str | bool] = option(default={}, form=OptionsForm(), doc=OPTIONS_DOC)

    @property
    def bootstrap(self) -> str:
        """The addresses, each with a port, separated by commas."""
        return bootstrap_servers(self.servers)

    @property
    def place(self) -> Place:
        """The topic, on each of the servers: as far as addresses tell."""
        keys = frozenset(("kafka", server, self.topic) for server in self.bootstrap.split(","))
        return Place("topic", f"the topic {self.topic!r}", keys)

    def probe(self) -> Iterator[Probe]:
        """Whether a broker answers, and has the topic."""
        from .probing import probe_topic

        written = not isinstance(self, SourceDescriptor)
        yield from probe_topic(self.bootstrap, self.topic, self.options, written=written)

    def address_faults(self, *, written: bool) -> Iterator[Fault]:
        """Addresses, topic names and settings that cannot be; whether the topic is *written*."""
        for path, address in _addresses(self.servers):
            if complaint := _address_complaint(address):
                yield Fault(f"$.servers{path}", complaint, "write host or host:port")
        if complaint := _topic_complaint(self.topic):
            yield Fault("$.topic", complaint, "letters, digits, '.', '_' and '-' are allowed")
        yield from faults_of_options(self.options, sink=written)

    def absences(self) -> Iterator[Fault]:
        yield from absences_of_options(self.options)


@attrs.frozen(kw_only=True)
class KafkaTopicDescriptor(KafkaAddress, EndpointDescriptor):
    """A topic, where it is, and how its messages are written."""

    encoding: str | None = option(
        default=DEFAULT_ENCODING,
        doc="How messages are written. For bytes nothing is coded, and any text, or null, may "
        "stand here: a source pairs the bytes with it, a sink refuses those that carry another "
        "(the default and null: takes all).",
    )
    variable: str | None = option(
        default=None,
        min_length=1,
        doc="Which array of a message is carried, where the encoding has several: those of xarray. "
        "Null is the only one.",
    )

    def coding(self, spec: DataSpec) -> Codec:
        """The codec that its encoding names."""
        return codec_for(self.encoding, spec, self.variable)

    def faults(self, spec: DataSpec) -> Iterator[Fault]:
        """Also addresses, topic names and encodings that cannot be."""
        yield from super().faults(spec)
        yield from self.address_faults(written=isinstance(self, SinkDescriptor))
        yield from self._encoding_faults(spec)

    def _encoding_faults(self, spec: DataSpec) -> Iterator[Fault]:
        if spec.kind is Kind.BYTES:
            return
        try:
            found = codecs.lookup(self.encoding)
        except UnknownNameError as error:
            yield Fault("$.encoding", error.message, error.hint)
            return
        if self.variable is not None and (not found.has_variables or spec.kind is Kind.OBJECT):
            whole = f"objects are {self.encoding}'s whole messages"
            reason = whole if found.has_variables else f"{self.encoding} has no variables"
            yield Fault("$.variable", reason, "leave it out")
            return
        for fault in codec_for(self.encoding, spec, self.variable).faults(spec):
            yield fault.below("$.encoding")
