"""One registry for each family of things that a configuration names: sources, sinks, encodings.

Registering is all that a new source, sink, pipe or codec does to be found: the parser, the
JSON Schema, the documentation's tables and the contract tests read the registries.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


def import_submodules(package: str) -> None:
    """Import every module of a package, so that each registers what it has to offer."""
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__, f"{package}."):
        importlib.import_module(module.name)


def did_you_mean(written: object, known: Iterable[str], listed: Iterable[str] = ()) -> str:
    """The hint for a name that is not known: the nearest one, or all that are *listed*."""
    names = list(known)
    text = str(written)[:100]
    wanted = text.lower()
    close = next((name for name in names if name.lower() == wanted), None)
    close = close or next(iter(difflib.get_close_matches(text, names, 1)), None)
    return f"did you mean {close!r}?" if close else f"known: {', '.join(listed or names)}"


OF_A_PLUGIN = "one of a plugin needs the plugin's name: --plugins, QUEUE_CONNECTOR_PLUGINS"
"""What else may be the reason that no entry has a name."""


class UnknownNameError(LookupError):
    """No entry has this name; ``hint`` proposes the nearest one, or lists all."""

    def __init__(self, what: str, name: object, hint: str) -> None:
        self.message = f"no {what} is called {name!r:.100}"
        self.hint = hint
        super().__init__(f"{self.message} ({hint})")


class Registry(Generic[T]):
    """Names → classes of one family, e.g. ``Registry("source")``."""

    def __init__(self, what: str) -> None:
        self.what = what
        self._entries: dict[str, type[T]] = {}
        self._aliases: dict[str, str] = {}

    def register(self, name: str, *, alias: str | None = None) -> Callable[[type[T]], type[T]]:
        """Make a class known by *name*; *alias* is an older spelling that is read with a warning.

        Raises:
            ValueError: the name is taken.
        """

        def add(cls: type[T]) -> type[T]:
            for taken in (name, alias):
                if taken in self._entries or taken in self._aliases:
                    raise ValueError(f"two {self.what}s are called {taken!r}")
            self._entries[name] = cls
            if alias is not None:
                self._aliases[alias] = name
            return cls

        return add

    def remove(self, name: str) -> None:
        """Forget a class, and its older spellings."""
        del self._entries[name]
        self._aliases = {old: now for old, now in self._aliases.items() if now != name}

    def lookup(self, name: object) -> type[T]:
        """The class of this name.

        Raises:
            UnknownNameError: no entry has it.
        """
        if isinstance(name, str):
            if name in self._aliases:
                current = self._aliases[name]
                warnings.warn(
                    f"the {self.what} {name!r} is now called {current!r}",
                    DeprecationWarning,
                    stacklevel=2,
                )
                name = current
            if name in self._entries:
                return self._entries[name]
        hint = did_you_mean(name, [*self._entries, *self._aliases], self._entries)
        if hint.startswith("known"):
            hint = f"{hint}; {OF_A_PLUGIN}"
        raise UnknownNameError(self.what, name, hint)

    def renamed(self, name: object) -> str | None:
        """What an older spelling is called now; None for every other name."""
        return self._aliases.get(name) if isinstance(name, str) else None

    def name_of(self, cls: type[T]) -> str:
        """The name that a class is registered by."""
        return next(name for name, entry in self._entries.items() if entry is cls)

    def aliases_of(self, name: str) -> tuple[str, ...]:
        """The older spellings of a name."""
        return tuple(alias for alias, current in self._aliases.items() if current == name)

    def items(self) -> Iterator[tuple[str, type[T]]]:
        """Every name with its class, in the order of registration, without aliases."""
        return iter(self._entries.items())

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)
