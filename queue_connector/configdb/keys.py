"""The keys of etcd that stand for paths: the number of slashes goes in front.

``/component/x/owner/my_id`` is stored as ``4/component/x/owner/my_id``. So a range over the prefix
``4/component/x/owner/`` holds the direct children of a path and nothing deeper.

* source    ska-sdp-config's documentation of its schema
"""

from __future__ import annotations

from .database import child_name


def key_of(path: str) -> bytes:
    """The key under which the value at *path* is stored."""
    return f"{path.count('/')}{path}".encode()


def range_of_children(path: str) -> tuple[bytes, bytes]:
    """The first key of the direct children of *path*, and the first one that is none."""
    prefix = key_of(path + "/")
    return prefix, prefix[:-1] + b"0"  # "0" comes after "/"


def child_of(path: str, key: bytes) -> str | None:
    """The name of the direct child of *path* that *key* stands for, if it does."""
    prefix, _ = range_of_children(path)
    if not key.startswith(prefix):
        return None
    try:
        return child_name(path, path + "/" + key[len(prefix) :].decode())
    except UnicodeDecodeError:
        return None  # nobody can have meant a group by it
