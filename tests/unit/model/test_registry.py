import warnings

import pytest

from queue_connector.model.registry import Registry, UnknownNameError, did_you_mean


class Base:
    pass


class Old(Base):
    pass


@pytest.fixture
def registry():
    made = Registry("sink")
    made.register("KafkaProducerSink")(Base)
    made.register("TangoArrayScatterAttributeSink", alias="TangoSplitAttributeSink")(Old)
    return made


def test_finds_what_was_registered_by_its_name(registry):
    assert registry.lookup("KafkaProducerSink") is Base
    assert registry.name_of(Old) == "TangoArrayScatterAttributeSink"
    assert list(registry) == ["KafkaProducerSink", "TangoArrayScatterAttributeSink"]
    assert dict(registry.items()) == {
        "KafkaProducerSink": Base,
        "TangoArrayScatterAttributeSink": Old,
    }


def test_an_older_spelling_is_found_with_a_warning(registry):
    with pytest.warns(DeprecationWarning, match="is now called 'TangoArrayScatterAttributeSink'"):
        assert registry.lookup("TangoSplitAttributeSink") is Old
    assert registry.aliases_of("TangoArrayScatterAttributeSink") == ("TangoSplitAttributeSink",)


def test_asking_whether_a_name_is_an_older_spelling_does_not_warn(registry):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert registry.renamed("TangoSplitAttributeSink") == "TangoArrayScatterAttributeSink"
        assert registry.renamed("KafkaProducerSink") is None
        assert registry.renamed(["a list"]) is None


KNOWN = (
    "known: KafkaProducerSink, TangoArrayScatterAttributeSink; "
    "one of a plugin needs the plugin's name: --plugins, QUEUE_CONNECTOR_PLUGINS"
)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("KafkaProducerSnik", "did you mean 'KafkaProducerSink'?"),
        ("kafkaproducersink", "did you mean 'KafkaProducerSink'?"),
        ("TangoSplitAtributeSink", "did you mean 'TangoSplitAttributeSink'?"),
        ("Teapot", KNOWN),
        (None, KNOWN),
        ({"type": "x"}, KNOWN),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_or_all(registry, name, hint):
    with pytest.raises(UnknownNameError, match="no sink is called") as caught:
        registry.lookup(name)
    assert caught.value.hint == hint


@pytest.mark.parametrize("taken", ["KafkaProducerSink", "TangoSplitAttributeSink"])
def test_a_name_or_older_spelling_is_given_once(registry, taken):
    with pytest.raises(ValueError, match=f"two sinks are called '{taken}'"):
        registry.register(taken)(Base)
    with pytest.raises(ValueError, match=f"two sinks are called '{taken}'"):
        registry.register("New", alias=taken)(Base)
    assert "New" not in list(registry)


def test_what_is_removed_is_known_no_longer_by_any_spelling(registry):
    registry.remove("TangoArrayScatterAttributeSink")
    assert list(registry) == ["KafkaProducerSink"]
    for name in ("TangoArrayScatterAttributeSink", "TangoSplitAttributeSink"):
        with pytest.raises(UnknownNameError):
            registry.lookup(name)


def test_a_very_long_name_does_not_fill_the_message(registry):
    with pytest.raises(UnknownNameError) as caught:
        registry.lookup("x" * 100_000)
    assert len(str(caught.value)) < 300


def test_a_hint_lists_what_it_is_told_to_list():
    assert did_you_mean("zzz", ["alpha", "beta"], ["alpha"]) == "known: alpha"
    assert did_you_mean("alpa", ["alpha", "beta"]) == "did you mean 'alpha'?"
