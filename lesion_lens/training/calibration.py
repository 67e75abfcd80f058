"""Calibrating a network's outputs, on the calibration part alone.

First the probabilities of single views are calibrated, and the calibration is folded into the
network (`fit_bias_and_temperature`, `fold_calibration`). Then the decision facts are fitted to the
means of eight views (`fit_decision_facts`). lesion_lens/model/decisions.py applies them, and
`decision_scores` in evaluation.py scores them on other lesions. Uses NumPy for the statistics
because SciPy would exceed the deployment's size limit; the tests compare them with SciPy.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lesion_lens.model.decisions import (
    MALIGNANT,
    DecisionFacts,
    malignant_probability,
    soften,
)
from lesion_lens.model.statistics import clopper_pearson_lower
from lesion_lens.training.errors import CalibrationError
from skin_cancer_detection import CODES

if TYPE_CHECKING:
    import keras

# --- Temperature and bias --------------------------------------------------------------------

_TOLERANCE = 1e-10  # of the gradient; for a bias: the mean probability minus the class's share
_MAX_STEPS = 200
# If the network is almost certain, the loss is flat, and nothing bounds Newton's step.
_LEAST_CURVATURE = 1e-9


def fit_bias_and_temperature(
    probabilities: NDArray[np.floating], labels: NDArray[np.int64]
) -> tuple[float, NDArray[np.float64]]:
    """Fit softmax(log p / T + b) to labels by regularised log loss.

    This is temperature scaling with a bias for each class (Guo et al., ICML 2017; vector scaling
    with one scale). The loss is convex in (1/T, b). Only the temperature is regularised: then, at
    the optimum, the mean probability of a class equals its share of the labels. A penalty on b
    would spoil that, and b needs none: every class has images, so no bias diverges. Each bias fits
    one number to one count, so it is about as uncertain as that count. For 17 dermatofibromas, the
    standard error of the share, and so of their mean probability, is about a quarter of its value.

    Args:
        probabilities: (N, 7), of single views.
        labels: (N,), 0–6; every class must have an image.

    Returns:
        T, above 0, and b (7,), summing to 0 (adding a constant to all of b changes nothing). The
        calibrated mean of each class equals its share to 1e-8.

    Raises:
        CalibrationError: a class is missing, or probabilities are not finite.
    """
    missing = sorted(set(range(len(CODES))) - set(np.asarray(labels).tolist()))
    if missing:
        names = ", ".join(CODES[label] for label in missing)
        raise CalibrationError(f"The calibration part has no images of {names}: add some.")
    log_probabilities = _log(probabilities)
    shares = np.bincount(labels, minlength=len(CODES)) / len(labels)
    bias = np.log(shares) - np.log(np.exp(log_probabilities).mean(axis=0))  # a close start
    return _fit(log_probabilities, labels, bias - bias.mean(), fit_bias=True)


def fit_eight_view_temperature(
    mean_probabilities: NDArray[np.floating], labels: NDArray[np.int64]
) -> float:
    """Fit the temperature that corrects the mean of eight calibrated views, with the same loss.

    Args:
        mean_probabilities: (N, 7).
        labels: (N,), 0–6.

    Returns:
        A temperature above 0; below 1 if the mean is under-confident.

    Raises:
        CalibrationError: probabilities are not finite.
    """
    return _fit(_log(mean_probabilities), labels, np.zeros(len(CODES)), fit_bias=False)[0]


def _log(probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    probabilities = np.asarray(probabilities, np.float64)
    if not np.isfinite(probabilities).all():
        raise CalibrationError("Some probabilities are not finite: the training has diverged.")
    # A float32 softmax gives 0 if the logits differ by more than 103.
    return np.log(np.maximum(probabilities, np.finfo(np.float32).tiny))


def _fit(
    log_probabilities: NDArray[np.float64],
    labels: NDArray[np.int64],
    bias: NDArray[np.float64],
    fit_bias: bool,
) -> tuple[float, NDArray[np.float64]]:
    """Minimise `_loss` by Newton's method with a line search, from T = 1 and the given bias."""
    free = 1 + len(bias) if fit_bias else 1
    parameters = np.concatenate([[1.0], bias])  # 1/T, b
    loss, gradient, hessian = _loss(parameters, log_probabilities, labels)
    for _ in range(_MAX_STEPS):
        if np.abs(gradient[:free]).max() < _TOLERANCE:
            bias = parameters[1:]
            return float(1 / parameters[0]), bias - bias.mean()
        step = np.zeros_like(parameters)
        curvature = hessian[:free, :free] + _LEAST_CURVATURE * np.eye(free)
        step[:free] = np.linalg.solve(curvature, -gradient[:free])
        slope = gradient @ step
        size = 1.0
        while True:
            trial = parameters + size * step
            # 1e-13: near the optimum the gain is less than the rounding of the loss.
            if trial[0] > 0:
                values = _loss(trial, log_probabilities, labels)
                if values[0] <= loss + 1e-4 * size * slope + 1e-13 * (1 + abs(loss)):
                    break
            size /= 2
        parameters = trial
        loss, gradient, hessian = values
    raise CalibrationError("The calibration did not converge: train the network again.")


def _loss(
    parameters: NDArray[np.float64],
    log_probabilities: NDArray[np.float64],
    labels: NDArray[np.int64],
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """The mean log loss with its penalty, and its first two derivatives in (1/T, b).

    The penalty on a = 1/T is (a − 1 − log a) / N, the weight of about one image: 0 at a = 1,
    convex, and infinite at a = 0 and a = ∞. So there is one optimum, with a positive temperature,
    even if the network separates the images perfectly or knows nothing. With 1,500 images and a
    temperature of about 0.5 to 2, the penalty changes the temperature by less than 1 %.
    """
    a, bias = parameters[0], parameters[1:]
    count = len(labels)
    logits = a * log_probabilities + bias
    logits -= logits.max(axis=1, keepdims=True)
    exponentials = np.exp(logits)
    sums = exponentials.sum(axis=1, keepdims=True)
    fitted = exponentials / sums
    rows = np.arange(count)
    log_loss = (np.log(sums[:, 0]) - logits[rows, labels]).mean()

    residuals = fitted.copy()
    residuals[rows, labels] -= 1
    expected = (fitted * log_probabilities).sum(axis=1, keepdims=True)
    centred = fitted * (log_probabilities - expected)
    gradient = np.concatenate(
        [[(residuals * log_probabilities).sum() / count], residuals.mean(axis=0)]
    )
    hessian = np.empty((len(parameters), len(parameters)))
    hessian[0, 0] = (centred * log_probabilities).sum() / count
    hessian[0, 1:] = hessian[1:, 0] = centred.mean(axis=0)
    hessian[1:, 1:] = np.diag(fitted.mean(axis=0)) - fitted.T @ fitted / count
    # Adding a constant to all biases changes nothing, so the matrix is singular; this makes it
    # invertible. The gradient has no component in that direction, so neither has the step.
    hessian[1:, 1:] += 1 / len(bias)

    gradient[0] += (1 - 1 / a) / count
    hessian[0, 0] += 1 / (a * a * count)
    return log_loss + (a - 1 - math.log(a)) / count, gradient, hessian


def fold_calibration(model: keras.Model, temperature: float, bias: NDArray[np.float64]) -> None:
    """Fold a calibration into the last dense layer, so that the plain model is calibrated.

    Exact except for rounding: log p equals the logits minus a constant, which softmax ignores.

    Args:
        model: a `build_model()`, whose last layer is a softmax; changed in place.
        temperature, bias: from `fit_bias_and_temperature` on this model's probabilities.
    """
    kernel, offset = model.layers[-1].get_weights()
    model.layers[-1].set_weights([kernel / temperature, offset / temperature + bias])


# --- One score for each lesion ---------------------------------------------------------------


def one_image_per_lesion(
    lesion_ids: Sequence[str] | NDArray[np.str_] | None, pixels: NDArray[np.uint8]
) -> NDArray[np.bool_]:
    """Choose one image of each lesion.

    The guarantees of the low-risk threshold and of the conformal sets hold for exchangeable draws.
    Images of one lesion are not exchangeable: they are near copies of each other. The image whose
    pixels have the smallest SHA-256 is chosen, so the choice depends neither on the order of the
    rows nor on the model. Images with the same pixels count as one image.

    Args:
        lesion_ids: (N,), or None if the lesions are not known: then every row is chosen.
        pixels: (N, 28, 28, 3), RGB, 0–255.

    Returns:
        (N,), True where the image is chosen.
    """
    if lesion_ids is None:
        return np.ones(len(pixels), bool)
    smallest: dict[str, tuple[bytes, int]] = {}  # lesion -> its smallest hash and that row
    for row, lesion_id in enumerate(lesion_ids):
        key = hashlib.sha256(np.ascontiguousarray(pixels[row]).tobytes()).digest()
        if lesion_id not in smallest or key < smallest[lesion_id][0]:
            smallest[lesion_id] = key, row
    chosen = np.zeros(len(pixels), bool)
    chosen[[row for _, row in smallest.values()]] = True
    return chosen


# --- The decision facts ----------------------------------------------------------------------


def low_risk_threshold(
    probability: NDArray[np.floating],
    is_malignant: NDArray[np.bool_],
    least: float = 0.95,
    confidence: float = 0.90,
) -> float | None:
    """Find the highest threshold below which 'low risk' misses few enough malignant lesions.

    A malignant lesion is found if its probability is at least the threshold. The threshold is the
    probability of one of the malignant lesions: between two of these the sensitivity stays the
    same, and the higher end calls more benign lesions low risk.

    Args:
        probability: (N,), `malignant_probability` of one image of each lesion.
        is_malignant: (N,), malignant or pre-malignant in truth.
        least: the smallest lower bound of the sensitivity that is accepted.
        confidence: of that bound, one-sided, by Clopper & Pearson.

    Returns:
        The threshold, 0–1; None if there are too few malignant lesions for that bound even when
        all of them are found (fewer than 45, with these defaults).
    """
    malignant = np.sort(np.asarray(probability)[np.asarray(is_malignant)])
    count = len(malignant)
    threshold = None
    for missed in range(count):
        if clopper_pearson_lower(count - missed, count, confidence) < least:
            break
        threshold = float(malignant[missed])
    return threshold


def conformal_thresholds(
    probabilities: NDArray[np.floating],
    labels: NDArray[np.int64],
    level: float = 0.90,
    least: int = 19,
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Fit class-conditional (Mondrian) split-conformal sets.

    The threshold of a class is the k-th smallest of the probabilities that its own n lesions have
    for it, with k = ⌊(n + 1)(1 − level)⌋; it is 0 if k is 0. A class belongs to the set of an image
    if its probability is at least the threshold. For a new lesion of any class, the set then holds
    the true class with a probability of at least `level`. Vovk, ACML 2012; Sadinle, Lei &
    Wasserman, JASA 114:223–234 (2019).

    Args:
        probabilities: (N, 7), of one image of each lesion.
        labels: (N,), 0–6.
        level: the coverage, above 0 and below 1.
        least: a class with fewer lesions takes the pooled threshold, from the probabilities that
            all lesions have for their own class; its coverage then holds for all classes together,
            not for the class itself.

    Returns:
        The thresholds (7,), and the codes of the classes that took the pooled threshold.
    """
    probabilities, labels = np.asarray(probabilities, np.float64), np.asarray(labels)
    own = probabilities[np.arange(len(labels)), labels]
    pooled = np.bincount(labels, minlength=len(CODES)) < least
    thresholds = np.array(
        [
            _conformal_quantile(own if pooled[label] else own[labels == label], level)
            for label in range(len(CODES))
        ]
    )
    return thresholds, tuple(np.array(CODES)[pooled].tolist())


def _conformal_quantile(values: NDArray[np.floating], level: float) -> float:
    # 1e-9: in floating point 20 × (1 − 0.90) is just below 2.
    k = math.floor((len(values) + 1) * (1 - level) + 1e-9)
    return np.sort(values)[k - 1] if k else 0.0


def fit_decision_facts(
    mean_probabilities: NDArray[np.floating],
    labels: NDArray[np.int64],
    chosen: NDArray[np.bool_],
    class_shares: NDArray[np.float64],
) -> DecisionFacts:
    """Fit everything that `decide` needs, on the calibration part.

    Uses one image of each lesion. The temperature is fitted first, the rest to the probabilities
    that it gives.

    Args:
        mean_probabilities: (N, 7), means of eight calibrated views.
        labels: (N,), 0–6.
        chosen: (N,), from `one_image_per_lesion`.
        class_shares: (7,), each above 0, summing to 1: the prior that the flag divides out.

    Raises:
        CalibrationError: probabilities are not finite.
    """
    mean_probabilities, labels = mean_probabilities[chosen], np.asarray(labels)[chosen]
    temperature = fit_eight_view_temperature(mean_probabilities, labels)
    probabilities = soften(mean_probabilities, temperature)
    thresholds, pooled = conformal_thresholds(probabilities, labels)
    return DecisionFacts(
        eight_view_temperature=temperature,
        class_shares=tuple(np.asarray(class_shares, np.float64).tolist()),
        low_risk_threshold=low_risk_threshold(
            malignant_probability(probabilities), MALIGNANT[labels]
        ),
        conformal_thresholds=tuple(thresholds.tolist()),
        pooled_classes=pooled,
    )
