"""Pages and frames as images, drawn by the browser; frames are joined into one that moves."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from selenium.webdriver import Chrome

BACK, TEXT, GREEN, RED = (22, 27, 34), (222, 228, 235), (87, 201, 139), (255, 143, 131)
BAR, TITLE = (45, 51, 59), (160, 170, 182)
BLENDS = ((BACK, TEXT), (BACK, GREEN), (BACK, RED), (BAR, TITLE))
SHADES = 32
"""Of each blend of ground and letters, which is all that there is in a frame."""

_PAGE = f"""data:text/html;charset=utf-8,<!doctype html><meta charset="utf-8"><style>
body {{ margin: 0; background: rgb{BACK}; color: rgb{TEXT}; width: max-content; }}
body {{ font: 15px/20px 'DejaVu Sans Mono', 'Liberation Mono', monospace; }}
header {{ background: rgb{BAR}; color: rgb{TITLE}; padding: 4px 16px; font-size: 13px; }}
pre {{ margin: 0; padding: 12px 16px; font: inherit; }}
i {{ font-style: normal; }} .bold {{ font-weight: bold; }}
.green {{ color: rgb{GREEN}; }} .red {{ color: rgb{RED}; }}
.reverse {{ background: rgb{TEXT}; color: rgb{BACK}; }}
</style><body>"""


def picture(browser: Chrome) -> Image.Image:
    """What the browser shows."""
    return Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("RGB")


def emulate(browser: Chrome, width: int, height: int, scale: float) -> None:
    """Have a page drawn for a screen of this size, in its light colours."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    light = [{"name": "prefers-color-scheme", "value": "light"}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": light})


def animate(browser: Chrome, frames: Sequence[tuple[str, float]], file: Path) -> None:
    """Write frames with their seconds as a GIF, which every forge and browser shows."""
    draw = "const body = document.body; body.innerHTML = arguments[0];"
    emulate(browser, 1600, 1000, 1)
    browser.get(_PAGE)
    measure = f"{draw} return [body.offsetWidth, body.offsetHeight]"
    width, height = browser.execute_script(measure, frames[0][0])
    emulate(browser, width, height, 1)
    images: list[Image.Image] = []
    durations: list[int] = []
    palette = _palette()
    for number, (frame, seconds) in enumerate(frames):
        if number and frame == frames[number - 1][0]:
            durations[-1] += round(1000 * seconds)
            continue
        browser.execute_script(draw, frame)
        images.append(picture(browser).quantize(palette=palette, dither=Image.Dither.NONE))
        durations.append(round(1000 * seconds))
    first, *others = images
    first.save(file, save_all=True, append_images=others, duration=durations, loop=0)


def _palette() -> Image.Image:
    palette = Image.new("P", (1, 1))
    palette.putpalette(
        [
            round(ground + (letter - ground) * shade / (SHADES - 1))
            for blend in BLENDS
            for shade in range(SHADES)
            for ground, letter in zip(*blend, strict=True)
        ]
    )
    return palette
