"""A real Chromium: starting it, using the page, and taking screenshots."""

import contextlib
import shutil

from lesion_lens import ROOT
from scripts.chromium import NAMES
from tests.support.drawings import draw_lesion, encode
from tests.support.skipping import skip_or_fail

SCREENSHOTS = ROOT / "screenshots"
SPOILED = {"name": "spoiled.png", "mimeType": "image/png", "buffer": b"hello"}


def chromium():
    """Return the arguments with which Playwright launches Chromium."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        skip_or_fail("needs Chromium: apt-get install chromium")
    switches = ["--no-sandbox", "--disable-quic", "--disable-background-networking"]
    return {"executable_path": path, "args": switches}


@contextlib.contextmanager
def window(browser, width=1280, scheme="light", **options):
    """Open a new page of this width; options are those of `Browser.new_context`."""
    context = browser.new_context(
        viewport={"width": width, "height": 800},
        color_scheme=scheme,
        **{"service_workers": "block"} | options,
    )
    try:
        yield context.new_page()
    finally:
        context.close()


@contextlib.contextmanager
def desk_of(browser, **options):
    """Open a context with one window that stays open, so that others share its process."""
    size = {"width": 1280, "height": 800}
    context = browser.new_context(viewport=size, service_workers="block", **options)
    context.new_page()
    try:
        yield context
    finally:
        context.close()


def resize(page, width, scheme="light"):
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme=scheme)


def drawn(name="lesion.png", image=None):
    """Return a file for a form: a drawn lesion, or another image."""
    return {"name": name, "mimeType": "image/png", "buffer": encode(image or draw_lesion())}


def classify(page, *files):
    """Choose files on the upload page and send them."""
    page.set_input_files("#pic", list(files))
    page.get_by_role("button", name="Classify").click()


def chosen(page):
    """Return the names of the chosen images as the upload page lists them."""
    return page.locator("#chosen .file").all_inner_texts()


def transfer_of(page, *files):
    """Return the DataTransfer (a handle) of a drop or a paste of these files."""
    return page.evaluate_handle(
        """files => {
            const transfer = new DataTransfer();
            for (const [name, type, data] of files)
                transfer.items.add(new File([new Uint8Array(data)], name, {type}));
            return transfer;
        }""",
        [[file["name"], file["mimeType"], list(file["buffer"])] for file in files],
    )


def drop(page, *files):
    page.dispatch_event("h1", "drop", {"dataTransfer": transfer_of(page, *files)})


def pause_of(page):
    """Return a pause for `wait_for` that takes seconds and lets the browser handle events."""
    return lambda seconds: page.wait_for_timeout(1000 * seconds)


def shoot(page, name):
    """Save a screenshot of the whole page to screenshots/, and check that nothing overflows."""
    SCREENSHOTS.mkdir(exist_ok=True)
    scheme = (
        "dark" if page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches") else "light"
    )
    width = page.viewport_size["width"]
    page.screenshot(path=SCREENSHOTS / f"{name}-{width}-{scheme}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
