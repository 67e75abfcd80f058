"""Drawn moles, and images as the files that a browser would send.

`benchmarks.pictures.photograph` draws one as a camera would take it.
"""

import io

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SKIN, BROWN = (226, 178, 158), (104, 62, 42)


def draw_lesion(size=(600, 450), ellipse=None, colour=BROWN, skin=SKIN, blur=0):
    """A drawn mole on skin.

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
    """A drawn mole of any size and colour, with a soft edge and grain, more like a photograph."""
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


# Seeds of lesions, and the verdicts of the committed model on them.
VERDICTS_OF = {3: "low risk", 0: "unlike", 150: "inconclusive"}


def encode(image, image_format="PNG", **options):
    file = io.BytesIO()
    image.save(file, image_format, **options)
    return file.getvalue()
