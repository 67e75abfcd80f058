"""Metrics of probabilities against true labels, as pure functions under the field's names.

scikit-learn has most of them, but with SciPy it would take the installation over the limit of
scripts/slug_size.py; the tests hold these few lines against it instead.

Every metric takes `weights`, int (N,) or (R, N): how often each image counts, once by default. With
R rows it returns R results, so that the replicates of a bootstrap run the very code that gives the
value itself. Where a metric is not defined, for want of a class, it is NaN.
"""

import numpy as np

from lesion_lens.model.decisions import MALIGNANT, malignant_probability
from lesion_lens.model.statistics import clopper_pearson
from skin_cancer_detection import CODES

MELANOMA = CODES.index("mel")
BINS = 15  # of the confidence, as in Guo et al.


def confusion_matrix(labels, predicted, classes, weights=None):
    """Count the images of each true class (row) that were given each class (column).

    Args:
        labels, predicted: int (N,), 0 to classes - 1.
        classes: their number.

    Returns:
        int64 (classes, classes), or (R, classes, classes).
    """
    cells = np.eye(classes**2, dtype=np.int64)[labels * classes + predicted]
    counts = _weights(labels, weights) @ cells
    return counts.reshape(*counts.shape[:-1], classes, classes)


def roc_counts(is_positive, score, weights=None):
    """Count what each rule `score >= t` calls positive, for every score t from the highest down.

    Args:
        is_positive: bool (N,).
        score: float (N,), higher for positives.

    Returns:
        False positives and true positives, each int64 (T + 1,) or (R, T + 1) for T different
        scores: 0 in the first column, all in the last.
    """
    order = np.argsort(-score)
    score, is_positive = score[order], is_positive[order]
    weights = _weights(score, weights)[..., order]
    last = np.flatnonzero(np.diff(score, append=-np.inf))  # of each run of equal scores
    start = [(0, 0)] * (weights.ndim - 1) + [(1, 0)]
    return tuple(
        np.pad((weights * kind).cumsum(axis=-1)[..., last], start)
        for kind in (~is_positive, is_positive)
    )


def binary_auc(is_positive, score, weights=None):
    """Area under the ROC curve: the chance that a positive scores above a negative, ties half.

    By the trapezoidal rule, which is that chance: Hanley & McNeil, Radiology 143:29–36 (1982).

    Args:
        is_positive: bool (N,), with at least one of each, else NaN.
        score: float (N,), higher for positives.

    Returns:
        float, or float64 (R,).
    """
    false, true = roc_counts(is_positive, score, weights)
    doubled = (np.diff(false) * (true[..., 1:] + true[..., :-1])).sum(axis=-1)
    return ratio(doubled, 2 * false[..., -1] * true[..., -1])


def sensitivity_at_specificity(is_positive, score, specificity, weights=None):
    """Find the largest sensitivity of a rule `score >= t` that is at least so specific.

    The threshold is chosen on the images that it is scored on, so a threshold that is fixed
    beforehand does a little worse.

    Args:
        is_positive: bool (N,), with at least one of each, else NaN.
        score: float (N,), higher for positives.
        specificity: 0–1, the least share of the negatives that the rule must spare.

    Returns:
        float, or float64 (R,).
    """
    false, true = roc_counts(is_positive, score, weights)
    negatives, positives = false[..., -1], true[..., -1]
    allowed = ratio(negatives[..., np.newaxis] - false, negatives[..., np.newaxis]) >= specificity
    found = np.where(allowed, true, 0).max(axis=-1)
    return ratio(found, positives * (negatives > 0))


def confidence_bins(probabilities, bins=BINS):
    """Sort images by the probability of their most probable class into bins of equal width.

    Args:
        probabilities: float (N, 7).
        bins: B, their number; bin b holds confidences above b / B up to (b + 1) / B.

    Returns:
        float64 (N,) confidence, 0–1; int (N,) bin, 0 to B - 1.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    return confidence, np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)


def calibration_error(labels, probabilities, bins=BINS, weights=None):
    """Expected calibration error: how far the confidence is from the accuracy, bin by bin.

    The confidence is the probability of the most probable class. Guo et al., On calibration of
    modern neural networks, ICML 2017, equation 3.

    Args:
        labels: int (N,), 0–6.
        probabilities: float (N, 7).
        bins: of equal width.

    Returns:
        float, or float64 (R,): 0–1. Above 0 even for a perfect model, as a bin's accuracy is
        subject to chance: compare `simulated_calibration_error`.
    """
    confidence, bin_of = confidence_bins(probabilities, bins)
    gaps = (probabilities.argmax(axis=1) == labels) - confidence
    weights = _weights(labels, weights)
    return np.abs(weights @ _one_column_a_bin(gaps, bin_of, bins)).sum(axis=-1) / weights.sum(-1)


def simulated_calibration_error(probabilities, bins=BINS, draws=1000, seed=0):
    """Give the calibration error that a perfectly calibrated model has by chance alone.

    The labels are drawn from the probabilities themselves. Only whether the most probable class is
    the one drawn matters, and it is with a chance of its own probability; compare the consistency
    resampling of Bröcker & Smith, Weather and Forecasting 22:651–661 (2007).

    Args:
        probabilities: float (N, 7).
        bins: as in `calibration_error`.
        draws: how often all N labels are drawn.
        seed: fixes the draws.

    Returns:
        dict: `mean` and `percentile_95` of the draws' errors, floats 0–1.
    """
    confidence, bin_of = confidence_bins(probabilities, bins)
    is_right = np.random.default_rng(seed).random((draws, len(confidence))) < confidence
    columns = _one_column_a_bin(np.ones(len(confidence)), bin_of, bins)
    errors = np.abs((is_right - confidence) @ columns).sum(axis=1) / len(confidence)
    return {"mean": float(errors.mean()), "percentile_95": float(np.percentile(errors, 95))}


def reliability(labels, probabilities, bins=BINS):
    """Compare the accuracy with the confidence, bin by bin: the points of a reliability diagram.

    DeGroot & Fienberg, Journal of the Royal Statistical Society D 32:12–22 (1983).

    Args:
        labels: int (N,), 0–6.
        probabilities: float (N, 7).
        bins: as in `confidence_bins`.

    Returns:
        list of dicts that JSON can hold, one for each bin that holds an image, from the lowest
        confidence: `above` and `up_to` (the bin's edges), `images`, `confidence` (their mean) and
        `accuracy`, {"value", "low", "high"} with the 95 % interval of Clopper & Pearson, as if no
        two images showed one lesion.
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


def brier_score(labels, probabilities, weights=None):
    """Brier's score of all classes: the squared distance of the probabilities from the truth.

    The sum over the classes, the mean over the images. Brier, Monthly Weather Review 78:1–3 (1950).

    Args:
        labels: int (N,), 0–6.
        probabilities: float (N, 7).

    Returns:
        float, or float64 (R,): 0–2, 0 being perfect.
    """
    truth = np.eye(probabilities.shape[1])[labels]
    return weighted_mean(((probabilities - truth) ** 2).sum(axis=1), weights)


def log_loss(labels, probabilities, weights=None):
    """Mean negative natural logarithm of the true class's probability.

    Args:
        labels: int (N,), 0–6.
        probabilities: float (N, 7); one below 1e-7 counts as 1e-7, so that the loss stays finite.

    Returns:
        float, or float64 (R,): 0 or more, 0 being perfect.
    """
    of_truth = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return weighted_mean(-np.log(np.clip(of_truth, 1e-7, 1)), weights)


def malignancy(labels, probabilities):
    """Reduce the seven classes to two: malignant or pre-malignant, and benign.

    Args:
        labels: int (N,), 0–6.
        probabilities: float (N, 7).

    Returns:
        bool (N,) truth; float64 (N,), the summed probability of akiec, bcc and mel.
    """
    return MALIGNANT[labels], malignant_probability(probabilities)


def _weights(rows, weights):
    return np.ones(len(rows), np.int64) if weights is None else weights


def weighted_mean(values, weights):
    weights = _weights(values, weights)
    return weights @ values / weights.sum(axis=-1)


def ratio(part, whole):
    """Divide counts; NaN where the whole is 0."""
    shape = np.broadcast_shapes(np.shape(part), np.shape(whole))
    return np.divide(part, whole, out=np.full(shape, np.nan), where=np.not_equal(whole, 0))[()]


def _one_column_a_bin(values, bin_of, bins):
    """Lay out float (N,) as (N, bins), each value in the column of its bin, 0 elsewhere."""
    return np.eye(bins)[bin_of] * values[:, np.newaxis]
