"""WCAG 2.2 AA: axe-core on every page and its states, and what axe cannot check.

A report of each run is written to screenshots/axe-….json. These tests switch off the content
security policy, because they inject axe and the text spacing into the page.
"""

import contextlib
import json
import re

import pytest

from lesion_lens import ROOT
from lesion_lens.model.decisions import HEADLINES
from tests.support.browser import SCREENSHOTS, SPOILED, classify, desk_of, drawn, resize, window
from tests.support.drawings import draw_for, draw_lesion
from tests.support.models import (
    FACTS,
    LIKE,
    OTHER,
    OWN,
    PROVEN,
    UNLIKE,
    attributes_of,
    made_scores,
    shares_of,
    write_model,
)
from tests.support.pages import app_of, pages_of
from tests.support.servers import serving
from tests.support.skipping import require

STANDARDS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
SCREENS = [(375, "light"), (1280, "dark")]
WIDE = drawn("wide.png", draw_for("high"))
HIGH = drawn("high.png", draw_lesion((300, 600)))
# The level and anything special -> the attributes of a model file and the shares that lead to it.
LEVEL_MODELS = {
    "high": ((FACTS, LIKE, OWN, PROVEN), {"mel": 0.98}),
    "high-unfamiliar": ((FACTS, UNLIKE, OWN, PROVEN), {"mel": 0.92}),
    "raised": ((FACTS, LIKE, OWN, PROVEN), {"nv": 0.85, "bcc": 0.12}),
    "raised-unfamiliar": ((FACTS, UNLIKE, OWN, PROVEN), {"nv": 0.98}),
    "unknown": ((FACTS, LIKE, OTHER, PROVEN), {"mel": 0.98}),
    "low": ((FACTS, LIKE, OWN, PROVEN), {"nv": 0.98}),
}


def send(page, *files):
    classify(page, *files)
    page.locator("#likely, #error:visible, #batch tbody tr:nth-child(3)").first.wait_for()


def send_as_without_javascript(page, *files):
    page.set_input_files("#pic", list(files))
    with page.expect_navigation():
        page.evaluate("document.getElementById('upload').submit()")


def fail_to_share(page):
    send(page, WIDE)
    page.evaluate("document.documentElement.classList.add('can-share')")
    page.evaluate("document.querySelector('.not-shared').hidden = false")


def sort_the_batch(page):
    send(page, WIDE, HIGH, SPOILED)
    page.get_by_role("button", name="Probability").click()


def send_with_warning_signs(page):
    for box in page.locator(".signs input").all():
        box.check()
    send(page, WIDE)
    page.locator(".level-box .doctor-now").wait_for()


def leave_running(page):
    page.route("**/showresult", lambda route: None)
    classify(page, WIDE)
    page.get_by_role("button", name="Cancel").wait_for()


def open_a_result_of_the_batch(page):
    send(page, WIDE, HIGH, SPOILED)
    page.get_by_role("button", name="high.png", exact=True).click()
    page.locator("#likely").wait_for()


def choose_a_dark_one(page):
    page.set_input_files("#pic", [drawn("dark.png", draw_lesion(colour="black", skin="brown"))])
    page.locator("[data-remark=dark]").wait_for()


def crop(page):
    choose_a_dark_one(page)
    page.get_by_role("button", name="Crop: dark.png").click()
    page.locator("#crop output:not(:empty)").wait_for()


def show_one_level_of_the_batch(page):
    send(page, WIDE, HIGH, SPOILED)
    page.get_by_role("radio", name="Not classified").check()
    page.get_by_label("Note on spoiled.png").fill("to be sent again")


def compare_two_of_the_batch(page):
    send(page, WIDE, HIGH, SPOILED)
    page.get_by_role("button", name="Compare").click()


PAGES = {
    "upload": "/",
    "model": "/model",
    "api": "/api/v1/docs",
    "privacy": "/privacy",
    "sample": "/sample",
    "offline": "/offline",
    "not-found": "/none",
}
# The states of the upload page, and how to reach them.
STATES = {
    "chosen": lambda page: page.set_input_files("#pic", [WIDE, HIGH]),
    "running": leave_running,
    "remarked": choose_a_dark_one,
    "crop": crop,
    "error": lambda page: send(page, SPOILED),
    "error-plain": lambda page: send_as_without_javascript(page, SPOILED),
    "result": send_with_warning_signs,
    "not-shared": fail_to_share,
    "result-plain": lambda page: send_as_without_javascript(page, WIDE),
    "batch": sort_the_batch,
    "batch-result": open_a_result_of_the_batch,
    "batch-filtered": show_one_level_of_the_batch,
    "comparison": compare_two_of_the_batch,
    "batch-plain": lambda page: send_as_without_javascript(page, WIDE, HIGH, SPOILED),
}


@pytest.fixture(scope="module")
def desk(browser):
    with desk_of(browser, bypass_csp=True) as desk:
        yield desk


@pytest.fixture(scope="module", params=[*PAGES, *STATES])
def state(request, desk, address):
    """The name of a page or state, and a window that shows it to all its tests."""
    page = desk.new_page()
    page.goto(address + PAGES.get(request.param, "/"))
    if request.param in STATES:
        STATES[request.param](page)
    yield request.param, page
    page.close()


def violations(page, name):
    """Run axe-core on a page as it is, write its report and return the violations."""
    axe = require("axe_playwright_python.sync_playwright").Axe()
    options = {
        "runOnly": STANDARDS,
        "rules": {"target-size": {"enabled": True}},  # from WCAG 2.2; off by default
        "resultTypes": ["violations", "incomplete"],  # for speed, one place each of the others
    }
    found = axe.run(page, options=options).response
    passed = [rule["id"] for rule in found["passes"]]
    assert {"color-contrast", "target-size"} <= set(passed)
    report = {
        "address": found["url"],
        "axe": found["testEngine"]["version"],
        "passed": passed,
        "violations": found["violations"],
        "to be looked at": {rule["id"]: rule["help"] for rule in found["incomplete"]},
    }
    SCREENSHOTS.mkdir(exist_ok=True)
    (SCREENSHOTS / f"axe-{name}.json").write_text(json.dumps(report, indent=2), encoding="utf-8")
    return [
        f"{rule['id']}: {node['target']}: {node['failureSummary']}"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]


# --- axe-core --------------------------------------------------------------------------------


def test_every_page_is_among_the_states(app):
    assert set(PAGES.values()) - {"/none"} == pages_of(app)


@pytest.mark.parametrize(("width", "scheme"), SCREENS)
def test_axe_finds_nothing(state, width, scheme):
    name, page = state
    resize(page, width, scheme)
    assert violations(page, f"{name}-{width}-{scheme}") == []


@pytest.mark.parametrize("name", LEVEL_MODELS)
def test_axe_finds_nothing_on_a_result(desk, tmp_path, name):
    kinds, shares = LEVEL_MODELS[name]
    facts = {"test": made_scores()}
    path = write_model(tmp_path, shares_of(**shares), facts, attributes_of(*kinds))
    with serving(app_of(path)) as port:
        page = desk.new_page()
        page.goto(f"http://127.0.0.1:{port}")
        send(page, WIDE)
        assert page.inner_text("#headline") == HEADLINES[name.split("-")[0]]
        for width, scheme in SCREENS:
            resize(page, width, scheme)
            assert violations(page, f"result-{name}-{width}-{scheme}") == []
        page.close()


def test_axe_would_find_something(desk, address):
    page = desk.new_page()
    page.goto(address)
    page.evaluate("document.querySelector('header img').removeAttribute('alt')")
    assert violations(page, "spoiled")[0].startswith("image-alt: ")
    page.close()
    (SCREENSHOTS / "axe-spoiled.json").unlink()


# --- What axe does not see -------------------------------------------------------------------

# WCAG 2.2, success criterion 1.4.12.
SPACING = """
    * { line-height: 1.5 !important; letter-spacing: .12em !important; }
    * { word-spacing: .16em !important; }
    p { margin-bottom: 2em !important; }
"""
LARGE = "html { font-size: 200%; }"
CUT_OFF = """() => [...document.querySelectorAll("body *")].filter((element) => {
    const { overflowX, overflowY, clipPath } = getComputedStyle(element);
    return clipPath === "none" && element.tagName !== "svg"
        && ((overflowX === "hidden" && element.scrollWidth > element.clientWidth + 1)
            || (overflowY === "hidden" && element.scrollHeight > element.clientHeight + 1));
}).map((element) => element.outerHTML.slice(0, 120))"""


def sideways(page):
    """Return by how many pixels a page is wider than its window."""
    return page.evaluate("document.documentElement.scrollWidth - innerWidth")


@contextlib.contextmanager
def styled(page, content):
    style = page.add_style_tag(content=content)
    yield
    style.evaluate("style => style.remove()")


def test_nothing_scrolls_sideways_on_the_smallest_screen_nor_with_wide_text(state):
    _, page = state
    resize(page, 320)
    assert sideways(page) <= 0
    with styled(page, SPACING):
        assert sideways(page) <= 0
        assert page.evaluate(CUT_OFF) == []


def test_at_200_percent_nothing_is_lost(state):
    """A window of 1280 pixels is then laid out like one of 640."""
    _, page = state
    resize(page, 640)
    assert sideways(page) <= 0
    assert page.evaluate(CUT_OFF) == []


def test_text_of_twice_the_size_fits_a_phone(state):
    _, page = state
    resize(page, 375)
    with styled(page, LARGE):
        assert sideways(page) <= 0
        assert page.evaluate(CUT_OFF) == []


def test_beside_large_text_the_name_of_a_chosen_image_has_the_whole_width(browser, address):
    with window(browser, 375, bypass_csp=True) as page:
        page.goto(address)
        page.set_input_files("#pic", [WIDE])
        with styled(page, LARGE):
            picture, name = (
                page.locator(f"#chosen {part}").bounding_box() for part in ("img", ".file")
            )
            assert name["y"] >= picture["y"] + picture["height"]


def test_no_page_is_wider_where_text_runs_from_right_to_left(state):
    _, page = state
    resize(page, 375)
    page.evaluate("document.documentElement.dir = 'rtl'")
    assert sideways(page) <= 0
    page.evaluate("document.documentElement.removeAttribute('dir')")


def test_the_style_sheet_knows_no_left_and_no_right():
    """It uses only logical properties, so it works for both text directions."""
    sheet = (ROOT / "static" / "style.css").read_text(encoding="utf-8")
    sheet = re.sub(r"/\*.*?\*/", "", sheet, flags=re.DOTALL)
    declarations = re.findall(r"([\w-]+):\s*([^;{}]+);", sheet)
    assert len(declarations) > 100
    sides = re.compile(r"\b(left|right)\b")
    assert [(name, value) for name, value in declarations if sides.search(f"{name} {value}")] == []


@pytest.mark.parametrize("path", PAGES.values())
def test_the_first_key_leads_past_the_header(desk, address, path):
    page = desk.new_page()
    page.goto(address + path)
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the main content")
    assert skip.evaluate("link => document.activeElement === link")
    box, logo = skip.bounding_box(), page.locator("header a").bounding_box()
    assert box["x"] >= 0
    assert box["y"] + box["height"] <= logo["y"]  # and covers nothing
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('main') !== null")
    page.close()
