"""The keys of etcd that stand for paths: the number of slashes goes in front.

``/component/x/owner/my_id`` is stored as ``4/component/x/owner/my_id``. So a range over the prefix
``4/component/x/owner/`` holds the direct children of a path and nothing deeper.

* source    ska-sdp-config's documentation of its schema
"""

from __future__ import annotations

from .database import Level


def key_of(path: str) -> bytes:
    """The key under which the value at *path* is stored."""
    return f"{path.count('/')}{path}".encode()


def range_of(level: Level) -> tuple[bytes, bytes]:
    """The first key of a level, and the first one that is none; empty: there is one key alone."""
    if not level.depth:
        return key_of(level.path), b""
    number = level.path.count("/") + level.depth
    prefix = f"{number}{level.path}/".encode()
    return prefix, prefix[:-1] + b"0"  # "0" comes after "/"


def path_of(key: bytes) -> str | None:
    """The path that *key* stands for, if it does and every name in it is one."""
    try:
        text = key.decode()
    except UnicodeDecodeError:
        return None  # nobody can have meant anything by it
    path = text[text.find("/") :]
    if key_of(path) != key or path.endswith("/") or "//" in path:
        return None
    return path
