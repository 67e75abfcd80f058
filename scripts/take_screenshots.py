"""Take the README's screenshots, of drawn and not of real lesions, in Chromium.

python -m scripts.take_screenshots
"""

import io
import threading
from collections.abc import Sequence
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from playwright.sync_api import Browser, FilePayload, sync_playwright
from werkzeug.serving import make_server

from app import create_app
from lesion_lens import ROOT
from lesion_lens.web.current import get_classifier
from scripts.chromium import launch

TARGET = ROOT / "docs" / "screenshots"


def draw_lesion(seed: int, radius: int, colour: tuple[int, int, int]) -> bytes:
    """Draw an irregular spot on uneven skin; returns its bytes as a JPEG of 600 × 450."""
    rng = np.random.default_rng(seed)
    skin = np.array([222, 172, 158]) + rng.normal(0, 14, (450, 600, 1))
    image = Image.fromarray(np.clip(skin, 0, 255).astype(np.uint8))
    angles = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    waves = sum(rng.normal(0, 0.07) * np.sin(k * angles + rng.uniform(0, 6)) for k in range(2, 7))
    edge = np.column_stack(
        [
            300 + 1.2 * radius * (1 + waves) * np.cos(angles),
            225 + radius * (1 + waves) * np.sin(angles),
        ]
    )
    mask = Image.new("L", image.size)
    ImageDraw.Draw(mask).polygon([tuple(point) for point in edge], fill=235)
    inside = np.array(colour) + rng.normal(0, 22, (450, 600, 1))
    spot = Image.fromarray(np.clip(inside, 0, 255).astype(np.uint8))
    image.paste(spot, mask=mask.filter(ImageFilter.GaussianBlur(12)))
    file = io.BytesIO()
    image.filter(ImageFilter.GaussianBlur(1.5)).save(file, "JPEG", quality=90)
    return file.getvalue()


LESIONS = {
    "mole-on-the-back.jpg": draw_lesion(0, 120, (60, 40, 40)),
    "arm.jpg": draw_lesion(1, 120, (60, 40, 40)),
    "leg.jpg": draw_lesion(2, 90, (110, 70, 50)),
}


def take(
    browser: Browser,
    address: str,
    width: int,
    scheme: Literal["light", "dark"],
    names: Sequence[str],
    target: str,
) -> None:
    """Upload some of the lesions and take what is seen on a phone or at a desk."""
    height = width * 2 if width < 500 else width * 3 // 4
    page = browser.new_page(
        viewport={"width": width, "height": height}, color_scheme=scheme, service_workers="block"
    )
    page.goto(address)
    page.set_input_files(
        "#pic",
        [FilePayload(name=name, mimeType="image/jpeg", buffer=LESIONS[name]) for name in names],
    )
    if target != "upload":
        page.get_by_role("button", name="Classify").click()
        page.locator("#likely, #batch-summary:not(:empty)").first.wait_for()
    else:
        page.locator("#chosen img").evaluate("image => image.decode()")
    page.screenshot(path=TARGET / f"{target}.png")
    print(f"Wrote {TARGET / target}.png")
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
        take(browser, address, 1000, "light", list(LESIONS), "table")
        browser.close()
    server.shutdown()


if __name__ == "__main__":
    main()
