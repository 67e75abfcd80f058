"""Draw the PNG icons of static/ from its SVGs, with Chromium.

Home screens take no SVG. An icon that the system cuts to a shape of its own gets the ring's colour
as its ground, so that there is nothing to see of the cut.
"""

import io

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from lesion_lens import ROOT
from scripts.chromium import launch

STATIC = ROOT / "static"
GROUND = "#0f766e"  # the ring's
ICONS = {  # the file's name: side in pixels, ground
    "icon-192.png": (192, "transparent"),
    "icon-512.png": (512, "transparent"),
    "icon-maskable-512.png": (512, GROUND),
    "apple-touch-icon.png": (180, GROUND),
}
SHORTCUT = "install-signs-icon.png", 192  # its file's name, side in pixels


def draw(browser: Browser, side: int, ground: str, source: str = "icon.svg") -> Image.Image:
    """Draw an SVG, in 64 colours so that the file is small.

    Args:
        browser: what draws it.
        side: pixels.
        ground: a CSS colour, for what the ring leaves free.
        source: the SVG's name in static/.

    Returns:
        An image (side, side) of mode "P", opaque on a ground.
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
