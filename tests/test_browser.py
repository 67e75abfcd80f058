"""The pages in a real Chromium; screenshots go to screenshots/."""

import shutil
import threading

import pytest
from conftest import ROOT, draw_lesion, encode, require, skip_or_fail
from werkzeug.serving import make_server

SCREENSHOTS = ROOT / "screenshots"
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


@pytest.fixture(scope="module")
def browser():
    playwright = require("playwright.sync_api")
    path = next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)
    if path is None:
        skip_or_fail("needs Chromium: apt-get install chromium")
    with playwright.sync_playwright() as tools:
        browser = tools.chromium.launch(
            executable_path=path,
            args=["--no-sandbox", "--disable-quic", "--disable-background-networking"],
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def address(app):
    app.extensions["classifier"].load()
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()


@pytest.fixture(params=[(375, "light"), (375, "dark"), (1280, "light"), (1280, "dark")], ids=str)
def page(request, browser, address):
    width, scheme = request.param
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = context.new_page()
    page.faults = []
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.on("console", lambda line: line.type == "error" and page.faults.append(line.text))
    page.on("request", lambda r: r.url.startswith((address, "data:")) or page.faults.append(r.url))
    page.goto(address)
    yield page
    context.close()


@pytest.fixture
def one_page(browser, address):
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.goto(address)
    yield page
    context.close()


def image_file(request):
    """One of the originals where they are, a drawn lesion where they are not."""
    try:
        return request.getfixturevalue("original_files")[4]
    except pytest.skip.Exception:
        return {"name": "drawn.png", "mimeType": "image/png", "buffer": encode(draw_lesion())}


def shoot(page, name):
    SCREENSHOTS.mkdir(exist_ok=True)
    scheme = (
        "dark" if page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches") else "light"
    )
    width = page.viewport_size["width"]
    page.screenshot(path=SCREENSHOTS / f"{name}-{width}-{scheme}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= width  # nothing sticks out


def test_an_image_is_uploaded_and_the_result_is_read(page, request):
    shoot(page, "upload")
    page.get_by_label("Choose an image").set_input_files(image_file(request))
    page.get_by_role("button", name="Classify the image").click()
    page.wait_for_url("**/showresult")
    assert page.locator("#likely").is_visible()
    shares = [float(e.get_attribute("value")) for e in page.locator("data").all()]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(1, abs=1e-4)
    bars = [bar.bounding_box()["width"] for bar in page.locator(".bars rect").all()]
    assert bars[0] / page.locator(".bars svg").first.bounding_box()["width"] == pytest.approx(
        shares[0], abs=0.02
    )
    assert page.get_by_alt_text("The image that you uploaded").evaluate("e => e.naturalWidth") > 0
    assert page.get_by_text("not a diagnosis").is_visible()
    shoot(page, "result")
    assert page.faults == []


@pytest.mark.parametrize("size", [(600, 450), (300, 900), (900, 100)], ids=str)
@pytest.mark.parametrize("media", ["screen", "print"])
def test_the_map_lies_on_the_image(one_page, media, size):
    drawn = {"name": "a.png", "mimeType": "image/png", "buffer": encode(draw_lesion(size))}
    one_page.set_input_files("#pic", drawn)
    one_page.get_by_role("button", name="Classify").click()
    one_page.wait_for_url("**/showresult")
    one_page.emulate_media(media=media)
    image = one_page.get_by_alt_text("The image that you uploaded").bounding_box()
    assert one_page.locator(".map svg").bounding_box() == pytest.approx(image, abs=0.5)
    assert image["width"] / image["height"] == pytest.approx(size[0] / size[1], rel=0.02)


def test_a_file_that_is_no_image_gets_its_sentence(page):
    page.set_input_files("#pic", {"name": "a.png", "mimeType": "image/png", "buffer": b"hello"})
    page.get_by_role("button", name="Classify").click()
    page.wait_for_url("**/showresult")
    assert "not an image that can be read" in page.get_by_role("alert").inner_text()
    shoot(page, "error")


def test_an_image_is_dropped(one_page):
    data = list(encode(draw_lesion()))
    transfer = one_page.evaluate_handle(
        """data => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(data)], "dropped.png"));
            return transfer;
        }""",
        data,
    )
    one_page.dispatch_event("#upload", "drop", {"dataTransfer": transfer})
    assert one_page.evaluate("document.getElementById('pic').files[0].name") == "dropped.png"
    one_page.get_by_role("button", name="Classify").click()
    one_page.wait_for_url("**/showresult")
    assert one_page.locator("#likely").is_visible()


def test_a_file_too_large_is_said_before_it_is_sent(one_page):
    large = {"name": "large.jpg", "mimeType": "image/jpeg", "buffer": b"\x00" * 17_000_000}
    one_page.set_input_files("#pic", large)
    one_page.get_by_role("button", name="Classify").click()
    assert "larger than 16 MB" in one_page.get_by_role("alert").inner_text()
    assert not one_page.url.endswith("/showresult")


@pytest.mark.parametrize("size", [17_000_000, 45_000_000])
def test_without_javascript_a_file_too_large_gets_the_page_and_not_a_broken_connection(
    browser, address, size
):
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto(address)
    large = {"name": "large.jpg", "mimeType": "image/jpeg", "buffer": b"\x00" * size}
    page.set_input_files("#pic", large)
    page.get_by_role("button", name="Classify").click()
    page.wait_for_url("**/showresult")
    assert "larger than 16 MB" in page.get_by_role("alert").inner_text()
    page.context.close()


def test_without_javascript_an_image_is_classified(browser, address, request):
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto(address)
    page.set_input_files("#pic", image_file(request))
    page.get_by_role("button", name="Classify").click()
    page.wait_for_url("**/showresult")
    assert page.locator("#likely").is_visible()
    page.context.close()


def test_going_back_finds_the_button_ready(one_page):
    one_page.set_input_files("#pic", {"name": "a.png", "mimeType": "image/png", "buffer": b"x"})
    one_page.get_by_role("button", name="Classify").click()
    one_page.wait_for_url("**/showresult")
    one_page.go_back()
    assert one_page.get_by_role("button", name="Classify the image").is_enabled()


def test_a_page_that_the_browser_kept_as_it_was_left_is_ready_again(one_page):
    button = one_page.locator("button")
    button.evaluate("button => { button.disabled = true; button.textContent = 'Classifying …'; }")
    one_page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))")
    assert button.is_enabled()
    assert button.inner_text() == "Classify the image"
