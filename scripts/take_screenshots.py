"""Take the screenshots for the documents and the install dialogue, with drawn lesions.

python -m scripts.take_screenshots

Needs Chromium. The dialogue's screenshots show static/sample.jpg; `SCREENSHOTS` in
lesion_lens/web/pwa.py lists them.
"""

import io
import threading
from collections.abc import Sequence
from typing import Literal

from PIL import Image
from playwright.sync_api import Browser, FilePayload, sync_playwright
from werkzeug.serving import make_server

from app import create_app
from lesion_lens import ROOT
from lesion_lens.web.current import get_classifier
from lesion_lens.web.pwa import SCREENSHOTS, Screenshot
from scripts.chromium import launch
from tests.support.drawings import draw_grainy_lesion, draw_motley_lesion, encode

TARGET = ROOT / "docs" / "screenshots"
STATIC = ROOT / "static"
PAGES = {  # for the install dialogue: file name -> address that it shows
    "install-result.png": "/sample",
    "install-upload.png": "/",
    "install-signs.png": "/#warning-signs",
    "install-desktop.png": "/sample",
}

LESIONS = {
    "mole-on-the-back.jpg": encode(draw_motley_lesion(297), "JPEG", quality=90),
    "arm.jpg": encode(draw_motley_lesion(130), "JPEG", quality=90),
    "leg.jpg": encode(draw_grainy_lesion(238), "JPEG", quality=90),
}


def take(
    browser: Browser,
    address: str,
    width: int,
    scheme: Literal["light", "dark"],
    names: Sequence[str],
    target: str,
    here: bool = False,
) -> None:
    """Take a screenshot of some lesions, on a phone or a desktop; `here`: without the server."""
    height = width * 2 if width < 500 else width * 3 // 4
    page = browser.new_page(
        viewport={"width": width, "height": height}, color_scheme=scheme, service_workers="block"
    )
    page.goto(address)
    page.set_input_files(
        "#pic",
        [FilePayload(name=name, mimeType="image/jpeg", buffer=LESIONS[name]) for name in names],
    )
    if here:
        page.get_by_role("switch", name="Keep my images on this device").check()
    if target != "upload":
        page.get_by_role("button", name="Classify").click()
        page.locator("#likely, #batch-summary:not(:empty)").first.wait_for()
    else:
        page.locator("#chosen img").evaluate("image => image.decode()")
        page.locator("#chosen .checks").wait_for(state="attached")
    page.screenshot(path=TARGET / f"{target}.png")
    print(f"Wrote {TARGET / target}.png")
    page.close()


def take_for_installing(browser: Browser, address: str, shot: Screenshot) -> None:
    """Take one screenshot for the install dialogue, in 64 colours to keep the file small."""
    is_phone = shot.form_factor == "narrow"
    scale = 2 if is_phone else 1  # phones have small pixels
    page = browser.new_page(
        viewport={"width": shot.width // scale, "height": shot.height // scale},
        device_scale_factor=scale,
        is_mobile=is_phone,
        has_touch=is_phone,
        color_scheme="light",
        service_workers="block",
    )
    page.goto(address + PAGES[shot.name])
    if shot.name == "install-upload.png":
        page.set_input_files("#pic", STATIC / "sample.jpg")
        page.locator("#chosen img").evaluate("image => image.decode()")
        page.locator("#chosen .checks").wait_for(state="attached")
    image = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    image.quantize(64).save(STATIC / shot.name, optimize=True)
    print(f"{(STATIC / shot.name).stat().st_size:7,} bytes  static/{shot.name}")
    page.close()


def main() -> None:
    TARGET.mkdir(exist_ok=True)
    app = create_app()
    get_classifier(app).load()
    server = make_server("127.0.0.1", 0, app, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    first, *_ = LESIONS
    with sync_playwright() as tools:
        browser = launch(tools)
        take(browser, address, 375, "light", [first], "upload")
        take(browser, address, 375, "dark", [first], "result")
        take(browser, address, 375, "light", [first], "by-the-server")
        take(browser, address, 375, "light", [first], "on-the-device", here=True)
        take(browser, address, 1000, "light", list(LESIONS), "table")
        for shot in SCREENSHOTS:
            take_for_installing(browser, address, shot)
        browser.close()
    server.shutdown()


if __name__ == "__main__":
    main()
