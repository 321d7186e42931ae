"""How a datum is written as the bytes of a message, one file per encoding.

`codecs` is the registry; a codec is registered by the name that a configuration gives as
``encoding``. Importing this package registers every codec in it. `codec_for` picks the codec of
an exchange: bytes are never coded, whatever their encoding is called.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar

from ..model.conform import conform, conform_batch
from ..model.datatypes import Data, DataSpec, Kind
from ..model.errors import ConformError, DataError, DecodeError, EncodeError, Fault, untraced
from ..model.registry import Registry, import_submodules


class Codec(abc.ABC):
    """Writes and reads one encoding; instances hold no state that changes."""

    kinds: ClassVar[frozenset[Kind]]
    """The kinds of dtype that survive a round trip."""
    max_dimensions: ClassVar[int | None] = 2
    """The most dimensions that survive one; none: any number."""
    has_variables: ClassVar[bool] = False
    """Whether a payload holds several arrays by name; then its first argument is one's name."""

    @property
    def name(self) -> str:
        """What a configuration calls it."""
        return codecs.name_of(type(self))

    def refusal(self, spec: DataSpec) -> str:
        """Why data of *spec* would not survive a round trip; empty when they do."""
        if spec.kind not in self.kinds:
            return f"the encoding {self.name!r} does not carry {spec}"
        if spec.shape and spec.kind in (Kind.BYTES, Kind.OBJECT):
            return f"{spec.kind.value} is scalar only, found {spec}"
        if self.max_dimensions is not None and len(spec.shape) > self.max_dimensions:
            most = f"at most {self.max_dimensions} dimensions" if self.max_dimensions else "scalars"
            return f"the encoding {self.name!r} carries {most}, found {spec}"
        return ""

    def faults(self, spec: DataSpec) -> Iterator[Fault]:
        """What of *spec* the encoding cannot carry, for the descriptor that names it.

        Nothing is said of objects with dimensions: no encoding has to do with that, and
        `EndpointDescriptor.faults` says it already.
        """
        if spec.shape and spec.kind in (Kind.BYTES, Kind.OBJECT):
            return
        if message := self.refusal(spec):
            fitting = [name for name, codec in codecs.items() if not codec().refusal(spec)]
            hint = f"encodings that do: {', '.join(fitting)}" if fitting else "no encoding does"
            yield Fault("$", message, hint)

    def encode(self, value: Data, spec: DataSpec) -> bytes:
        """The payload of a value that conforms to *spec*.

        Raises:
            EncodeError: the encoding cannot carry this value.
        """
        try:
            return self.write(value, spec)
        except EncodeError:
            raise
        except Exception as error:
            raise EncodeError(self.name, spec, _reason(error)) from error

    def encode_batch(self, values: Sequence[object], spec: DataSpec) -> list[bytes | DataError]:
        """The payloads of many values, which are made to conform first, or what is wrong."""
        found: list[bytes | DataError] = []
        for value in conform_batch(values, spec):
            if isinstance(value, ConformError):
                found.append(value)
                continue
            try:
                found.append(self.encode(value, spec))
            except EncodeError as error:
                found.append(untraced(error))
        return found

    def decode(self, payload: bytes, spec: DataSpec) -> Data:
        """The value that a payload holds, conforming to *spec* with lengths up to its shape.

        Raises:
            DecodeError: the payload is malformed or holds something else. Nothing else escapes,
                no code runs, and memory stays in proportion to the payload's size.
        """
        try:
            return conform(self.read(payload, spec), spec, shorter=True)
        except ConformError as error:
            reason = f"found {error.found}: {error.reason}"
            raise DecodeError(self.name, spec, len(payload), reason) from error
        except Exception as error:  # whatever a hostile payload brings about
            raise DecodeError(self.name, spec, len(payload), _reason(error)) from error

    def decode_batch(self, payloads: Sequence[bytes], spec: DataSpec) -> list[Data | DecodeError]:
        """What `decode` gives for each of many payloads, in one go where they are alike."""
        if len(payloads) > 1 and not spec.labels:  # a label is looked for at each number
            values = self.read_batch(payloads, spec)
            if values is not None:
                return values
        found: list[Data | DecodeError] = []
        for payload in payloads:
            try:
                found.append(self.decode(payload, spec))
            except DecodeError as error:
                found.append(untraced(error))
        return found

    def read_batch(self, payloads: Sequence[bytes], spec: DataSpec) -> list[Data] | None:
        """The values of payloads that can be read together; None: one after the other."""
        return None

    @abc.abstractmethod
    def write(self, value: Data, spec: DataSpec) -> bytes:
        """What `encode` does; any exception means that the value cannot be carried."""

    @abc.abstractmethod
    def read(self, payload: bytes, spec: DataSpec) -> Data:
        """What `decode` does before the value is conformed; any exception is a `DecodeError`."""


def _reason(error: Exception) -> str:
    match error:
        case MemoryError():
            return "it would take too much memory"
        case RecursionError():
            return "it is nested too deep"
    text = str(error) or type(error).__name__
    return text if len(text) <= 200 else text[:197] + "..."


codecs: Registry[Codec] = Registry("encoding")

import_submodules(__name__)

from .raw import RawCodec  # noqa: E402  it needs `Codec`


def codec_for(encoding: str | None, spec: DataSpec, variable: str | None = None) -> Codec:
    """The codec that carries *spec* under the name of *encoding*; *variable* of several arrays.

    Raises:
        UnknownNameError: no encoding has this name, and the data are not bytes.
    """
    if spec.kind is Kind.BYTES:
        return RawCodec(encoding or "")
    found: Callable[..., Codec] = codecs.lookup(encoding)
    return found() if variable is None else found(variable)
