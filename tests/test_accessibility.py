"""WCAG 2.2 AA: axe-core on every page and state of it, and what axe cannot see.

A report of each run goes to screenshots/axe-….json. The strict policy is off in these tests alone,
because axe and the text spacing are put into the page.
"""

import contextlib
import json

import pytest
from conftest import (
    SCREENSHOTS,
    draw_lesion,
    encode,
    made_scores,
    pages_of,
    require,
    serving,
    write_model,
)
from test_app import FACTS, LIKE, UNLIKE

from app import create_app
from lesion_lens.model.decisions import VERDICTS
from skin_cancer_detection import CODES

STANDARDS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
SCREENS = [(375, "light"), (1280, "dark")]
LESIONS = [
    {"name": f"lesion {number}.png", "mimeType": "image/png", "buffer": encode(draw_lesion(size))}
    for number, size in enumerate([(600, 450), (300, 600)])
]
SPOILED = {"name": "spoiled.png", "mimeType": "image/png", "buffer": b"hello"}


def choose(page, address, *files):
    page.goto(address)
    page.set_input_files("#pic", list(files))


def classify(page, address, *files):
    choose(page, address, *files)
    page.get_by_role("button", name="Classify").click()
    page.locator("#likely, #error:visible, #batch tbody tr:nth-child(3)").first.wait_for()


def send_as_without_javascript(page, address, *files):
    choose(page, address, *files)
    with page.expect_navigation():
        page.evaluate("document.getElementById('upload').submit()")


def sort_the_batch(page, address):
    classify(page, address, *LESIONS, SPOILED)
    page.get_by_role("button", name="Probability").click()


def open_a_result_of_the_batch(page, address):
    classify(page, address, *LESIONS, SPOILED)
    page.get_by_role("button", name="lesion 1.png").click()
    page.locator("#likely").wait_for()


# What a page can look like, and how one gets there.
STATES = {
    "upload": lambda page, address: page.goto(address),
    "chosen": lambda page, address: choose(page, address, *LESIONS),
    "error": lambda page, address: classify(page, address, SPOILED),
    "error-plain": lambda page, address: send_as_without_javascript(page, address, SPOILED),
    "result": lambda page, address: classify(page, address, LESIONS[0]),
    "result-plain": lambda page, address: send_as_without_javascript(page, address, LESIONS[0]),
    "batch": sort_the_batch,
    "batch-result": open_a_result_of_the_batch,
    "batch-plain": lambda page, address: send_as_without_javascript(
        page, address, *LESIONS, SPOILED
    ),
    "model": lambda page, address: page.goto(f"{address}/model"),
    "api": lambda page, address: page.goto(f"{address}/api/v1/docs"),
    "privacy": lambda page, address: page.goto(f"{address}/privacy"),
    "offline": lambda page, address: page.goto(f"{address}/offline"),
    "not-found": lambda page, address: page.goto(f"{address}/none"),
}
# The verdict's key in `VERDICTS`: the attributes of a model file and the shares that lead to it.
VERDICT_MODELS = {
    "unlike": ((FACTS, UNLIKE), {"nv": 0.98}),
    "unknown": ((), {"nv": 0.98}),
    "inconclusive": ((FACTS, LIKE), {"nv": 0.85, "bcc": 0.12}),
    "low risk": ((FACTS, LIKE), {"nv": 0.98}),
    "see a doctor": ((FACTS, LIKE), {"mel": 0.98}),
}


@contextlib.contextmanager
def screen(browser, width, scheme="light", **options):
    context = browser.new_context(
        viewport={"width": width, "height": 800},
        color_scheme=scheme,
        bypass_csp=True,
        service_workers="block",
        **options,
    )
    yield context.new_page()
    context.close()


def violations(page, name):
    """Run axe-core on a page as it is and write its report; returns what it finds wrong."""
    axe = require("axe_playwright_python.sync_playwright").Axe()
    rules = {"target-size": {"enabled": True}}  # of WCAG 2.2, and off unless it is asked for
    found = axe.run(page, options={"runOnly": STANDARDS, "rules": rules}).response
    passed = [rule["id"] for rule in found["passes"]]
    assert {"color-contrast", "document-title", "target-size"} <= set(passed)
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
    addresses = []
    page = type("Recorder", (), {"goto": lambda self, address: addresses.append(address)})()
    for name in ("upload", "model", "api", "privacy", "offline"):
        STATES[name](page, "")
    assert {address or "/" for address in addresses} == pages_of(app)


@pytest.mark.parametrize(("width", "scheme"), SCREENS)
@pytest.mark.parametrize("state", STATES)
def test_axe_finds_nothing(browser, address, state, width, scheme):
    with screen(browser, width, scheme) as page:
        STATES[state](page, address)
        assert violations(page, f"{state}-{width}-{scheme}") == []


@pytest.mark.parametrize("verdict", VERDICTS)
def test_axe_finds_nothing_on_a_result(browser, tmp_path, verdict):
    kinds, shares = VERDICT_MODELS[verdict]
    rest = (1 - sum(shares.values())) / (len(CODES) - len(shares))
    attributes = {key: value for kind in kinds for key, value in kind.to_attributes().items()}
    path = write_model(
        tmp_path,
        [shares.get(code, rest) for code in CODES],
        {"test": made_scores()},
        attributes,
    )
    with serving(create_app({"MODEL_PATH": path})) as port:
        for width, scheme in SCREENS:
            with screen(browser, width, scheme) as page:
                classify(page, f"http://127.0.0.1:{port}", LESIONS[0])
                assert page.inner_text("#headline") == VERDICTS[verdict]
                name = f"result-{verdict.replace(' ', '-')}-{width}-{scheme}"
                assert violations(page, name) == []


def test_axe_would_find_something(browser, address):
    with screen(browser, 375) as page:
        page.goto(address)
        page.evaluate("document.querySelector('header img').removeAttribute('alt')")
        assert violations(page, "spoiled")[0].startswith("image-alt: ")
    (SCREENSHOTS / "axe-spoiled.json").unlink()


# --- What axe does not see -------------------------------------------------------------------

# WCAG 2.2, success criterion 1.4.12.
SPACING = """
    * { line-height: 1.5 !important; letter-spacing: .12em !important; }
    * { word-spacing: .16em !important; }
    p { margin-bottom: 2em !important; }
"""
CUT_OFF = """() => [...document.querySelectorAll("body *")].filter((element) => {
    const { overflowX, overflowY, clipPath } = getComputedStyle(element);
    return clipPath === "none" && element.tagName !== "svg"
        && ((overflowX === "hidden" && element.scrollWidth > element.clientWidth + 1)
            || (overflowY === "hidden" && element.scrollHeight > element.clientHeight + 1));
}).map((element) => element.outerHTML.slice(0, 120))"""


def sideways(page):
    """By how many pixels a page is wider than its window."""
    return page.evaluate("document.documentElement.scrollWidth - innerWidth")


@pytest.mark.parametrize("state", STATES)
def test_nothing_scrolls_sideways_on_the_smallest_screen_nor_with_wide_text(
    browser, address, state
):
    with screen(browser, 320) as page:
        STATES[state](page, address)
        assert sideways(page) <= 0
        page.add_style_tag(content=SPACING)
        assert sideways(page) <= 0
        assert page.evaluate(CUT_OFF) == []


@pytest.mark.parametrize("state", STATES)
def test_at_200_percent_nothing_is_lost(browser, address, state):
    with screen(browser, 640, device_scale_factor=2) as page:
        STATES[state](page, address)
        assert sideways(page) <= 0
        assert page.evaluate(CUT_OFF) == []


@pytest.mark.parametrize("path", ["/", "/privacy", "/offline", "/model", "/api/v1/docs", "/none"])
def test_the_first_key_leads_past_the_header(browser, address, path):
    with screen(browser, 375) as page:
        page.goto(address + path)
        page.keyboard.press("Tab")
        skip = page.get_by_role("link", name="Skip to the main content")
        assert skip.evaluate("link => document.activeElement === link")
        assert skip.bounding_box()["x"] >= 0
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.closest('main') !== null")
