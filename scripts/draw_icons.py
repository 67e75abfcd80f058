"""Draw the PNG icons in static/ from its SVGs, with Chromium.

Home screens do not accept SVG. Icons that the system crops to its own shape get the ring's colour
as background, so that the crop does not show.
"""

import io

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from lesion_lens import ROOT
from scripts.chromium import launch

STATIC = ROOT / "static"
GROUND = "#0f766e"  # the ring's colour
ICONS = {  # file name: side in pixels, background
    "icon-192.png": (192, "transparent"),
    "icon-512.png": (512, "transparent"),
    "icon-maskable-512.png": (512, GROUND),
    "apple-touch-icon.png": (180, GROUND),
}
SHORTCUT = "install-signs-icon.png", 192  # file name, side in pixels


def draw(browser: Browser, side: int, ground: str, source: str = "icon.svg") -> Image.Image:
    """Draw an SVG, in 64 colours to keep the file small.

    Args:
        browser: the browser that draws it.
        side: pixels.
        ground: the background, a CSS colour.
        source: the SVG's name in static/.

    Returns:
        An image (side, side) of mode "P", opaque unless the background is transparent.
    """
    page = browser.new_page(viewport={"width": side, "height": side})
    drawing = (STATIC / source).read_text(encoding="utf-8")
    page.set_content(f'<body style="margin: 0; background: {ground}">{drawing}')
    image = Image.open(io.BytesIO(page.screenshot(omit_background=True)))
    page.close()
    return (image if ground == "transparent" else image.convert("RGB")).quantize(64)


def save(image: Image.Image, name: str) -> None:
    image.save(STATIC / name, optimize=True)
    print(f"{(STATIC / name).stat().st_size:7,} bytes  static/{name}")


def main() -> None:
    with sync_playwright() as tools:
        browser = launch(tools)
        for name, (side, ground) in ICONS.items():
            save(draw(browser, side, ground), name)
        name, side = SHORTCUT
        save(draw(browser, side, "transparent", name.replace(".png", ".svg")), name)


if __name__ == "__main__":
    main()
