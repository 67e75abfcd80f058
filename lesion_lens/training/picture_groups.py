"""Fitting the groups of pictures, and finding the groups in which 'low risk' proves right."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lesion_lens.model.outliers import FEATURES, features
from lesion_lens.model.picture_groups import GROUPS, PictureGroups, log_likelihoods
from lesion_lens.model.statistics import clopper_pearson_lower

# 'Low risk' has proved right in a group if, with this confidence, it is wrong for at most this
# share of the lesions that it is said of. Showing that takes at least 114 lesions without an error.
MOST_WRONG = 0.02
CONFIDENCE = 0.90

_LEAST_VARIANCE = 1e-3  # added to each variance, as in lesion_lens/model/outliers.py
_LEAST_SHARE = 1e-3  # of a group; an empty one would have no covariance
_ROUNDS = 500
_SMALLEST_GAIN = 1e-6  # of the mean log likelihood


def fit_mixture(
    training_pixels: NDArray[np.uint8], groups: int = GROUPS
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Fit a mixture of Gaussians to the images' features by expectation–maximisation.

    Dempster, Laird & Rubin, J R Stat Soc B 39:1–38 (1977). It starts from equal parts of the images
    along the direction in which they vary most, so it needs no random numbers.

    Args:
        training_pixels: (N, 28, 28, 3), RGB, 0–255; at least two images.
        groups: their number, K; `PictureGroups` takes 4.

    Returns:
        Means (K, 7), covariances (K, 7, 7) and shares (K,), for `PictureGroups`.
    """
    described = features(training_pixels)
    standard = (described - described.mean(axis=0)) / (described.std(axis=0) + 1e-9)
    direction = np.linalg.svd(standard, full_matrices=False)[2][0]
    ranks = np.argsort(np.argsort(standard @ direction, kind="stable"), kind="stable")
    belongs = np.eye(groups)[ranks * groups // len(ranks)]
    before = -np.inf
    for _ in range(_ROUNDS):
        fitted = _fit_groups(described, belongs)
        likelihoods = log_likelihoods(described, *fitted)
        largest = likelihoods.max(axis=1, keepdims=True)
        densities = np.exp(likelihoods - largest)
        total = densities.sum(axis=1, keepdims=True)
        belongs = densities / total
        gained = float((largest + np.log(total)).mean())
        if abs(gained - before) < _SMALLEST_GAIN:  # abs: the added variance may lower it
            break
        before = gained
    return fitted


def _fit_groups(
    described: NDArray[np.float64], belongs: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Fit the most likely groups to rows (N, 7) that belong to them with shares (N, K)."""
    weights = belongs + _LEAST_SHARE / len(described)
    sums = weights.sum(axis=0)
    means = (weights.T @ described) / sums[:, np.newaxis]
    covariances = np.stack(
        [
            (weights[:, [k]] * (described - means[k])).T @ (described - means[k]) / sums[k]
            for k in range(belongs.shape[1])
        ]
    )
    return means, covariances + _LEAST_VARIANCE * np.eye(FEATURES), sums / sums.sum()


def fit_picture_groups(
    training_pixels: NDArray[np.uint8],
    calibration_pixels: NDArray[np.uint8],
    low_risk: NDArray[np.bool_],
    is_malignant: NDArray[np.bool_],
) -> PictureGroups:
    """Fit the groups to the training images, and test 'low risk' on the calibration lesions.

    Args:
        training_pixels: (N, 28, 28, 3), RGB, 0–255.
        calibration_pixels: (M, 28, 28, 3), likewise; one image of each lesion.
        low_risk: (M,), whether a lesion would be called low risk if every group were proven.
        is_malignant: (M,), malignant or pre-malignant in truth.
    """
    fitted = fit_mixture(training_pixels)
    group = PictureGroups(*fitted, np.ones(GROUPS)).group(calibration_pixels)
    return PictureGroups(*fitted, proven_groups(group, GROUPS, low_risk, is_malignant))


def proven_groups(
    group: NDArray[np.int64],
    groups: int,
    low_risk: NDArray[np.bool_],
    is_malignant: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Decide for each group whether 'low risk' proves right in it.

    Args:
        group: (M,), the group of each calibration lesion, 0 to groups - 1.
        groups: their number.
        low_risk, is_malignant: (M,), as for `fit_picture_groups`.

    Returns:
        (groups,), 1 where it does, else 0.
    """
    proven = []
    for k in range(groups):
        said = low_risk & (group == k)
        right = int((said & ~is_malignant).sum())
        least = clopper_pearson_lower(right, int(said.sum()), CONFIDENCE)
        proven.append(float(least >= 1 - MOST_WRONG))
    return np.array(proven)
