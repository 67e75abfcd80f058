"""Decides whether an image is dermatoscopic at all, whatever the camera.

A logistic regression on the seventeen numbers of `describe`, with their squares and products,
separates the training images, as other cameras would have taken them, from generated images of
other things. training/other_pictures.py fits it.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from lesion_lens.model.pictures import (
    DESCRIPTION,
    Pixels,
    describe,
    field_of_view,
    flat_share,
)
from lesion_lens.model.stored_arrays import StoredArrays

# Standard deviations. Numbers are clipped to this: otherwise the square of one extreme number
# could decide alone.
FARTHEST = 6
# How far the log odds would fall if a black frame hid the whole image. A frame is a sign of a
# dermatoscope, and the less of an image is visible, the less evidence there is against it.
FRAME_DISCOUNT = 8.0
MOST_FLAT = 0.5  # share of an image; the most in an image of HAM10000 is 0.143
_PAIRS = np.triu_indices(DESCRIPTION)
TERMS = 1 + DESCRIPTION + DESCRIPTION * (DESCRIPTION + 1) // 2


@dataclass(frozen=True, eq=False)
class OtherPictureDetector(StoredArrays):
    """The regression's weights, and the score that few dermatoscopic images exceed.

    Attributes:
        centre: (17,), the mean of each number of `describe`.
        scale: (17,), its standard deviation, above 0.
        weights: (171,), for the constant 1, the standardised numbers, and their squares and
            products.
        threshold: (). An image with a higher score is not dermatoscopic.

    Raises:
        ValueError: an array has the wrong shape or numbers that are not allowed.
    """

    attribute: ClassVar[str] = "other_picture"

    centre: NDArray[np.float64]
    scale: NDArray[np.float64]
    weights: NDArray[np.float64]
    threshold: NDArray[np.float64]

    def __post_init__(self) -> None:
        self.take("centre", (DESCRIPTION,))
        if self.take("scale", (DESCRIPTION,)).min() <= 0:
            raise ValueError("scale: not every number is above 0.")
        self.take("weights", (TERMS,))
        self.take("threshold", ())

    def score(self, pixels: Pixels) -> NDArray[np.float64]:
        """Return the log odds that each image shows something else, lowered by a black frame.

        Args:
            pixels: uint8 or float (N, 28, 28, 3), RGB, 0–255.

        Returns:
            (N,).
        """
        return self._score(pixels, field_of_view(pixels))

    def _score(self, pixels: Pixels, inside: NDArray[np.bool_]) -> NDArray[np.float64]:
        odds = terms(describe(pixels, inside), self.centre, self.scale) @ self.weights
        return odds - FRAME_DISCOUNT * (1 - inside.mean((1, 2)))

    def is_other(self, pixels: Pixels) -> NDArray[np.bool_]:
        """Return for each image whether it is not dermatoscopic.

        That is so if its score is above the threshold, or if more than half of the image is of one
        colour.

        Args:
            pixels: uint8 or float (N, 28, 28, 3), RGB, 0–255.

        Returns:
            (N,).
        """
        inside = field_of_view(pixels)
        is_flat = flat_share(pixels, inside) > MOST_FLAT
        # Negated, so that NaN counts as too high.
        return is_flat | ~(self._score(pixels, inside) <= self.threshold)


def terms(
    described: NDArray[np.float64], centre: NDArray[np.float64], scale: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Compute the terms that the weights apply to.

    Args:
        described: (N, 17), from `describe`.
        centre, scale: (17,).

    Returns:
        (N, 171): 1, the standardised numbers, and their squares and products.
    """
    standard = np.clip((described - centre) / scale, -FARTHEST, FARTHEST)
    rows, columns = _PAIRS
    products = standard[:, rows] * standard[:, columns]
    return np.concatenate([np.ones((len(standard), 1)), standard, products], axis=1)
