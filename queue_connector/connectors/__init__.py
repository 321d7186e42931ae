"""Sources, pipes and sinks by family, one file per type; importing this package registers all.

A family with a client library has its package say what is imported of it, and that imports no
client. Where data are about to stream, `import_clients` does.
"""

import importlib

from ..model.registry import import_submodules
from ..runtime.process import signals_held

CLIENTS = ("kafka", "tango")
"""The families with a client library."""

for _family in ("errors", "memory", "pipes"):
    import_submodules(f"{__name__}.{_family}")
for _family in CLIENTS:
    importlib.import_module(f"{__name__}.{_family}")


def import_clients() -> None:
    """Import what endpoints are built of, with the client libraries: for most of a second.

    Else it is done when the first endpoint is built, while others stream.
    """
    with signals_held():
        for family in CLIENTS:
            import_submodules(f"{__name__}.{family}")
