"""A real Chromium without a window, for the pages that a device serves."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from selenium.webdriver import Chrome
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

from tests.services.fixtures import unavailable
from tests.services.process import ServiceUnavailable


@contextmanager
def chromium() -> Iterator[Chrome]:
    """One that may reach this machine only; skipped where there is none, failed under ``CI``."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if not browser or not driver:
        unavailable(
            ServiceUnavailable("there is no chromium with its chromedriver: make browser installs")
        )
    options = Options()
    options.binary_location = browser
    for argument in (
        "--headless=new",
        "--no-sandbox",  # which root may not have
        "--disable-dev-shm-usage",
        "--window-size=1200,900",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    running = Chrome(options=options, service=Service(driver))
    try:
        running.set_page_load_timeout(30)
        yield running
    finally:
        running.quit()
