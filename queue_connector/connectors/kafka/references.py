"""What the values of settings lead to, as librdkafka takes them. Reads files and variables.

* values    as they stand, or by reference: ``file:/path`` is the content of a file less one newline
            at its end, ``env:NAME`` that of a variable
* secrets   by reference alone. A reference is followed when a client is opened, and what it led to
            is handed to librdkafka and kept nowhere else
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping

from ...model.errors import EndpointError, Fault
from .settings import SETTINGS, Setting, Value, option_fault, refers

MAX_REFERENCED_BYTES = 64 * 1024
"""The largest file or variable that a reference of `options` may lead to."""


class _Unusable(Exception):
    """Why a value cannot be used, without the value."""


def resolve(options: Mapping[str, Value], endpoint: str, operation: str) -> dict[str, str]:
    """The settings as librdkafka takes them, with what references lead to. Reads files.

    Raises:
        EndpointError: a reference leads to nothing that can be used. Setting and reference are
            named, what was found is not shown.
    """
    resolved = {}
    for name, value in options.items():
        try:
            resolved[name] = _resolved(SETTINGS[name], value)
        except _Unusable as error:
            where = f"{name} = {value}" if refers(value) or SETTINGS[name].path else name
            raise EndpointError(endpoint, operation, f"option {where}: {error}") from None
    return resolved


def absences_of_options(options: Mapping[str, Value]) -> Iterator[Fault]:
    """Which values lead to nothing that can be used here; paths start at the descriptor."""
    for name, value in options.items():
        try:
            _resolved(SETTINGS[name], value)
        except _Unusable as error:
            where = f"{value}: " if refers(value) or SETTINGS[name].path else ""
            yield option_fault(name, f"{where}{error}", "it must be there where the device runs")


def _resolved(setting: Setting, value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if value.startswith("file:"):
        content = _content(value.removeprefix("file:"))
    elif value.startswith("env:"):
        content = _variable(value.removeprefix("env:"))
    else:
        content = value
    if "\0" in content:
        raise _Unusable("it holds a NUL character")
    if setting.boolean and content.lower() not in ("true", "false"):
        raise _Unusable("it holds neither true nor false")
    if setting.choices and content not in setting.choices:
        raise _Unusable(f"it holds something else than {setting.kind}")
    if setting.path and content != "probe" and not os.access(content, os.R_OK):
        raise _Unusable("there is no such file that this process may read")
    return content


def _variable(name: str) -> str:
    content = os.environ.get(name)
    if content is None:
        raise _Unusable("the variable is not set")
    if not content:
        raise _Unusable("the variable is empty")
    if len(os.fsencode(content)) > MAX_REFERENCED_BYTES:
        raise _Unusable(f"the variable has more than {MAX_REFERENCED_BYTES} bytes")
    return content


def _content(path: str) -> str:
    try:
        # Without waiting: nobody may ever write into what turns out to be a pipe.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise _Unusable("it is not a regular file")
            data = file.read(MAX_REFERENCED_BYTES + 1)
    except OSError as error:
        raise _Unusable(f"the file cannot be read: {error.strerror}") from None
    if len(data) > MAX_REFERENCED_BYTES:
        raise _Unusable(f"the file has more than {MAX_REFERENCED_BYTES} bytes")
    try:
        content = data.decode()
    except UnicodeDecodeError:
        raise _Unusable("the file is not UTF-8") from None
    content = content.removesuffix("\n").removesuffix("\r")
    if not content:
        raise _Unusable("the file is empty")
    return content
