"""Metrics of probabilities against true labels, as pure functions with the field's names.

scikit-learn has most of them, but with SciPy it would exceed the size limit in
scripts/slug_size.py. Instead, the tests compare these functions with it.

Most metrics take `weights`, (N,) or (R, N): how often each image counts, by default once. With R
rows they return R results, so that bootstrap replicates run the same code as the value itself. A
metric that is undefined because a class is missing is NaN.
"""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lesion_lens.model.decisions import MALIGNANT, malignant_probability
from lesion_lens.model.statistics import clopper_pearson
from skin_cancer_detection import CODES

MELANOMA = CODES.index("mel")
BINS = 15  # of the confidence, as in Guo et al. (ICML 2017)

# A metric's value, or (R,) values for R rows of weights.
Values: TypeAlias = np.float64 | NDArray[np.float64]
Weights: TypeAlias = NDArray[np.int64] | None


def confusion_matrix(
    labels: NDArray[np.int64], predicted: NDArray[np.int64], classes: int, weights: Weights = None
) -> NDArray[np.int64]:
    """Count the images by true class (row) and predicted class (column).

    Args:
        labels, predicted: (N,), 0 to classes - 1.
        classes: their number.

    Returns:
        (classes, classes), or (R, classes, classes).
    """
    cells = np.eye(classes**2, dtype=np.int64)[labels * classes + predicted]
    counts = _weights(labels, weights) @ cells
    return counts.reshape(*counts.shape[:-1], classes, classes)


def roc_counts(
    is_positive: NDArray[np.bool_], score: NDArray[np.floating], weights: Weights = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count what the rule `score >= t` calls positive, for every score t from the highest down.

    Args:
        is_positive: (N,).
        score: (N,), higher for positives.

    Returns:
        False positives and true positives, each (T + 1,) or (R, T + 1) for T different scores:
        0 in the first column, all in the last.
    """
    order = np.argsort(-score)
    score, is_positive = score[order], is_positive[order]
    weights = _weights(score, weights)[..., order]
    last = np.flatnonzero(np.diff(score, append=-np.inf))  # of each run of equal scores
    start = [(0, 0)] * (weights.ndim - 1) + [(1, 0)]
    false, true = (
        np.pad((weights * kind).cumsum(axis=-1)[..., last], start)
        for kind in (~is_positive, is_positive)
    )
    return false, true


def binary_auc(
    is_positive: NDArray[np.bool_], score: NDArray[np.floating], weights: Weights = None
) -> Values:
    """Area under the ROC curve: the chance that a positive scores above a negative, ties half.

    The trapezoidal rule gives exactly that chance: Hanley & McNeil, Radiology 143:29–36 (1982).

    Args:
        is_positive: (N,); without both a positive and a negative, the result is NaN.
        score: (N,), higher for positives.
    """
    false, true = roc_counts(is_positive, score, weights)
    doubled = (np.diff(false) * (true[..., 1:] + true[..., :-1])).sum(axis=-1)
    return ratio(doubled, 2 * false[..., -1] * true[..., -1])


def sensitivity_at_specificity(
    is_positive: NDArray[np.bool_],
    score: NDArray[np.floating],
    specificity: float,
    weights: Weights = None,
) -> Values:
    """Find the largest sensitivity of a rule `score >= t` with at least this specificity.

    The threshold is chosen on the images that it is scored on, so one fixed beforehand does a
    little worse.

    Args:
        is_positive: (N,); without both a positive and a negative, the result is NaN.
        score: (N,), higher for positives.
        specificity: 0–1, the least share of the negatives that the rule must not call positive.
    """
    false, true = roc_counts(is_positive, score, weights)
    negatives, positives = false[..., -1], true[..., -1]
    allowed = ratio(negatives[..., np.newaxis] - false, negatives[..., np.newaxis]) >= specificity
    found = np.where(allowed, true, 0).max(axis=-1)
    return ratio(found, positives * (negatives > 0))


def confidence_bins(
    probabilities: NDArray[np.floating], bins: int = BINS
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Sort images into bins of equal width by the probability of their most probable class.

    Args:
        probabilities: (N, 7).
        bins: their number, B; bin b holds confidences above b / B and up to (b + 1) / B.

    Returns:
        The confidence (N,), 0–1, and the bin (N,), 0 to B - 1.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    return confidence, np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)


def calibration_error(
    labels: NDArray[np.int64],
    probabilities: NDArray[np.floating],
    bins: int = BINS,
    weights: Weights = None,
) -> Values:
    """Expected calibration error: how far the confidence is from the accuracy, bin by bin.

    The confidence is the probability of the most probable class. Guo et al., On calibration of
    modern neural networks, ICML 2017, equation 3.

    Args:
        labels: (N,), 0–6.
        probabilities: (N, 7).
        bins: of equal width.

    Returns:
        0–1. Above 0 even for a perfectly calibrated model, because a bin's accuracy varies by
        chance; compare `simulated_calibration_error`.
    """
    confidence, bin_of = confidence_bins(probabilities, bins)
    gaps = (probabilities.argmax(axis=1) == labels) - confidence
    counts = _weights(labels, weights)
    return np.abs(counts @ _one_column_a_bin(gaps, bin_of, bins)).sum(axis=-1) / counts.sum(-1)


def simulated_calibration_error(
    probabilities: NDArray[np.floating], bins: int = BINS, draws: int = 1000, seed: int = 0
) -> dict[str, float]:
    """Simulate the calibration error that a perfectly calibrated model has by chance alone.

    The labels are drawn from the probabilities themselves. All that matters is whether the most
    probable class is drawn, which happens with its own probability. Compare the consistency
    resampling of Bröcker & Smith, Weather and Forecasting 22:651–661 (2007).

    Args:
        probabilities: (N, 7).
        bins: as in `calibration_error`.
        draws: how often all N labels are drawn.
        seed: fixes the draws.

    Returns:
        `mean` and `percentile_95` of the draws' errors, 0–1.
    """
    confidence, bin_of = confidence_bins(probabilities, bins)
    is_right = np.random.default_rng(seed).random((draws, len(confidence))) < confidence
    columns = _one_column_a_bin(np.ones(len(confidence)), bin_of, bins)
    errors = np.abs((is_right - confidence) @ columns).sum(axis=1) / len(confidence)
    return {"mean": float(errors.mean()), "percentile_95": float(np.percentile(errors, 95))}


def reliability(
    labels: NDArray[np.int64], probabilities: NDArray[np.floating], bins: int = BINS
) -> list[dict[str, Any]]:
    """Compare the accuracy with the confidence, bin by bin: the points of a reliability diagram.

    DeGroot & Fienberg, Journal of the Royal Statistical Society D 32:12–22 (1983).

    Args:
        labels: (N,), 0–6.
        probabilities: (N, 7).
        bins: as in `confidence_bins`.

    Returns:
        A JSON-serialisable dict for each bin that has an image, from the lowest confidence up:
        `above` and `up_to` (the bin's edges), `images`, `confidence` (their mean) and `accuracy`,
        an estimate {"value", "low", "high"} with the 95 % interval of Clopper & Pearson, as if no
        two images showed the same lesion.
    """
    confidence, bin_of = confidence_bins(probabilities, bins)
    is_right = probabilities.argmax(axis=1) == labels
    points = []
    for held in np.unique(bin_of):
        rows = bin_of == held
        low, high = clopper_pearson(int(is_right[rows].sum()), int(rows.sum()))
        points.append(
            {
                "above": float(held / bins),
                "up_to": float((held + 1) / bins),
                "images": int(rows.sum()),
                "confidence": float(confidence[rows].mean()),
                "accuracy": {"value": float(is_right[rows].mean()), "low": low, "high": high},
            }
        )
    return points


def brier_score(
    labels: NDArray[np.int64], probabilities: NDArray[np.floating], weights: Weights = None
) -> Values:
    """Brier score over all classes: the squared distance of the probabilities from the truth.

    Summed over classes, averaged over images. Brier, Monthly Weather Review 78:1–3 (1950).

    Args:
        labels: (N,), 0–6.
        probabilities: (N, 7).

    Returns:
        0–2, 0 being perfect.
    """
    truth = np.eye(probabilities.shape[1])[labels]
    return weighted_mean(((probabilities - truth) ** 2).sum(axis=1), weights)


def log_loss(
    labels: NDArray[np.int64], probabilities: NDArray[np.floating], weights: Weights = None
) -> Values:
    """Mean negative natural logarithm of the true class's probability.

    Args:
        labels: (N,), 0–6.
        probabilities: (N, 7); one below 1e-7 counts as 1e-7, so that the loss stays finite.

    Returns:
        0 or more, 0 being perfect.
    """
    of_truth = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return weighted_mean(-np.log(np.clip(of_truth, 1e-7, 1)), weights)


def malignancy(
    labels: NDArray[np.int64], probabilities: NDArray[np.floating]
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Reduce the seven classes to two: malignant or pre-malignant, and benign.

    Args:
        labels: (N,), 0–6.
        probabilities: (N, 7).

    Returns:
        The truth (N,), and the summed probability of akiec, bcc and mel (N,), 0–1.
    """
    return MALIGNANT[labels], malignant_probability(probabilities)


def weighted_mean(values: NDArray[Any], weights: Weights) -> Values:
    """Average float or bool (N,), counting each value as often as its weight says."""
    counts = _weights(values, weights)
    return counts @ values / counts.sum(axis=-1)


def ratio(part: ArrayLike, whole: ArrayLike) -> Values:
    """Divide counts of any shape; NaN if the whole is 0."""
    shape = np.broadcast_shapes(np.shape(part), np.shape(whole))
    return np.divide(part, whole, out=np.full(shape, np.nan), where=np.not_equal(whole, 0))[()]


def _weights(rows: NDArray[Any], weights: Weights) -> NDArray[np.int64]:
    return np.ones(len(rows), np.int64) if weights is None else weights


def _one_column_a_bin(
    values: NDArray[np.float64], bin_of: NDArray[np.int64], bins: int
) -> NDArray[np.float64]:
    """Lay out (N,) as (N, bins), each value in the column of its bin, 0 elsewhere."""
    return np.eye(bins)[bin_of] * values[:, np.newaxis]
