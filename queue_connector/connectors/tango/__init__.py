"""Attributes of Tango devices, by PyTango.

What a configuration may name is imported here, and imports nothing of Tango: that is done where it
is built or looked at, since it takes most of a second, and the tool and tests do well without.
"""

from . import (
    array_scatter_sink,
    local_attribute_sink,
    object_scatter_sink,
    pointing_source,
    remote_attribute_sink,
    subscription_source,
)

__all__ = [
    "array_scatter_sink",
    "local_attribute_sink",
    "object_scatter_sink",
    "pointing_source",
    "remote_attribute_sink",
    "subscription_source",
]
