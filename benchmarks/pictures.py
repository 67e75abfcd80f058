"""The images that the benchmark sends. They are drawn, and always the same."""

import io

import numpy as np
from PIL import Image

SIZES = {"600×450": (600, 450), "4000×3000": (4000, 3000)}  # HAM10000's originals; a phone's
SKIN, LESION = np.float32([222, 172, 158]), np.float32([96, 58, 44])
# With these, files are as large as HAM10000's originals: about 67 KB.
GRAIN, QUALITY = 8, 85


def photograph(size, seed=1):
    """Draw a spot on skin, with a camera's noise.

    Args:
        size: (width, height) in pixels.
        seed: of the noise.

    Returns:
        bytes of a JPEG.
    """
    width, height = size
    across = np.linspace(-1.3, 1.3, width, dtype=np.float32)
    down = np.linspace(-1, 1, height, dtype=np.float32)[:, np.newaxis]
    wave = 0.06 * np.sin(9 * across) * np.cos(7 * down)  # so that the rim is not an ellipse
    lesion = 1 / (1 + np.exp(18 * (np.hypot(across, 1.3 * down) - 0.6 + wave)))
    grain = np.random.default_rng(seed).normal(0, GRAIN, (height, width)).astype(np.float32)
    pixels = SKIN + lesion[..., np.newaxis] * (LESION - SKIN) + grain[..., np.newaxis]
    file = io.BytesIO()
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(file, "JPEG", quality=QUALITY)
    return file.getvalue()
