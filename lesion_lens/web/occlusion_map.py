"""The occlusion map on a result: what is drawn over the image, and its description in words."""

import numpy as np
from numpy.typing import NDArray

# How the map is drawn. Chosen by eye; no decision depends on it.
NOTICEABLE_FALL = 0.02  # of the probability; a patch is shown if covering it costs at least this
STRONGEST = 0.6  # opacity of the strongest patch, so that the image stays visible
# The ninths of an image.
REGIONS = (
    ("upper left", "top", "upper right"),
    ("left", "centre", "right"),
    ("lower left", "bottom", "lower right"),
)


def visible_patches(occlusion: NDArray[np.float32]) -> list[tuple[int, int, float]]:
    """Choose the patches of an occlusion map to draw over the image.

    Args:
        occlusion: (7, 7), how much the probability falls when each patch is covered.

    Returns:
        (row, column, opacity), for falls of `NOTICEABLE_FALL` or more; the largest has the opacity
        `STRONGEST`, and the others are in proportion.
    """
    return [
        (row, column, STRONGEST * float(occlusion[row, column] / occlusion.max()))
        for row, column in np.argwhere(occlusion >= NOTICEABLE_FALL).tolist()
    ]


def strongest_region(occlusion: NDArray[np.float32]) -> str | None:
    """Describe where covering the image matters most: the text alternative of the map.

    Args:
        occlusion: (7, 7).

    Returns:
        The ninth of the image with the strongest patch; None if no patch is noticeable.
    """
    if occlusion.max() < NOTICEABLE_FALL:
        return None
    row, column = np.unravel_index(occlusion.argmax(), occlusion.shape)
    return REGIONS[(row + 1) // 3][(column + 1) // 3]  # of seven: two, three, two
