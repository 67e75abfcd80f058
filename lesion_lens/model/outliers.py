"""Decides whether an image resembles the network's training images, and if not, why.

Seven numbers describe an image's colours and texture. Gaussians are fitted to those of the training
images, with a mean for each class and one shared covariance (Lee et al., NeurIPS 2018). An image is
unfamiliar if its Mahalanobis distance from the nearest mean is above a threshold that the
calibration lesions set. This does not use the network: `python -m scripts.compare_outliers`
compares it with methods that use the network's features and scores.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from lesion_lens.model.pictures import (
    COLOUR_AXES,
    LEAST_CONTRAST,
    Pixels,
    field_of_view,
    fill_frame,
    flat_share,
)
from lesion_lens.model.stored_arrays import StoredArrays, check_covariance
from skin_cancer_detection import CODES

FLAGGED_SHARE = 5  # percent of the calibration lesions
FEATURES = 7

# Added to each variance, so that even a few images, or nearly equal ones, give a covariance that
# can be inverted. The smallest variance of HAM10000's features in any direction is about 0.02.
_LEAST_VARIANCE = 1e-3

# What sets an image apart, in words that a person can act on.
REASONS = {
    "frame": "it has black corners, black bars or a black frame",
    "one colour": "large parts of it are a single colour",
    "dark": "it is too dark",
    "bright": "it is too bright",
    "colour cast": "its colours are tinted, as from a different light or camera",
    "little contrast": "it has little contrast",
    "strong contrast": "it has very dark parts and very bright ones, as with glare or shadow",
    "pale": "its colours are nearly all alike",
    "colourful": "its colours differ greatly, as with ink, a ruler or a white edge",
    "blurred": "it is blurred",
    "grain": "it has many fine lines or is grainy, as with hair, a ruler or noise",
}
# The columns of `features` that are left out together, and the reasons for too little and too much.
COLUMN_GROUPS = {
    (0,): ("dark", "bright"),
    (1, 2): ("colour cast", "colour cast"),
    (3,): ("little contrast", "strong contrast"),
    (4, 5): ("pale", "colourful"),
    (6,): ("blurred", "grain"),
}
SMALL_FRAME = 0.03  # share of an image
# In images of HAM10000, at most 14.3 in 100 pixels are like their neighbours.
LARGE_PART = 0.15


def features(pixels: Pixels) -> NDArray[np.float64]:
    """Describe each image by its colours and texture. Turning or mirroring does not change this.

    Args:
        pixels: uint8 or float (N, 28, 28, 3), RGB, 0–255.

    Returns:
        (N, 7): the means along the three colour axes, in grey levels; the logarithms of the
        standard deviations along them; and the logarithm of the step in brightness between
        neighbouring pixels (root mean square). Logarithms, because contrast varies by factors.
    """
    colours = np.asarray(pixels, np.float32) @ COLOUR_AXES.T
    brightness = colours[..., 0]
    down = np.square(brightness[:, 1:] - brightness[:, :-1]).mean((1, 2))
    across = np.square(brightness[:, :, 1:] - brightness[:, :, :-1]).mean((1, 2))
    means = colours.mean((1, 2), keepdims=True)
    contrasts = np.column_stack([colours.std((1, 2), mean=means), np.sqrt(down + across)])
    described = [means[:, 0, 0], np.log(contrasts + LEAST_CONTRAST)]
    return np.concatenate(described, axis=1, dtype=np.float64)


@dataclass(frozen=True, eq=False)
class OutlierDetector(StoredArrays):
    """The Gaussians of the training images' features, and the distance that is too far from them.

    Attributes:
        means: (7, 7), a row for each class, with columns in the order of `features`.
        covariance: (7, 7), of the features within a class; symmetric, positive definite.
        threshold: (), 0 or more. An image at a greater distance is unfamiliar.

    Raises:
        ValueError: an array has another shape or numbers that are not allowed.
    """

    # The prefix of its attributes in model files. Do not change it: older files use it.
    attribute: ClassVar[str] = "likeness"

    means: NDArray[np.float64]
    covariance: NDArray[np.float64]
    threshold: NDArray[np.float64]

    def __post_init__(self) -> None:
        self.take("means", (len(CODES), FEATURES))
        check_covariance("covariance", self.take("covariance", (FEATURES, FEATURES)))
        if self.take("threshold", ()) < 0:
            raise ValueError("threshold: it is below 0.")

    def distance(self, pixels: Pixels) -> NDArray[np.float64]:
        """Return each image's Mahalanobis distance from the nearest class mean.

        Args:
            pixels: uint8 or float (N, 28, 28, 3), RGB, 0–255.

        Returns:
            (N,), 0 or more; about 2 for an ordinary training image.
        """
        return _mahalanobis(features(pixels), self.means, self.covariance)

    def is_outlier(self, pixels: Pixels) -> NDArray[np.bool_]:
        """Return for each image whether it is unfamiliar.

        Args:
            pixels: uint8 or float (N, 28, 28, 3), RGB, 0–255.

        Returns:
            (N,).
        """
        return self.is_too_far(self.distance(pixels))

    def is_too_far(self, distances: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return for each distance, (N,) from `distance`, whether the image is unfamiliar."""
        return ~(distances <= self.threshold)  # negated, so that NaN counts as too far

    def reason(self, pixels: Pixels) -> str:
        """Return what sets one image apart most.

        A black frame comes first, if the image would be familiar without it or if removing the
        frame reduces the distance most; then large parts of one colour. Otherwise it is the feature
        without which the distance falls most.

        Args:
            pixels: uint8 or float (28, 28, 3), RGB, 0–255.

        Returns:
            A key of `REASONS`.
        """
        one = np.asarray(pixels, np.float64)[np.newaxis]
        inside = field_of_view(one)
        described = features(one)
        left = {columns: self._without(described, columns) for columns in COLUMN_GROUPS}
        columns = min(left, key=lambda columns: left[columns])
        if 1 - inside.mean() > SMALL_FRAME:
            filled = self.distance(fill_frame(one, inside))[0]
            if filled <= self.threshold or filled < left[columns]:
                return "frame"
        if flat_share(one, inside)[0] > LARGE_PART:
            return "one colour"
        away = described - self.means
        nearest = squared_distances(away, self.covariance).argmin()
        # Whether these features are too large or too small, given the others.
        given_others = np.linalg.solve(self.covariance, away[nearest])
        is_too_much = given_others[list(columns)].sum() > 0
        return COLUMN_GROUPS[columns][int(is_too_much)]

    def _without(self, described: NDArray[np.float64], columns: tuple[int, ...]) -> float:
        """The distance of (1, 7) features without some columns."""
        kept = np.setdiff1d(np.arange(FEATURES), columns)
        covariance = self.covariance[np.ix_(kept, kept)]
        return float(_mahalanobis(described[:, kept], self.means[:, kept], covariance)[0])


def fit_outlier_detector(
    training_pixels: NDArray[np.uint8],
    training_labels: NDArray[np.int64],
    calibration_pixels: NDArray[np.uint8],
) -> OutlierDetector:
    """Fit the Gaussians to the training images and the threshold to the calibration lesions.

    Args:
        training_pixels: (N, 28, 28, 3), RGB, 0–255; at least two images.
        training_labels: (N,), 0–6, in the order of `CODES`; every class must occur.
        calibration_pixels: (M, 28, 28, 3), RGB, 0–255; one image of each lesion.

    Returns:
        A detector; 5 % of the calibration lesions, rounded down, are beyond its threshold, or fewer
        if some distances are equal.
    """
    described = features(training_pixels)
    means = np.stack([described[training_labels == k].mean(axis=0) for k in range(len(CODES))])
    covariance = np.cov(described - means[training_labels], rowvar=False)
    covariance += _LEAST_VARIANCE * np.eye(FEATURES)
    distances = _mahalanobis(features(calibration_pixels), means, covariance)
    return OutlierDetector(means, covariance, threshold_of(distances))


def threshold_of(distances: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the distance that 5 % (rounded down) of these exceed, or fewer if some are equal.

    Args:
        distances: (N,), one for each calibration lesion.

    Returns:
        (), one of them.
    """
    flagged = FLAGGED_SHARE * len(distances) // 100
    return np.sort(distances)[len(distances) - 1 - flagged]


def _mahalanobis(
    described: NDArray[np.float64],
    means: NDArray[np.float64],
    covariance: NDArray[np.float64],
) -> NDArray[np.float64]:
    """The distance of each of (N, F) features from the nearest of (K, F) means, (N,)."""
    away = (described[:, np.newaxis] - means).reshape(-1, means.shape[1])
    nearest = squared_distances(away, covariance).reshape(-1, len(means)).min(axis=1)
    return np.sqrt(np.maximum(nearest, 0))  # rounding may make a 0 slightly negative


def squared_distances(
    away: NDArray[np.float64], covariance: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the squared Mahalanobis distances, (…, N), of differences from means.

    Args:
        away: the differences, (…, N, F).
        covariance: (…, F, F).
    """
    solved = np.linalg.solve(covariance, away.swapaxes(-1, -2)).swapaxes(-1, -2)
    return (away * solved).sum(axis=-1)
