"""In which kinds of pictures 'low risk' has proved right.

Images of one camera resemble each other more than those of one disease. Where a clinic looks at
many harmless moles, a low probability of cancer is nearly always right; where it looks at what
worried somebody, it is wrong far more often. So the pictures are divided into groups by their
colours and texture, by a mixture of Gaussians, and 'low risk' is said only in those groups in which
the calibration lesions show that it is right (training/picture_groups.py).
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
    """A mixture of Gaussians, and in which of its groups 'low risk' has proved right.

    Attributes:
        means: (4, 7), a row for each group, its columns in the order of `features`.
        covariances: (4, 7, 7), symmetric, positive definite.
        shares: (4,), of the training images, each above 0, summing to 1.
        proven: (4,), 1 where 'low risk' has proved right, else 0.

    Raises:
        ValueError: they are not that.
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
        """Give the group that each picture most likely belongs to.

        Args:
            pixels: uint8 or float (N, 28, 28, 3), RGB, 0–255.

        Returns:
            (N,), 0–3.
        """
        likelihoods = log_likelihoods(features(pixels), self.means, self.covariances, self.shares)
        return likelihoods.argmax(axis=1)

    def is_proven(self, pixels: Pixels) -> NDArray[np.bool_]:
        """Say of each picture whether 'low risk' has proved right in its group; (N,)."""
        return self.proven[self.group(pixels)] == 1


def log_likelihoods(
    described: NDArray[np.float64],
    means: NDArray[np.float64],
    covariances: NDArray[np.float64],
    shares: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Give the logarithm of each group's share of the density at each row.

    Args:
        described: (N, 7), from `features`.
        means, covariances, shares: as in `PictureGroups`.

    Returns:
        (N, K) for K groups, but for a constant that all have.
    """
    squares = squared_distances(described - means[:, np.newaxis], covariances)
    return np.log(shares) - (squares.T + np.linalg.slogdet(covariances)[1]) / 2
