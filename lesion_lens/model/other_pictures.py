"""Whether a picture is a dermatoscopic image at all, whatever the camera.

A logistic regression on the seventeen numbers of `describe`, their squares and products tells the
training images, as other cameras would have taken them, from made pictures of other things. It is
fitted by training/other_pictures.py.
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

# Standard deviations; a number that is farther out counts as one that is so far, as a square that
# no picture has shown would otherwise decide alone.
FARTHEST = 6
# What a black frame that hides the whole picture would take off the log odds. It is a sign of a
# dermatoscope, and the less there is to see, the less can be said against a picture.
FRAME_DISCOUNT = 8.0
MOST_FLAT = 0.5  # share of a picture; no image of HAM10000 has more than 0.14
_PAIRS = np.triu_indices(DESCRIPTION)
TERMS = 1 + DESCRIPTION + DESCRIPTION * (DESCRIPTION + 1) // 2


@dataclass(frozen=True, eq=False)
class OtherPictureDetector(StoredArrays):
    """The regression's weights, and the score that few dermatoscopic images exceed.

    Attributes:
        centre: (17,), the mean of each number of `describe`.
        scale: (17,), its standard deviation, above 0.
        weights: (171,), of 1, the standardised numbers, and their squares and products.
        threshold: (), a picture with a higher score is not dermatoscopic.

    Raises:
        ValueError: they are not that.
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
        """Give the log odds that each picture shows something else, less for a black frame.

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
        """Say of each picture whether it is no dermatoscopic image.

        That is where its score is too high, or more than half of it is of one colour.

        Args:
            pixels: uint8 or float (N, 28, 28, 3), RGB, 0–255.

        Returns:
            (N,).
        """
        inside = field_of_view(pixels)
        is_flat = flat_share(pixels, inside) > MOST_FLAT
        # Turned round, so that a score that is not a number counts as too high.
        return is_flat | ~(self._score(pixels, inside) <= self.threshold)


def terms(
    described: NDArray[np.float64], centre: NDArray[np.float64], scale: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Lay out what the weights are of.

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
