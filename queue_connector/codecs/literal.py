"""Reads Python's literals: what ``repr`` writes of plain values, and nothing that runs.

Unlike `ast.literal_eval` it knows ``nan`` and ``inf``, builds no syntax tree (which takes hundreds
of bytes for each one of the text), and keeps its own stack, so that nesting is bounded by
`MAX_DEPTH` and not by the interpreter's.

* grammar   None, True, False, decimal numbers, text and bytes in single or double quotes, lists,
            tuples, and dictionaries with scalar keys; no complex numbers, sets, comments, prefixes
            but ``b``, or text made of several parts
* numpy     what version 2 writes of scalars, such as ``np.float64(1.5)`` and ``np.True_``, as
            Python's own; it is read as text like all else, and nothing is called
* errors    `ValueError` for anything else
* source    Python language reference, "Literals", "Displays for lists, sets and dictionaries"
"""

from __future__ import annotations

import math
import re
from typing import Any

from .plain import MAX_DEPTH

_TOKEN = re.compile(
    r"""[ \t\r\n]*+(?:
      (?P<mark> [][(){},:] )
    | (?P<float> [+-]?+ (?: [0-9]++\.[0-9]*+ | \.[0-9]++ | [0-9]++(?=[eE]) )
                 (?:[eE][+-]?+[0-9]++)?+ (?![\w.]) )
    | (?P<int> [+-]?+ (?: 0++ | [1-9][0-9]*+ ) (?![\w.]) )
    | (?P<text> '[^'\\\n]*+' | "[^"\\\n]*+" )
    | (?P<name> (?: None | True | False | [+-]?nan | [+-]?inf ) (?!\w) )
    | (?P<escaped> b?+ (?: '(?:[^'\\\n]++|\\.)*+' | "(?:[^"\\\n]++|\\.)*+" ) )
    | (?P<numpy> np\.(?:True_|False_) (?!\w)
      | np\.[a-z]{3,5}[0-9_]{1,2} \( (?: [^][(){}'",:]{1,400}+
        | b?+ (?: '(?:[^'\\\n]++|\\.)*+' | "(?:[^"\\\n]++|\\.)*+" ) ) \) (?![\w.]) )
    | (?P<end> \Z )
    | (?P<wrong> . )
    )""",
    re.VERBOSE,
)
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.?)", re.DOTALL)
_ESCAPES = {
    "\\": "\\", "'": "'", '"': '"', "n": "\n", "r": "\r", "t": "\t",
    "a": "\a", "b": "\b", "f": "\f", "v": "\v", "0": "\0",
}  # fmt: skip
_NAMES: dict[str, Any] = {
    "None": None,
    "True": True,
    "False": False,
    "nan": math.nan,
    "inf": math.inf,
}
_CLOSERS = {"[": "]", "(": ")", "{": "}"}
_NUMPY: dict[str, tuple[type, ...]] = {
    **{f"float{bits}": (int, float) for bits in (16, 32, 64)},
    **{f"{sign}int{bits}": (int,) for sign in ("", "u") for bits in (8, 16, 32, 64)},
    "str_": (str,),
    "bytes_": (bytes,),
}
"""numpy's scalars, and what stands in their parentheses."""


class _Open:
    """A list, tuple or dictionary whose end was not reached; the whole text is one as well."""

    __slots__ = ("closer", "commas", "items", "wanted")

    def __init__(self, closer: str) -> None:
        self.closer = closer
        self.items: list[Any] = []  # of a dictionary: keys and values in turn
        self.commas = False
        self.wanted = True

    def add(self, value: object) -> None:
        if not self.wanted:
            raise ValueError("two values stand side by side")
        if (
            self.closer == "}"
            and not len(self.items) % 2
            and isinstance(value, list | dict | tuple)
        ):
            raise ValueError("a key is not a scalar")
        self.items.append(value)
        self.wanted = False

    def separate(self, mark: str) -> None:
        after_key = self.closer == "}" and len(self.items) % 2 == 1
        if self.wanted or after_key != (mark == ":"):
            raise ValueError(f"unexpected {mark!r}")
        self.commas = self.wanted = True

    def close(self) -> Any:
        match self.closer:
            case "]":
                return self.items
            case "}":
                if len(self.items) % 2:
                    raise ValueError("a key has no value")
                return dict(zip(self.items[::2], self.items[1::2], strict=True))
        if len(self.items) == 1 and not self.commas:
            return self.items[0]
        return tuple(self.items)


def read_literal(text: str) -> Any:
    """The value of one literal.

    Raises:
        ValueError: the text is none.
    """
    stack: list[_Open] = []
    here = _Open("")
    for match in _TOKEN.finditer(text):
        which = match.lastgroup
        assert which is not None
        token = match[which]
        match which:
            case "mark":
                here = _after_mark(token, here, stack)
            case "float":
                here.add(float(token))
            case "int":
                here.add(int(token))
            case "text":
                here.add(token[1:-1])
            case "escaped":
                here.add(_unescape(token))
            case "name":
                value = _NAMES[token.lstrip("+-")]
                here.add(-value if token[0] == "-" else value)
            case "numpy":
                here.add(_of_numpy(token))
            case "wrong":
                raise ValueError(f"unexpected {token!r} at character {match.start(which)}")
            case "end":
                break
    if stack or not here.items:
        raise ValueError("it ends too early")
    return here.close()


def _after_mark(mark: str, here: _Open, stack: list[_Open]) -> _Open:
    """What is open behind a bracket, a comma or a colon; *stack* is what is open around it."""
    if mark in ",:":
        here.separate(mark)
        return here
    if mark in _CLOSERS:
        if not here.wanted:
            raise ValueError(f"unexpected {mark!r}")
        if len(stack) >= MAX_DEPTH:
            raise ValueError(f"it is nested more than {MAX_DEPTH} deep")
        stack.append(here)
        return _Open(_CLOSERS[mark])
    if mark != here.closer:
        raise ValueError(f"unexpected {mark!r}")
    around = stack.pop()
    around.add(here.close())
    return around


def _of_numpy(token: str) -> Any:
    if token[-1] == "_":
        return token == "np.True_"
    name, _, inside = token[3:-1].partition("(")
    if name not in _NUMPY:
        raise ValueError(f"unexpected 'np.{name}'")
    value = read_literal(inside)
    if type(value) not in _NUMPY[name]:
        raise ValueError(f"unexpected {token[:40]!r}")
    return float(value) if name[0] == "f" else value


def _unescape(token: str) -> str | bytes:
    if token[0] != "b":
        text = _ESCAPE.sub(_escape, token[1:-1])
        text.encode()  # raises for a lone surrogate
        return text
    if not token.isascii() or "\\u" in token.replace("\\\\", ""):
        raise ValueError("bytes are written in ASCII")
    return _ESCAPE.sub(_escape, token[2:-1]).encode("latin-1")


def _escape(match: re.Match[str]) -> str:
    code = match[1]
    if len(code) > 1:
        return chr(int(code[1:], 16))
    if code not in _ESCAPES:
        raise ValueError(f"unknown escape '\\{code}'")
    return _ESCAPES[code]
