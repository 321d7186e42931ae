"""The status page of the real device, in a real browser."""

import json

import httpx
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.device.test_device import endless, memory
from tests.device.test_metrics import HOST, serving
from tests.services.process import free_port
from tests.support.browser import chromium
from tests.support.waiting import eventually

HOSTILE = "<img src=x onerror=document.title='broken'>"


@pytest.fixture(scope="module")
def browser():
    with chromium() as running:
        yield running


def exchanges():
    """A stream that flows, and one whose broker is not there, in a group with a hostile name."""
    return {
        "exchanges": {
            "well": [endless("a")],
            HOSTILE: [
                {
                    "dtype": "float64",
                    "source": {
                        "type": "KafkaConsumerSource",
                        "servers": "127.0.0.1:1",
                        "topic": "t",
                        "encoding": "json",
                    },
                    "sink": {"type": "TangoLocalAttributeSink", "attribute_name": "b"},
                }
            ],
        }
    }


@pytest.fixture(scope="module")
def page(tmp_path_factory, browser):
    """Where the page is, and the device that serves it."""
    port = free_port()
    with serving(tmp_path_factory.mktemp("page"), exchanges(), port) as running:
        yield f"http://{HOST}:{port}/", running


def text(browser, selector="body"):
    return browser.find_element(By.CSS_SELECTOR, selector).text


def opened(browser, url):
    browser.set_window_size(1200, 900)
    browser.get(url)
    eventually(lambda: text(browser, "#link") == "live", 20, lambda: text(browser))


def delivered(browser):
    """How many data the page says that the first exchange has delivered."""
    words = text(browser, ".exchange .numbers").split(" ")
    return float(words[0]) * (1000 if words[1] == "k" else 1)


def test_it_shows_groups_exchanges_rates_and_what_is_wrong(browser, page):
    url, running = page
    opened(browser, url)
    eventually(lambda: "/s →" in text(browser) and delivered(browser) > 0, 20)
    shown = text(browser)
    assert running.proxy().name() in shown
    eventually(lambda: text(browser, "#state") == str(running.proxy().state()), 10)
    eventually(lambda: "waits for Kafka at 127.0.0.1:1" in text(browser, "#wrong"), 20)
    before = delivered(browser)
    eventually(lambda: delivered(browser) > before, 10)
    line = browser.find_element(By.CSS_SELECTOR, "polyline")
    eventually(lambda: len(line.get_attribute("points").split(" ")) > 2, 10)


def test_what_peers_and_configurations_name_is_only_text(browser, page):
    url, _ = page
    opened(browser, url)
    eventually(lambda: HOSTILE in text(browser, "#groups"), 20)
    assert browser.find_elements(By.CSS_SELECTOR, "#groups img") == []
    assert "broken" not in browser.title


def test_it_asks_nobody_else_and_nothing_is_let_in(browser, page):
    url, _ = page
    browser.get_log("performance")
    opened(browser, url)
    asked = set()
    for entry in browser.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            asked.add(message["params"]["request"]["url"])
    assert asked - {"data:,"} == {url, f"{url}events"}
    assert browser.get_log("browser") == []
    policy = httpx.get(url, trust_env=False).headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    injected = browser.execute_async_script(
        "const done = arguments[0], script = document.createElement('script');"
        "document.addEventListener('securitypolicyviolation', (e) => done(e.effectiveDirective));"
        "script.textContent = 'document.title = 1'; document.body.append(script);"
    )
    assert injected == "script-src-elem"


def test_it_is_used_by_keyboard_and_on_a_phone(browser, page):
    url, _ = page
    opened(browser, url)
    eventually(lambda: len(browser.find_elements(By.TAG_NAME, "details")) == 2, 20)
    browser.switch_to.active_element.send_keys(Keys.TAB)
    focused = browser.switch_to.active_element
    assert focused.get_attribute("id") == "filter"
    focused.send_keys("well")
    eventually(lambda: len(browser.find_elements(By.TAG_NAME, "details")) == 1, 5)
    focused.send_keys(Keys.TAB)
    summary = browser.switch_to.active_element
    assert summary.tag_name == "summary"
    summary.send_keys(Keys.ENTER)
    assert not browser.find_element(By.TAG_NAME, "details").get_property("open")
    browser.set_window_size(500, 800)  # the narrowest that it takes
    assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")


def test_it_goes_on_by_itself_when_the_device_has_been_restarted(browser, tmp_path):
    port = free_port()
    url = f"http://{HOST}:{port}/"
    with serving(tmp_path, {"exchanges": [endless("a")]}, port) as running:
        opened(browser, url)
    eventually(lambda: "no answer from the device since" in text(browser, "#link"), 20)
    with serving(tmp_path, {"exchanges": {"later": [endless("a")]}}, port) as running:
        eventually(lambda: text(browser, "#link") == "live", 30)
        eventually(lambda: "later" in text(browser, "#groups"), 10)
        assert "default" not in text(browser, "#groups")
        assert running.running()


def test_the_last_values_are_shown_and_spectra_and_images_drawn(browser, tmp_path):
    port = free_port()
    numbers = range(2000)
    exchanges = {
        "spectrum": [memory([[n, n + 1, 7, n] for n in numbers], "s", shape=[4], delay=0.05)],
        "image": [memory([[[n, 0], [0, n]] for n in numbers], "i", shape=[2, 2], delay=0.05)],
        "scalar": [memory(list(numbers), "n", delay=0.05)],
    }
    with serving(tmp_path, {"exchanges": exchanges}, port) as running:
        opened(browser, f"http://{HOST}:{port}/")
        shown = {name: f'[data-name="{name}[0]"] .value' for name in exchanges}
        eventually(lambda: all(text(browser, each) for each in shown.values()), 20)
        line = browser.find_element(By.CSS_SELECTOR, f"{shown['spectrum']} polyline")
        assert len(line.get_attribute("points").split(" ")) == 4
        canvas = browser.find_element(By.CSS_SELECTOR, f"{shown['image']} canvas")
        assert canvas.get_property("width") == canvas.get_property("height") == 2
        proxy = running.proxy()

        def lag():
            """How many values of 50 ms the page is behind the attribute."""
            value = int(text(browser, shown["scalar"]))
            return proxy.n - value

        lags = [lag() for _ in range(20)]
        assert min(lags) <= 20, f"a value is not shown within a second of its event: {lags}"
