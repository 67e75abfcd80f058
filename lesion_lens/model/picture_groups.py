"""Decides in which groups of images 'low risk' has proved right.

Images from one camera often resemble each other more than images of one disease do. If a clinic
sees many harmless moles, a low probability of cancer is nearly always right; if it sees suspicious
lesions, it is wrong far more often. So a mixture of Gaussians divides the images into groups by
colour and texture, and 'low risk' is said only in groups where the calibration lesions show that it
is right (training/picture_groups.py).
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from lesion_lens.model.outliers import FEATURES, features, squared_distances
from lesion_lens.model.pictures import Pixels
from lesion_lens.model.stored_arrays import StoredArrays, check_covariance

GROUPS = 4  # `python -m scripts.compare_picture_rules` compares other numbers


@dataclass(frozen=True, eq=False)
class PictureGroups(StoredArrays):
    """A mixture of Gaussians, and the groups in which 'low risk' has proved right.

    Attributes:
        means: (4, 7), a row for each group, with columns in the order of `features`.
        covariances: (4, 7, 7), symmetric, positive definite.
        shares: (4,), of the training images; each above 0, summing to 1.
        proven: (4,), 1 for groups in which 'low risk' has proved right, else 0.

    Raises:
        ValueError: an array has the wrong shape or numbers that are not allowed.
    """

    attribute: ClassVar[str] = "picture_group"

    means: NDArray[np.float64]
    covariances: NDArray[np.float64]
    shares: NDArray[np.float64]
    proven: NDArray[np.float64]

    def __post_init__(self) -> None:
        self.take("means", (GROUPS, FEATURES))
        for covariance in self.take("covariances", (GROUPS, FEATURES, FEATURES)):
            check_covariance("covariances", covariance)
        shares = self.take("shares", (GROUPS,))
        if shares.min() <= 0 or abs(shares.sum() - 1) > 1e-6:
            raise ValueError("shares: they are not above 0, or do not sum to 1.")
        if not np.isin(self.take("proven", (GROUPS,)), (0, 1)).all():
            raise ValueError("proven: not every number is 0 or 1.")

    def group(self, pixels: Pixels) -> NDArray[np.int64]:
        """Return the group that each image most likely belongs to.

        Args:
            pixels: uint8 or float (N, 28, 28, 3), RGB, 0–255.

        Returns:
            (N,), 0–3.
        """
        likelihoods = log_likelihoods(features(pixels), self.means, self.covariances, self.shares)
        return likelihoods.argmax(axis=1)

    def is_proven(self, pixels: Pixels) -> NDArray[np.bool_]:
        """Return for each image, (N,), whether 'low risk' has proved right in its group."""
        return self.proven[self.group(pixels)] == 1


def log_likelihoods(
    described: NDArray[np.float64],
    means: NDArray[np.float64],
    covariances: NDArray[np.float64],
    shares: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the logarithm of each group's share of the density at each row.

    Args:
        described: (N, 7), from `features`.
        means, covariances, shares: as in `PictureGroups`.

    Returns:
        (N, K) for K groups, up to a constant that is the same for all.
    """
    squares = squared_distances(described - means[:, np.newaxis], covariances)
    return np.log(shares) - (squares.T + np.linalg.slogdet(covariances)[1]) / 2
