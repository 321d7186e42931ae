import pytest

from queue_connector.codecs import codec_for
from queue_connector.codecs.raw import RawCodec
from queue_connector.model.datatypes import DataSpec
from queue_connector.model.errors import EncodeError
from queue_connector.model.registry import UnknownNameError

BYTES = DataSpec("bytes")


def test_pairs_the_payload_with_the_configured_encoding():
    assert RawCodec("jpeg").decode(b"\xff\xd8", BYTES) == ("jpeg", b"\xff\xd8")
    assert RawCodec("").decode(b"", BYTES) == ("", b"")


def test_refuses_a_datum_that_carries_another_encoding():
    codec = RawCodec("jpeg")
    assert codec.encode(("jpeg", b"x"), BYTES) == b"x"
    assert codec.encode(("", b"x"), BYTES) == b"x"
    with pytest.raises(EncodeError, match="'png'") as caught:
        codec.encode(("png", b"x"), BYTES)
    assert caught.value.encoding == "jpeg"


def test_without_an_encoding_takes_every_datum():
    assert codec_for(None, BYTES).encode(("png", b"x"), BYTES) == b"x"


def test_bytes_are_scalars():
    assert "scalar" in RawCodec("").refusal(DataSpec("bytes", (2,)))
    assert not list(RawCodec("x").faults(BYTES))


@pytest.mark.parametrize("name", [None, "", "jsn", "raw"])
def test_other_data_need_an_encoding_that_is_known(name):
    with pytest.raises(UnknownNameError):
        codec_for(name, DataSpec("float64"))


def test_a_batch_is_read_like_one_after_the_other_and_nothing_is_copied():
    codec, spec, payloads = RawCodec("npy"), DataSpec("bytes"), [b"a" * 100, b"", b"c" * 100]
    together = codec.decode_batch(payloads, spec)
    assert together == [codec.decode(payload, spec) for payload in payloads]
    assert all(data is payload for (_, data), payload in zip(together, payloads, strict=True))
    assert codec.encode(together[0], spec) is payloads[0]
