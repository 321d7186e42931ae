"""Sources, pipes and sinks by family, one file per type; importing this package registers all."""

from ..model.registry import import_submodules

for _family in ("errors", "memory", "pipes", "kafka", "tango"):
    import_submodules(f"{__name__}.{_family}")
