"""``python -m pictures FOLDER`` writes them there: see ``make pictures``."""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from tests.services.process import free_port
from tests.support.browser import chromium
from tests.support.terminal import Terminal
from tests.support.waiting import eventually

from .recording import Recording, Window
from .rendering import animate, emulate, picture

ROWS, COLUMNS = 22, 108
COLOURS = 128
TOP_LOOKS = 4
"""How often the table of ``top`` is seen to change in each order."""

RATES = 15
"""How many rates the line of each exchange on the status page has at least."""


@contextmanager
def shell(title: str, home: str) -> Iterator[Window]:
    """A shell that knows nothing of who runs it where."""
    environment = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "PS1": r"\[\e[1;32m\]$\[\e[0m\] ",
        "HOME": home,
        "TMPDIR": home,
    }
    terminal = Terminal(["bash", "--noprofile", "--norc"], ROWS, COLUMNS, environment)
    try:
        window = Window(title, terminal)
        eventually(window.at_prompt)
        yield window
    finally:
        terminal.kill()


def start(recording: Recording, window: Window, port: int) -> str:
    """Start the demonstration and watch it for a while; the name of its device."""
    recording.type(window, f"queue-connector demo --dishes 2 --metrics-port {port}")
    window.terminal.press("\n")

    flows = r"is (tango:\S+)[^$]*SKA002 +([4-9]\d|\d{3,}) "
    found: list[str] = []

    def told() -> list[str]:
        found.extend(each[1] for each in re.finditer(flows, window.text()))
        return found

    recording.watch(window, told, hold=0.6)
    return found[0]


def watch_top(recording: Recording, window: Window) -> None:
    """Look at the table by name, then by rate, and end it."""
    recording.type(window, "queue-connector top $device --interval 0.5")
    window.terminal.press("\n")
    tables: set[str] = set()

    def changed(order: str) -> bool:
        if re.search(rf"\A\d of \d by {order} [^$]* \d+\.\d +\d+\.\d ", table := window.text()):
            tables.add(table)
        return len(tables) >= TOP_LOOKS

    for order, keys in (("exchange", "ss"), ("in/s", "q")):
        tables.clear()
        recording.watch(window, partial(changed, order), hold=0.7)
        window.terminal.press(keys)
    recording.watch(window, window.at_prompt, hold=0.5)


def look(recording: Recording, window: Window, device: str) -> None:
    """Look at the device and its data with the tool, then hold one exchange and ask why."""
    recording.type(window, "device=")
    window.terminal.press(f"{device}\n")
    recording.watch(window, window.at_prompt, hold=0.8)
    watch_top(recording, window)
    recording.run(window, "queue-connector tap $device 'offsets[0]' --where pipe -n 5", hold=1.5)
    recording.run(window, "queue-connector exchange pause $device 'offsets[1]'", hold=0.3)
    recording.run(window, "queue-connector explain $device 'offsets[1]'", hold=2.5)


def resume(recording: Recording, window: Window) -> None:
    """Have it go on."""
    recording.run(window, "queue-connector exchange resume $device 'offsets[1]'", hold=0.3)
    recording.run(window, "queue-connector explain $device 'offsets[1]'", hold=2.0)


def photograph(browser: Chrome, folder: Path) -> None:
    """Take the status page, which is open, as it looks on a desktop and on a telephone."""
    wrong = browser.find_element(By.ID, "wrong")
    eventually(lambda: "paused since" in wrong.text, 20)
    lines = browser.find_elements(By.CSS_SELECTOR, ".arrow + svg polyline")
    for line in lines:
        eventually(lambda line=line: line.get_attribute("points").count(",") >= RATES, 60)  # type: ignore[misc]
    emulate(browser, 1024, 100, 1.5)
    whole = browser.execute_script("return document.documentElement.scrollHeight")
    emulate(browser, 1024, whole, 1.5)
    picture(browser).quantize(COLOURS).save(folder / "status-page.png", optimize=True)
    emulate(browser, 390, 844, 2)
    picture(browser).quantize(COLOURS).save(folder / "status-page-phone.png", optimize=True)


def main(folder: Path) -> None:
    """Record the demonstration, and what is seen of it from another terminal and the browser."""
    folder.mkdir(parents=True, exist_ok=True)
    recording, port = Recording(), free_port()
    with ExitStack() as stack:
        browser = stack.enter_context(chromium())
        home = stack.enter_context(tempfile.TemporaryDirectory())
        demo = stack.enter_context(shell("the demonstration", home))
        other = stack.enter_context(shell("another terminal", home))
        device = start(recording, demo, port)
        browser.get(f"http://127.0.0.1:{port}/")
        look(recording, other, device)
        photograph(browser, folder)
        resume(recording, other)
        recording.watch(demo, lambda: True, hold=0.6)
        demo.terminal.press("\x03")
        agreed = "All counts agree"
        recording.watch(demo, lambda: demo.at_prompt() and agreed in demo.text(), hold=4.5)
        animate(browser, recording.frames, folder / "demonstration.gif")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
