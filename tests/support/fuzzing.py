"""Broken payloads for every decoder: only values or `DecodeError` may come of them.

The long run, a process for each encoding: ``python -m tests.fuzzing [--count N] [--seed N]
[ENCODING ...]``. A slice of it is in ``tests/contract/test_codecs.py``. A payload that breaks a
rule is shown, and the run ends with status 1.
"""

from __future__ import annotations

import argparse
import random
import resource
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np

from queue_connector.codecs import codecs
from queue_connector.model.conform import conform
from queue_connector.model.datatypes import DataSpec, Kind
from queue_connector.model.errors import DecodeError
from tests.support.data import DTYPES, SHAPES, same

SPECS = [DataSpec(dtype, shape) for dtype in DTYPES for shape in SHAPES.values()]
LARGEST = 4096
"""Bytes of the longest payload."""

FRAGMENTS = [
    b"[", b"]", b"{", b"}", b"(", b",", b":", b"'", b'"', b"\\", b"\\u", b"nan", b"NaN", b"-inf",
    b"1e999", b"9" * 40, b"\x00", b"\xff\xff\xff\xff", b"\xdd\x7f\xff\xff\xff", b"\xd6\xff0000",
    b"\xc4\x02nd\xc3", b"<U9", b"|O", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"[" * 200, b"(" * 200,
    b"\x91" * 200, b"M8[0s]", b"M8[s/0]", b"PK\x03\x04", b"\x80\x04\x95", b"cos\nsystem\n",
    b"_" * 9, b"True", b"None", b"1_0", b"0x1", b"1j", b"b''", b"__import__('os')", b"99999999999",
]  # fmt: skip


def mutated(payload: bytes, rng: random.Random) -> bytes:
    """A valid payload after a few of the things that happen to bytes."""
    changed = bytearray(payload)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(changed) + 1)
        match rng.randrange(7):
            case 0 if at < len(changed):
                changed[at] = rng.randrange(256)
            case 1 if at < len(changed):
                changed[at] ^= 1 << rng.randrange(8)
            case 2:
                del changed[at : at + rng.randint(1, 8)]
            case 3:
                changed[at:at] = rng.randbytes(rng.randint(1, 4))
            case 4:
                changed[at:at] = changed[: rng.randrange(16)]
            case 5 if len(changed) < LARGEST // 2:
                changed *= 2
            case _:
                changed[at:at] = rng.choice(FRAGMENTS)
    return bytes(changed[:LARGEST])


def samples(name: str) -> list[tuple[DataSpec, bytes]]:
    """Valid payloads of an encoding: of each spec that it carries, zeros and other values."""
    codec, made = codecs.lookup(name)(), []
    for spec in SPECS:
        if codec.refusal(spec):
            continue
        array = np.zeros([2 if n < 0 else n for n in spec.shape], spec.dtype)
        zeros = array if spec.shape else array[()]
        values = [zeros]
        if spec.kind is Kind.OBJECT:
            values = [{"a": [1.5, None, True, "x\n"], "b": {"c": -1}}, [[]], "Text"]
        elif spec.kind is Kind.STR:
            text = np.full_like(array, "Text", "U6")
            values = [text, np.full_like(text, "'\"\\")] if spec.shape else ["Text", "", "nan"]
        elif spec.kind in (Kind.BOOL, Kind.INT, Kind.FLOAT, Kind.COMPLEX):
            values.append(conform(np.ones_like(zeros), spec))
        made.extend((spec, codec.encode(value, spec)) for value in values)
    return made


def fuzz(name: str, count: int, seed: int) -> int:
    """Decode *count* payloads; gives how many of them were accepted as values.

    Raises:
        AssertionError: one brought about something else than a value or a `DecodeError`.
    """
    rng = random.Random(seed)
    codec, valid = codecs.lookup(name)(), samples(name)
    accepted = 0
    for _ in range(count):
        spec, payload = rng.choice(valid)
        if rng.random() < 0.2:
            payload = rng.randbytes(rng.randrange(64))
        elif rng.random() < 0.9:
            payload = mutated(payload, rng)
        try:
            value = codec.decode(payload, spec)
        except DecodeError as error:
            assert error.size == len(payload)
            assert len(str(error)) < 1000
        except BaseException as error:
            raise AssertionError(f"{name}, {spec}: {payload!r}") from error
        else:
            accepted += 1
            assert same(conform(value, spec, shorter=True), value), (spec, payload)
    return accepted


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _measure(name: str, count: int, seed: int) -> str:
    fuzz(name, min(count, 1000), seed)  # what is imported and cached once is not counted
    before, began = _peak(), time.perf_counter()
    accepted = fuzz(name, count, seed)
    seconds, grown = time.perf_counter() - began, _peak() - before
    return f"| `{name}` | {count} | {accepted} | {grown / 2**20:.1f} | {seconds:.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tests.fuzzing")
    parser.add_argument("encodings", nargs="*", default=list(codecs), metavar="ENCODING")
    parser.add_argument("--count", type=int, default=1_000_000, help="payloads for each encoding")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print("| encoding | payloads | accepted | memory, MiB above the start | s |")
    print("|---|---|---|---|---|", flush=True)
    for name in options.encodings:
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            print(pool.submit(_measure, name, options.count, options.seed).result(), flush=True)


if __name__ == "__main__":
    main()
