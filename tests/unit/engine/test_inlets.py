"""Where the sources of an exchange are written, for whoever is told that they refused something."""

from queue_connector.connectors.memory import source  # noqa: F401  (registers)
from queue_connector.engine.inlets import build_inlets
from queue_connector.model.convert import structure
from queue_connector.model.exchanges import ExchangeDescriptor
from queue_connector.model.services import Services


def test_what_a_source_refuses_is_told_with_its_place_in_the_whole_list():
    sources = [{"type": "InMemorySource", "data": [number]} for number in range(5)]
    written = {
        "source": sources,
        "share": "2/2",
        "dtype": "int64",
        "sink": {"type": "InMemorySink", "key": "k"},
    }
    descriptor = structure(written, ExchangeDescriptor)
    inlets = build_inlets(descriptor, [Services() for _ in descriptor.sources])
    assert [inlet.paths for inlet in inlets] == [["$.source[1]"], ["$.source[3]"]]
