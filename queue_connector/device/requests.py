"""What clients write as arguments of commands that concern one exchange."""

from __future__ import annotations

import json

from ..model.errors import ConfigError, Fault


def exchange_named(argument: str) -> str:
    """The exchange that an argument names: ``g[1]``, or as JSON ``{"exchange": "g[1]"}``.

    Raises:
        ConfigError: it is JSON, and says something else.
    """
    if not argument.lstrip().startswith("{"):
        return argument.strip()
    try:
        request = json.loads(argument)
    except (ValueError, RecursionError) as error:
        hint = 'write the name of an exchange, or {"exchange": "g[1]"}'
        raise ConfigError([Fault("$", f"this is no JSON: {error}", hint)]) from None
    if set(request) != {"exchange"} or not isinstance(request["exchange"], str):
        found = ", ".join(map(repr, request)) or "nothing"
        raise ConfigError(
            [Fault("$", f"expected 'exchange', a text, found {found:.100}", "name one exchange")]
        )
    return request["exchange"]
