"""The page in a real browser, on its real server."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome, ChromeOptions, Keys
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.expected_conditions import staleness_of
from selenium.webdriver.support.select import Select
from selenium.webdriver.support.wait import WebDriverWait

from tests.worlds.demo_world import HOSTILE, JOBS, Server, liking_run, rating_run, serving, title_of

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
FLAGS = (
    "headless=new",
    "no-sandbox",
    "disable-gpu",
    "disable-quic",
    "disable-sync",
    "disable-background-networking",
    "disable-component-update",
    "no-first-run",
    "window-size=1200,1000",
)

pytestmark = pytest.mark.skipif(
    BROWSER is None or DRIVER is None, reason="needs chromium and chromedriver"
)


@pytest.fixture(scope="module")
def rates(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("rating")
    with serving(rating_run(folder), folder) as running:
        yield running


@pytest.fixture(scope="module")
def likes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("liking")
    with serving(liking_run(folder), folder) as running:
        yield running


class Page:
    """What a visitor does, and what there is to see."""

    def __init__(self, profile: Path) -> None:
        options = ChromeOptions()
        options.binary_location = str(BROWSER)
        for flag in (*FLAGS, f"user-data-dir={profile}"):
            options.add_argument(f"--{flag}")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        # with the driver's path, selenium does not look for one on the network
        self.driver = Chrome(options=options, service=Service(DRIVER))

    def open(self, server: Server) -> None:
        self.driver.get(server.address)
        self.until(lambda: self.items("recommended"))

    def until(self, condition: Any) -> None:
        WebDriverWait(self.driver, 20, poll_frequency=0.05).until(lambda _: condition())

    def find(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def items(self, name: str) -> list[str]:
        """The tokens of a list."""
        rows = f"return [...document.querySelectorAll('#{name} > [data-token]')]"
        return self.driver.execute_script(f"{rows}.map((row) => row.dataset.token)")

    def texts(self, selector: str) -> list[str]:
        every = f"return [...document.querySelectorAll('{selector}')]"
        return self.driver.execute_script(f"{every}.map((found) => found.textContent)")

    def press(self, name: str, token: str, text: str) -> None:
        """Press a button of an item and wait until the page has its answer."""
        row = f"#{name} > [data-token='{token}'] button"
        self.change(next(button for button in self.find(row) if button.text == text).click)

    def change(self, action: Any) -> None:
        (first,) = self.find("#recommended > :first-child")
        action()
        self.until(lambda: staleness_of(first)(self.driver))

    def requested(self) -> set[str]:
        """Addresses that the page's documents asked for."""
        events = (
            json.loads(row["message"])["message"] for row in self.driver.get_log("performance")
        )
        sent = [e["params"] for e in events if e["method"] == "Network.requestWillBeSent"]
        return {
            params["request"]["url"]
            for params in sent
            if not params["documentURL"].startswith(("chrome", "about:", "data:"))
        }


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    page = Page(tmp_path_factory.mktemp("profile"))
    yield page
    page.driver.quit()


@pytest.fixture
def page(browser: Page) -> Iterator[Page]:
    browser.driver.get("about:blank")
    for log in ("browser", "performance"):
        browser.driver.get_log(log)
    yield browser
    assert browser.driver.get_log("browser") == []


def test_rating_changes_the_list(page: Page, rates: Server) -> None:
    page.open(rates)
    before, asked = page.items("recommended"), page.items("ask")
    scores = page.texts("#recommended .score")
    assert (len(before), len(asked), page.items("rated")) == (10, 5, [])
    assert page.texts("#status") == [""]
    page.press("ask", asked[0], "1")
    page.press("ask", asked[1], "5")
    assert page.items("rated") == [asked[1], asked[0]]
    pressed = page.find("#rated button[aria-pressed=true]")
    assert [button.text for button in pressed] == ["5", "1"]
    assert not {asked[0], asked[1]} & {*page.items("ask"), *page.items("recommended")}
    assert len(page.items("ask")) == 5
    after = page.texts("#recommended .score")
    assert after != scores
    assert all(1 <= float(text) <= 5 for text in after)

    page.press("rated", asked[0], "5")  # a second thought
    assert [b.text for b in page.find("#rated button[aria-pressed=true]")] == ["5", "5"]
    assert page.texts("#recommended .score") != after
    page.press("rated", asked[0], "Remove")
    page.press("rated", asked[1], "Remove")
    assert page.items("rated") == []
    assert (page.items("recommended"), page.items("ask")) == (before, asked)
    assert page.texts("#recommended .score") == scores


def test_what_changed_is_shown(page: Page, rates: Server) -> None:
    page.open(rates)
    before, (first, *_) = page.items("recommended"), page.items("ask")
    page.press("ask", first, "1")
    after, expected, gone = page.items("recommended"), [], set(before)
    for rank, token in enumerate(after):
        up = before.index(token) - rank if token in before else None
        gone.discard(token)
        expected.append("new" if up is None else f"▲ {up}" if up > 0 else f"▼ {-up}" if up else "")
    assert page.texts("#recommended .change") == expected
    assert any(expected)
    moved = sum(text[:1] in ("▲", "▼") for text in expected if text)
    (status,) = page.texts("#status")
    assert status.startswith(f"{expected.count('new')} new, {moved} moved.")
    assert all(title_of(int(token[1:])) in status for token in gone)


def test_who_one_is_changes_the_list(page: Page, rates: Server) -> None:
    page.open(rates)
    (jobs,) = page.find("select[name=job]")
    assert [option.text for option in Select(jobs).options] == ["unknown", *sorted(JOBS)]
    unknown = page.texts("#recommended .score")
    page.change(lambda: Select(jobs).select_by_value(JOBS[0]))
    as_told = page.texts("#recommended .score")
    assert as_told != unknown
    page.change(lambda: Select(jobs).select_by_visible_text("unknown"))
    assert page.texts("#recommended .score") == unknown


def test_what_one_does_not_know_is_not_asked_again(page: Page, likes: Server) -> None:
    page.open(likes)
    asked, listed = page.items("ask"), page.items("recommended")
    page.press("ask", asked[1], "Don’t know it")
    assert asked[1] not in page.items("ask")
    assert page.items("ask")[:4] == [asked[0], *asked[2:]]
    assert page.items("recommended") == listed
    assert page.items("rated") == []
    (again,) = page.find("#again")
    page.change(again.click)
    assert page.items("ask") == asked
    assert not again.is_displayed()


def test_liking_changes_the_list(page: Page, likes: Server) -> None:
    page.open(likes)
    assert page.find("form, meter, #rated .choice") == []
    first = page.items("ask")[0]
    page.press("ask", first, "Like")
    listed = [int(token) for token in page.items("recommended")]
    assert {token % 2 for token in listed[:7]} == {int(first) % 2}  # all there are of this taste
    assert {token % 2 for token in listed[7:]} == {1 - int(first) % 2}
    assert first not in page.items("recommended")
    (restart,) = page.find("#restart")
    page.change(restart.click)
    assert page.items("ask")[0] == first


def test_markup_in_the_data_is_text(page: Page, likes: Server, rates: Server) -> None:
    for server, of in ((likes, int), (rates, lambda token: int(token[1:]))):
        page.open(server)
        title = page.driver.title
        for name in ("ask", "recommended"):
            titles = [title_of(of(token)) for token in page.items(name)]
            assert page.texts(f"#{name} .title") == titles
        shown = "".join(page.texts("#recommended .title") + page.texts("#ask .title"))
        assert any(text in shown for text in HOSTILE[:2])
        assert page.find("img, body script, b, main iframe") == []
        assert page.driver.title == title
        assert title in ("BPR on world", "MeLU on cold")


def test_nothing_but_the_server_is_asked(page: Page, likes: Server) -> None:
    page.open(likes)
    page.press("ask", page.items("ask")[0], "Like")
    files = ("", "answer", "static/page.js", "static/page.css", "static/icon.svg")
    found = page.requested()
    assert found <= {f"{likes.address}{name}" for name in files}
    assert {f"{likes.address}{name}" for name in files[:4]} <= found


def test_the_keyboard_is_enough(page: Page, rates: Server) -> None:
    page.open(rates)
    asked = page.items("ask")
    (choice,) = page.find(f"#ask > [data-token='{asked[0]}'] button:nth-child(4)")
    choice.send_keys("")
    page.change(lambda: choice.send_keys(Keys.ENTER))
    assert page.items("rated") == asked[:1]
    active = page.driver.switch_to.active_element
    assert active.text == "4"
    assert active.find_element(By.XPATH, "../..").get_attribute("data-token") == asked[1]
    page.change(lambda: active.send_keys(Keys.SPACE))
    assert page.items("rated") == [asked[1], asked[0]]


@pytest.mark.parametrize("width", [320, 390])
def test_a_phone_has_no_need_to_scroll_sideways(width: int, page: Page, rates: Server) -> None:
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        page.open(rates)
        page.press("ask", page.items("ask")[0], "5")
        assert page.driver.execute_script("return document.documentElement.scrollWidth") == width
    finally:
        page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_a_server_that_is_gone_is_said(browser: Page, tmp_path: Path) -> None:
    with serving(liking_run(tmp_path), tmp_path) as server:
        browser.open(server)
        assert server.stop() == 0
        browser.find("#ask button")[0].click()
        browser.until(lambda: browser.texts("#error") == ["The server does not answer."])
        assert browser.find("#error")[0].is_displayed()
        assert len(browser.items("recommended")) == 10
