"""Drawing lesions, and encoding images as files that a browser would send.

`benchmarks.pictures.photograph` draws one as a camera would take it.
"""

import io

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SKIN, BROWN = (226, 178, 158), (104, 62, 42)


def draw_lesion(size=(600, 450), ellipse=None, colour=BROWN, skin=SKIN, blur=0):
    """Draw a mole on skin.

    Args:
        size: (width, height) in pixels.
        ellipse: (left, top, right, bottom) of the mole; without it, the middle half.
        blur: radius in pixels.
    """
    width, height = size
    image = Image.new("RGB", size, skin)
    middle = (width // 4, height // 4, width * 3 // 4, height * 3 // 4)
    ImageDraw.Draw(image).ellipse(ellipse or middle, fill=colour)
    return image.filter(ImageFilter.GaussianBlur(blur)) if blur else image


def draw_grainy_lesion(seed, size=(600, 450)):
    """Draw a mole of random size and colour, with a soft edge and grain, more like a photograph."""
    rng = np.random.default_rng(seed)
    skin, mole = rng.normal((222, 172, 158), 8), rng.normal((95, 60, 45), 25)
    radius, (width, height) = rng.uniform(0.12, 0.35) * size[1], size
    soft = draw_lesion(
        size,
        (width / 2 - radius, height / 2 - radius, width / 2 + radius, height / 2 + radius),
        tuple(np.clip(mole, 0, 255).astype(int)),
        tuple(skin.astype(int)),
        blur=height / 40,
    )
    grain = rng.normal(0, 14, (height, width, 1))
    return Image.fromarray(np.clip(soft + grain, 0, 255).astype(np.uint8))


def draw_motley_lesion(seed, size=(600, 450)):
    """Draw a lesion of several blots, some black, grey-blue or red, as melanomas have."""
    rng = np.random.default_rng(seed)
    blots = [(95, 60, 45), (60, 40, 40), (90, 85, 110), (130, 70, 70), (35, 28, 35)]
    width, height = size
    image = Image.new("RGB", size, tuple(rng.normal((205, 150, 150), 10).astype(int)))
    for i in range(7):
        x, y = size / np.array(2) + rng.normal(0, 0.13, 2) * size
        across, down = rng.uniform(0.08, 0.3, 2) * size
        colour = np.clip(blots[i % 5] + rng.normal(0, 12, 3), 0, 255).astype(int)
        ImageDraw.Draw(image).ellipse((x - across, y - down, x + across, y + down), tuple(colour))
    soft = image.filter(ImageFilter.GaussianBlur(height / 40))
    grain = rng.normal(0, 14, (height, width, 1))
    return Image.fromarray(np.clip(soft + grain, 0, 255).astype(np.uint8))


def draw_for(level):
    """Draw an image that gets this risk level from the committed model."""
    drawn = {"raised": (draw_grainy_lesion, 3), "low": (draw_grainy_lesion, 238)}
    draw, seed = drawn.get(level, (draw_motley_lesion, 297))
    return draw_lesion() if level == "unknown" else draw(seed)


def draw_spots(count, seed):
    """Draw brown spots of various sizes on skin of various tones, as the network sees them.

    Returns:
        uint8 (count, 28, 28, 3).
    """
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:28, :28] - 13.5
    radii = rng.uniform(4, 12, (count, 1, 1, 1))
    shares = 1 / (1 + np.exp(np.hypot(x, y)[None, ..., None] - radii))  # of the spot's colour
    skin = rng.normal((220, 170, 150), 12, (count, 1, 1, 3))
    spot = rng.normal((120, 75, 60), 15, (count, 1, 1, 3))
    noise = rng.normal(0, 4, (count, 28, 28, 3))
    return np.clip(skin + shares * (spot - skin) + noise, 0, 255).astype(np.uint8)


def encode(image, image_format="PNG", **options):
    file = io.BytesIO()
    image.save(file, image_format, **options)
    return file.getvalue()
