"""The page in a real browser: Debian's Chromium, driven by its driver."""

import json
import shutil
import threading
from pathlib import Path

import pytest

from sosr_timm.page.comparisons import content_of_comparison
from sosr_timm.page.document import document
from sosr_timm.page.main import content_of, watched
from sosr_timm.page.runs import content_of_runs
from sosr_timm.page.server import PageServer, state_of
from tests.page.stored import stored_run
from tests.page.test_content import COMPARISON
from tests.page.test_document import HOSTILE

BROWSER, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
WIDE, PHONE = 1280, 360
pytestmark = pytest.mark.skipif(
    not (BROWSER.exists() and DRIVER.exists()), reason="needs Debian's packages chromium and chromium-driver"
)


@pytest.fixture(scope="module")
def browser():
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = str(BROWSER)
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    found = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(DRIVER)))
    found.set_page_load_timeout(60)
    yield found
    found.quit()


@pytest.fixture
def page(browser, tmp_path):
    """The page of a comparison, opened from disk; nothing may be in the browser's console at the end."""
    path = tmp_path / "page.html"
    path.write_text(document(content_of_comparison(COMPARISON)), encoding="utf-8")
    look(browser, WIDE, "light")
    browser.get(path.as_uri())
    browser.execute_script("try { localStorage.clear() } catch (error) {}")
    browser.get(path.as_uri())
    yield browser
    assert browser.get_log("browser") == []


def look(browser, width, scheme):
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def column(browser, number, table="table-last"):
    """Name and value of each row in the order that is shown."""
    script = """
        const rows = [...document.getElementById(arguments[0]).tBodies[0].rows];
        const name = (row) => row.cells[0].querySelector("bdi").textContent;
        return rows.map((row) => [name(row), row.cells[arguments[1]].dataset.value]);
    """
    return [tuple(row) for row in browser.execute_script(script, table, number)]


def heads(browser, table="table-last"):
    return browser.find_elements("css selector", f"#{table} thead button")


def test_the_numbers_are_those_of_the_json(page):
    losses = json.loads((COMPARISON / "comparison.json").read_text())["losses"]
    shown = column(page, 1)
    assert shown == [(one["loss"], repr(one["last"]["top1"]["mean"])) for one in losses]
    cells = page.execute_script(
        "return [...document.querySelectorAll('#table-last tbody tr')].map((row) => row.cells[1].innerText)"
    )
    for one, cell in zip(losses, cells, strict=True):
        value = one["last"]["top1"]
        assert cell.split("\n")[0] == f"{value['mean']:.2f} ± {value['half_width']:.2f}"


def test_a_click_sorts_and_another_one_turns_the_order(page):
    values = sorted(float(value) for _, value in column(page, 2))
    button = heads(page)[2]
    button.click()
    assert [float(value) for _, value in column(page, 2)] == values
    assert button.find_element("xpath", "..").get_attribute("aria-sort") == "ascending"
    button.click()
    assert [float(value) for _, value in column(page, 2)] == values[::-1]
    assert button.find_element("xpath", "..").get_attribute("aria-sort") == "descending"
    heads(page)[0].click()
    assert [name for name, _ in column(page, 0)] == sorted(name for name, _ in column(page, 0))
    assert [name for name, _ in column(page, 0, "table-best")] == ["ce", "ls", "sosr"], "the other table stays"


def test_the_keyboard_alone_sorts_hides_lines_and_opens_values(page):
    from selenium.webdriver.common.keys import Keys

    def focused():
        return page.switch_to.active_element

    reached, sorted_already = set(), False
    for _ in range(60):
        focused().send_keys(Keys.TAB)
        element = focused()
        reached.add(element.tag_name)
        if not sorted_already and element.text.startswith("NLL") and element.tag_name == "button":
            sorted_already = True
            element.send_keys(Keys.ENTER)
            values = [float(value) for _, value in column(page, 2)]
            assert values == sorted(values)
            element.send_keys(Keys.SPACE)
            assert [float(value) for _, value in column(page, 2)] == values[::-1]
        if element.tag_name == "input":
            element.send_keys(Keys.SPACE)
            series = element.get_attribute("data-series")
            hidden = page.find_elements("css selector", f"figure g[data-series='{series}']")
            assert hidden and not any(one.is_displayed() for one in hidden)
            break
    assert sorted_already and {"a", "button", "div", "input"} <= reached, (
        "links, buttons, the boxes that scroll, the legend"
    )
    summary = page.find_element("css selector", "figure summary")
    summary.send_keys(Keys.ENTER)
    assert page.find_element("css selector", "figure details").get_attribute("open") is not None


@pytest.mark.parametrize("width", [WIDE, 768, PHONE])
def test_no_width_scrolls_sideways(page, width):
    look(page, width, "light")
    page.refresh()
    page.execute_script("for (const part of document.querySelectorAll('details')) part.open = true")
    wide = page.execute_script("return [document.documentElement.scrollWidth, window.innerWidth]")
    assert wide[0] <= wide[1] == width


def test_the_theme_follows_the_system_and_the_button(page):
    def back():
        return page.execute_script("return getComputedStyle(document.body).backgroundColor")

    light = back()
    look(page, WIDE, "dark")
    dark = back()
    assert light == "rgb(255, 255, 255)" and dark != light
    button = page.find_element("id", "theme")
    button.click()
    assert button.text == "Theme: light" and back() == light
    look(page, WIDE, "light")
    button.click()
    assert button.text == "Theme: dark" and back() == dark
    page.refresh()
    assert page.find_element("id", "theme").text == "Theme: dark" and back() == dark
    page.find_element("id", "theme").click()
    assert page.find_element("id", "theme").text == "Theme: system" and back() == light


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_enough_contrast(page, scheme):
    look(page, WIDE, scheme)
    script = """
        const found = [];
        const luminance = (color) => color.match(/[\\d.]+/g).slice(0, 3).map((part) => {
            const c = part / 255; return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
        }).reduce((sum, part, index) => sum + part * [0.2126, 0.7152, 0.0722][index], 0);
        const back = luminance(getComputedStyle(document.body).backgroundColor);
        for (const one of document.querySelectorAll("h1, h2, p, td, td small, td span, th, a, summary, svg text")) {
            const style = getComputedStyle(one);
            const ink = luminance(one instanceof SVGElement ? style.fill : style.color);
            const ratio = (Math.max(ink, back) + 0.05) / (Math.min(ink, back) + 0.05);
            if (ratio < 4.5) found.push(`${one.tagName} ${one.textContent.slice(0, 20)} ${ratio}`);
        }
        return found;
    """
    assert page.execute_script(script) == []


def test_hostile_names_run_nothing(browser, tmp_path):
    stored_run(tmp_path / "a", HOSTILE, dataset=HOSTILE)
    path = tmp_path / "page.html"
    path.write_text(document(content_of_runs([tmp_path / "a"], HOSTILE)), encoding="utf-8")
    browser.get(path.as_uri())
    assert browser.execute_script("return document.images.length") == 0
    assert "<img src=x onerror=alert(2)>" in browser.find_element("tag name", "h1").text
    assert browser.get_log("browser") == []


def test_a_served_page_refreshes_by_itself_and_keeps_what_was_chosen(browser, tmp_path):
    from selenium.webdriver.support.ui import WebDriverWait

    for seed, loss in enumerate(("ce", "ls")):
        stored_run(tmp_path / loss, loss, 0, done=1, gain=seed)
    server = PageServer(0, lambda state: document(content_of([tmp_path]), state), lambda: state_of(watched([tmp_path])))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        look(browser, WIDE, "light")
        browser.get(server.address)
        for _ in range(2):
            heads(browser)[1].click()
        assert [name for name, _ in column(browser, 1)] == ["ls", "ce"]
        shutil.rmtree(tmp_path / "ce")
        stored_run(tmp_path / "ce", "ce", 0, done=3)
        WebDriverWait(browser, 20).until(lambda found: [name for name, _ in column(found, 1)] == ["ce", "ls"])
        assert browser.find_element("id", "watch").text.startswith("Updated at ")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    WebDriverWait(browser, 20).until(lambda found: "has stopped" in found.find_element("id", "watch").text)
    browser.get("about:blank")
    severe = [line["message"] for line in browser.get_log("browser") if "ERR_CONNECTION_REFUSED" not in line["message"]]
    assert severe == []
