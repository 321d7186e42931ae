"""The SDP configuration database: what it holds, and how its changes are followed.

========================  ====================================================================
`database`                the interface: `ConfigDatabase`, `Watch`, `View`, `Versioned`
`environment`             `from_environment`: which database, by the ``SDP_CONFIG_`` variables
`etcd`, `gateway`, `keys`  our client of etcd, on httpx and Trio
`memory`                  the same without a server, for tests and trials
`sdp`                     an adapter to ``ska-sdp-config``, for whoever must go through it
========================  ====================================================================
"""

from .database import (
    ABSENT,
    EXISTS,
    MAX_OPERATIONS,
    NO_LEASE,
    Children,
    ConfigDatabase,
    LeaseEndedError,
    Level,
    UnreachableError,
    Versioned,
    View,
    Watch,
    check_path,
)
from .environment import from_environment

__all__ = [
    "ABSENT",
    "EXISTS",
    "MAX_OPERATIONS",
    "NO_LEASE",
    "Children",
    "ConfigDatabase",
    "LeaseEndedError",
    "Level",
    "UnreachableError",
    "Versioned",
    "View",
    "Watch",
    "check_path",
    "from_environment",
]
