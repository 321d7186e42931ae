"""What clients write as arguments of commands that concern one exchange."""

from __future__ import annotations

import json
from typing import Any

import attrs

from ..engine.operations import PLACES
from ..model.errors import ConfigError, Fault


@attrs.frozen
class TapRequest:
    """What passes at which place of an exchange, after which number."""

    exchange: str
    where: str = "source"
    after: int = 0


def exchange_named(argument: str) -> str:
    """The exchange that an argument names: ``g[1]``, or as JSON ``{"exchange": "g[1]"}``.

    Raises:
        ConfigError: it is JSON, and says something else.
    """
    name: str = _named(argument, {})["exchange"]
    return name


def tap_request(argument: str) -> TapRequest:
    """The same with what else says what is to be shown: ``where`` and ``after``.

    Raises:
        ConfigError: it is JSON, and says something else.
    """
    request = TapRequest(**_named(argument, {"where": str, "after": int}))
    if request.where not in PLACES:
        places = f"write one of {', '.join(PLACES)}"
        raise ConfigError([Fault("$.where", f"{request.where!r:.80} is no place", places)])
    return request


def _named(argument: str, others: dict[str, type]) -> dict[str, Any]:
    if not argument.lstrip().startswith("{"):
        return {"exchange": argument.strip()}
    hint = 'write the name of an exchange, or {"exchange": "g[1]"}'
    try:
        request = json.loads(argument)
    except (ValueError, RecursionError) as error:
        raise ConfigError([Fault("$", f"this is no JSON: {error}", hint)]) from None
    known = {"exchange": str, **others}
    faults = [
        Fault(f"$.{key}", f"expected {kind.__name__}, found {request[key]!r:.80}", hint)
        for key, kind in known.items()
        if key in request and type(request[key]) is not kind
    ]
    faults += [Fault("$", f"there is no key {key!r:.80}", hint) for key in request.keys() - known]
    if "exchange" not in request:
        faults.append(Fault("$", "the key 'exchange' is missing", hint))
    if faults:
        raise ConfigError(faults)
    return dict(request)
