"""What stands on terminals, frame by frame, with how long each of them is shown."""

from __future__ import annotations

import html
import time
from collections.abc import Callable
from itertools import groupby, pairwise

import attrs

from tests.support.terminal import Terminal
from tests.support.waiting import eventually

TYPED_AT_ONCE = 3
TYPING = 0.07
"""Seconds that each frame of typing is shown, however fast it was typed."""

LONGEST = 0.6
"""Seconds after which nobody wants to look at what does not change."""


@attrs.frozen
class Window:
    """A terminal that is recorded, by the title that it is shown with."""

    title: str
    terminal: Terminal

    def text(self) -> str:
        """What stands on it, without empty lines at the end."""
        return "\n".join(self.terminal.lines()).rstrip()

    def at_prompt(self) -> bool:
        """Whether the shell waits for a command."""
        with self.terminal.still() as screen:
            return bool(screen.display[screen.cursor.y].rstrip() == "$")

    def frame(self) -> str:
        """How it looks, as HTML: what looks the same is marked by classes."""
        rows = []
        with self.terminal.still() as screen:
            cursor = None if screen.cursor.hidden else (screen.cursor.y, screen.cursor.x)
            for y in range(screen.lines):
                line = [(screen.buffer[y][x], (y, x) == cursor) for x in range(screen.columns)]
                cells = [
                    (f"{cell.fg} {'bold ' * cell.bold}{'reverse ' * (cell.reverse ^ here)}", cell)
                    for cell, here in line
                ]
                rows.append("")
                for look, alike in groupby(cells, key=lambda each: each[0]):
                    letters = html.escape("".join(cell.data for _, cell in alike))
                    rows[-1] += f'<i class="{look}">{letters}</i>'
        return f"<header>{html.escape(self.title)}</header><pre>" + "\n".join(rows) + "</pre>"


class Recording:
    """Frames that follow each other, each with the seconds that it is shown."""

    def __init__(self) -> None:
        self.frames: list[tuple[str, float]] = []

    def type(self, window: Window, text: str) -> None:
        """Type a command, and see it stand there; it is not given yet."""
        for at in range(0, len(text), TYPED_AT_ONCE):
            before = window.frame()
            window.terminal.press(text[at : at + TYPED_AT_ONCE])
            eventually(lambda before=before: window.frame() != before)  # type: ignore[misc]
            self.frames.append((window.frame(), TYPING))

    def watch(self, window: Window, until: Callable[[], object], hold: float) -> None:
        """Record as it comes until *until* is true; the last frame is shown for *hold* seconds."""
        shown: list[tuple[str, float]] = []
        seen = window.frame()

        def ended() -> bool:
            nonlocal seen
            done, before, seen = bool(until()), seen, window.frame()
            # One that is the same at two looks is not about to be written.
            if seen == before and (not shown or seen != shown[-1][0]):
                shown.append((seen, time.monotonic()))
            return done and bool(shown) and seen == shown[-1][0]

        eventually(ended, 60, window.text)
        for (frame, since), (_, then) in pairwise(shown):
            self.frames.append((frame, min(then - since, LONGEST)))
        self.frames.append((shown[-1][0], hold))

    def run(self, window: Window, command: str, hold: float) -> None:
        """Type a command, give it, and watch until the shell waits for another."""
        self.type(window, command)
        window.terminal.press("\n")
        self.watch(window, window.at_prompt, hold)
