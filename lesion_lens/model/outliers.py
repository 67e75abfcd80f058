"""Whether a picture is at all like the images that the network was trained on.

Seven numbers describe a picture's colours and texture. Gaussians are fitted to those of the
training images, a mean for each class and one covariance for all (Lee et al., NeurIPS 2018); a
picture is unlike the images if its Mahalanobis distance from the nearest mean is beyond a threshold
that the calibration lesions set. The network takes no part: `python -m scripts.compare_outliers`
compares this with its features and scores.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from skin_cancer_detection import CODES

FLAGGED_SHARE = 5  # percent of the calibration lesions

# Brightness, red against blue, and green against both: the axes along which Ohta, Kanade & Sakai,
# Comput Graph Image Process 13:222 (1980), found the colours of photographs to vary most
# independently, here of length 1. A row is an axis, its columns are R, G and B.
_COLOUR_AXES = np.array([[1, 1, 1], [1, 0, -1], [-1, 2, -1]], np.float32)
_COLOUR_AXES /= np.linalg.norm(_COLOUR_AXES, axis=1, keepdims=True)
FEATURES = 7

# Added before a logarithm, in grey levels: a contrast below what rounding leaves counts as none.
_LEAST_CONTRAST = 0.5
# Added to each variance; the smallest that HAM10000's features have in any direction is 0.02. So a
# few images, or nearly equal ones, also give a covariance that can be inverted.
_LEAST_VARIANCE = 1e-3

# Images, uint8 or float (N, 28, 28, 3), RGB, 0–255.
Pixels = NDArray[np.uint8] | NDArray[np.floating]


def features(pixels: Pixels) -> NDArray[np.float64]:
    """Describe each image by its colours and texture, the same for all its turns and mirror images.

    Args:
        pixels: uint8 or float (N, 28, 28, 3), RGB, 0–255.

    Returns:
        (N, 7): the means along the three colour axes, in grey levels; the logarithms of
        the standard deviations along them; the logarithm of the steps in brightness from a pixel
        to its neighbours (root mean square). Logarithms, because contrast varies by factors.
    """
    colours = np.asarray(pixels, np.float32) @ _COLOUR_AXES.T
    brightness = colours[..., 0]
    steps = np.sqrt(
        np.square(np.diff(brightness, axis=1)).mean((1, 2))
        + np.square(np.diff(brightness, axis=2)).mean((1, 2))
    )
    contrasts = np.column_stack([colours.std((1, 2)), steps])
    described = [colours.mean((1, 2)), np.log(contrasts + _LEAST_CONTRAST)]
    return np.concatenate(described, axis=1, dtype=np.float64)


@dataclass(frozen=True, eq=False)
class OutlierDetector:
    """The Gaussians of the training images' features and the distance that is too far from them.

    Attributes:
        means: (7, 7), a row for each class, its columns in the order of `features`.
        covariance: (7, 7), of the features within a class; symmetric, positive definite.
        threshold: (), 0 or more; a picture at a greater distance is unlike the images.

    Raises:
        ValueError: they are not that.
    """

    # Of its attributes in a model file, whose names begin so for good: files of before have them.
    attribute: ClassVar[str] = "likeness"

    means: NDArray[np.float64]
    covariance: NDArray[np.float64]
    threshold: NDArray[np.float64]

    def __post_init__(self) -> None:
        shapes = {
            "means": (len(CODES), FEATURES),
            "covariance": (FEATURES, FEATURES),
            "threshold": (),
        }
        for name, shape in shapes.items():
            try:
                values = np.asarray(getattr(self, name), np.float64)
            except (OverflowError, TypeError, ValueError) as error:
                raise ValueError(f"{name}: these are not numbers.") from error
            if values.shape != shape:
                raise ValueError(f"{name}: the shape is {values.shape} instead of {shape}.")
            if not np.isfinite(values).all():
                raise ValueError(f"{name}: not every number is finite.")
            object.__setattr__(self, name, values)
        if not np.allclose(self.covariance, self.covariance.T):
            raise ValueError("covariance: it is not symmetric.")
        if np.linalg.eigvalsh(self.covariance)[0] <= 0:
            raise ValueError("covariance: it is not positive definite.")
        if self.threshold < 0:
            raise ValueError("threshold: it is below 0.")

    def distance(self, pixels: Pixels) -> NDArray[np.float64]:
        """Give each image's Mahalanobis distance from the class whose mean is the nearest.

        Args:
            pixels: uint8 or float (N, 28, 28, 3), RGB, 0–255.

        Returns:
            (N,), 0 or more; about 2 for an ordinary training image.
        """
        return _mahalanobis(features(pixels), self.means, self.covariance)

    def is_outlier(self, pixels: Pixels) -> NDArray[np.bool_]:
        """Say of each image whether it is unlike the training images.

        Args:
            pixels: uint8 or float (N, 28, 28, 3), RGB, 0–255.

        Returns:
            (N,).
        """
        return self.distance(pixels) > self.threshold

    def to_attributes(self) -> dict[str, NDArray[np.float64]]:
        """Give what a model file must keep, 99 numbers in all."""
        return {f"{self.attribute}_{name}": values for name, values in asdict(self).items()}

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, Any]) -> "OutlierDetector":
        """Make again what `to_attributes` gave.

        Args:
            attributes: names to arrays, such as a model file's HDF5 attributes; what else it holds
                is passed over.

        Raises:
            ValueError: a name is missing, or its array is spoiled.
        """
        try:
            return cls(*(attributes[f"{cls.attribute}_{field.name}"] for field in fields(cls)))
        except KeyError as error:
            raise ValueError("An attribute of the likeness is missing.") from error


def fit_outlier_detector(
    training_pixels: NDArray[np.uint8],
    training_labels: NDArray[np.int64],
    calibration_pixels: NDArray[np.uint8],
) -> OutlierDetector:
    """Fit the Gaussians to the training images and the threshold to the calibration lesions.

    Args:
        training_pixels: (N, 28, 28, 3), RGB, 0–255; at least two images.
        training_labels: (N,), 0–6, in the order of `CODES`; every class must be there.
        calibration_pixels: (M, 28, 28, 3), likewise; one image of each lesion.

    Returns:
        A detector; 5 % of the calibration lesions, rounded down, are beyond its threshold.
    """
    described = features(training_pixels)
    means = np.stack([described[training_labels == k].mean(axis=0) for k in range(len(CODES))])
    covariance = np.cov(described - means[training_labels], rowvar=False)
    covariance += _LEAST_VARIANCE * np.eye(FEATURES)
    distances = _mahalanobis(features(calibration_pixels), means, covariance)
    return OutlierDetector(means, covariance, threshold_of(distances))


def threshold_of(distances: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the distance that exactly 5 % (rounded down) of these exceed, or fewer if some tie.

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
    """The distance of each of (N, 7) features from the nearest mean, (N,)."""
    away = (described[:, np.newaxis] - means).reshape(-1, FEATURES)
    squares = (away * np.linalg.solve(covariance, away.T).T).sum(axis=1)
    nearest = squares.reshape(-1, len(means)).min(axis=1)
    return np.sqrt(np.maximum(nearest, 0))  # rounding may leave a 0 a little below
