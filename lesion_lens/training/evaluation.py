"""Evaluation: scoring a model file on the test part, on lesions that it was not trained on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lesion_lens.model.decisions import (
    MALIGNANT,
    DecisionFacts,
    combine_views,
    divide_by_prior,
    malignant_probability,
)
from lesion_lens.model.familiarity import PictureRules
from lesion_lens.model.files import check_model_file, load_model, read_attributes
from lesion_lens.model.statistics import clopper_pearson
from lesion_lens.model.views import eight_views
from lesion_lens.training.bootstrap import WeightedScores, bootstrap
from lesion_lens.training.calibration import one_image_per_lesion
from lesion_lens.training.data import Dataset
from lesion_lens.training.errors import TrainingError
from lesion_lens.training.metrics import (
    MELANOMA,
    Values,
    binary_auc,
    brier_score,
    calibration_error,
    confusion_matrix,
    log_loss,
    malignancy,
    ratio,
    reliability,
    sensitivity_at_specificity,
    simulated_calibration_error,
    weighted_mean,
)
from lesion_lens.training.split import split_checksum
from lesion_lens.training.statements import count_statements, decide_all, level_shares
from skin_cancer_detection import CODES

if TYPE_CHECKING:
    import keras

SMALLEST_GROUP = 20  # images; with fewer, an interval covers nearly the whole range
FEWEST_MELANOMAS = 5


def score_file(
    path: Path, data: Dataset, parts: NDArray[np.str_]
) -> tuple[dict[str, Any], NDArray[np.int64], NDArray[np.float64]]:
    """Score a model file on the test part.

    Args:
        path: the HDF5 file.
        data: the data that it was trained on.
        parts: (N,), as in its training.

    Returns:
        The contents of metrics.json: the facts of the file's training and, as `test`, the scores of
        one view and of eight (`evaluate`), of the decisions (`decision_scores`) and by sex, age,
        site and clinic (`subgroups`). Also the test part's labels (M,), 0–6, and the probabilities
        of its eight views (M, 7).

    Raises:
        ModelFileError: the file is invalid.
        TrainingError: the file was trained on a different split, or has no decision facts.
    """
    facts = check_split(path, parts)
    test = data.only(parts == "test")
    scores, eight = score_images(path, test)
    # The checksum of all the data. It differs from that of the training if the rows were made from
    # other copies of the images.
    return facts | {"test": {"data_sha256": data.sha256, **scores}}, test.labels, eight


def check_split(path: Path, parts: NDArray[np.str_]) -> dict[str, Any]:
    """Check that a model file was trained on this split.

    Args:
        path: the model file.
        parts: (N,).

    Returns:
        The facts of its training.

    Raises:
        ModelFileError: the file is invalid.
        TrainingError: it was trained on a different split.
    """
    facts = check_model_file(path)
    if facts.get("split_sha256") != split_checksum(parts):
        raise TrainingError(
            f"{path} was trained on a different data set or split, so its test part is not "
            "known: name the data that it was trained on."
        )
    return facts


def score_images(path: Path, data: Dataset) -> tuple[dict[str, Any], NDArray[np.float64]]:
    """Score a model file on all images of a data set.

    Args:
        path: the HDF5 file.
        data: images that the model was not trained on; a class may be missing.

    Returns:
        The scores of `one_view` and `eight_views` (`evaluate`), of the `decisions`
        (`decision_scores`) and by group (`subgroups`). Also the probabilities of the eight views
        (N, 7).

    Raises:
        ModelFileError: the file is invalid.
        TrainingError: it has no decision facts.
    """
    check_model_file(path)
    attributes = read_attributes(path)
    try:
        decision_facts = DecisionFacts.from_attributes(attributes)
        rules = PictureRules.from_attributes(attributes)
    except ValueError as error:
        raise TrainingError(
            f"{path} lacks the facts that its statements need, as older files do: run `python "
            "train.py` to make it again."
        ) from error
    labels, lesion_ids = data.labels, data.lesion_ids
    views = view_probabilities(load_model(path), data.pixels)
    one, eight = views[0], combine_views(views, decision_facts.eight_view_temperature)
    chosen = one_image_per_lesion(lesion_ids, data.pixels)
    scores = {
        "one_view": evaluate(labels, one, lesion_ids, decision_facts.class_shares),
        "eight_views": evaluate(labels, eight, lesion_ids, decision_facts.class_shares),
        "decisions": decision_scores(
            eight[chosen], labels[chosen], data.pixels[chosen], decision_facts, rules
        ),
        "subgroups": {
            name: subgroups(labels, eight, lesion_ids, groups)
            for name, groups in data.groups.items()
        },
    }
    return scores, eight


def probabilities_of(model: keras.Model, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the class probabilities (N, 7) of many images.

    Args:
        model: takes raw pixels.
        pixels: (N, 28, 28, 3), RGB, 0–255.
    """
    return model.predict(pixels, batch_size=512, verbose=0)


def view_probabilities(model: keras.Model, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the probabilities of the eight views of many images.

    Args:
        model: takes raw pixels.
        pixels: (N, 28, 28, 3), RGB, 0–255.

    Returns:
        (8, N, 7); the first view is the unchanged image.
    """
    return np.stack([probabilities_of(model, view) for view in eight_views(pixels)])


# --- Scores of probabilities -----------------------------------------------------------------


def evaluate(
    labels: NDArray[np.int64],
    probabilities: NDArray[np.floating],
    lesion_ids: NDArray[np.str_] | None,
    prior: Sequence[float] | NDArray[np.floating],
    *,
    replicates: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Score probabilities; the most probable class is the prediction.

    Resampling adds noise to every bin, so the calibration error of a replicate is larger on average
    than that of the images themselves. Its interval therefore lies high and may exclude the value.

    Args:
        labels: (N,), 0–6. `balanced_accuracy` and `macro_auc` leave out a class without images.
        probabilities: (N, 7).
        lesion_ids: (N,), which images show the same lesion; None if not known.
        prior: float (7,), the classes' shares. `prior_divided` divides the probabilities by them,
            to find the class that the image itself supports most.
        replicates, seed: of the bootstrap; the seed is also that of the simulation.

    Returns:
        A JSON-serialisable dict. Estimates {"value", "low", "high"} (see `bootstrap`): `accuracy`,
        `balanced_accuracy` (the mean of the sensitivities), `macro_auc`, `malignant_auc` (akiec,
        bcc and mel against the rest), `melanoma_sensitivity_at_specificity_0.80`,
        `calibration_error`, `brier_score`, `log_loss`, `prior_divided` (`accuracy` and
        `balanced_accuracy`), and `per_class` by code, with `sensitivity`, `specificity`,
        `precision` (no value if the class was never predicted) and `auc`. Plain numbers: `images`,
        `lesions` (None if not known), each class's `images`, `simulated_calibration_error` (`mean`,
        `percentile_95`), `reliability` (see there) and `confusion_matrix` (rows true, columns
        predicted).
    """
    probabilities = probabilities.astype(np.float64)
    result = bootstrap(
        lambda weights: _weighted_scores(labels, probabilities, prior, weights),
        len(labels),
        lesion_ids,
        replicates,
        seed,
    )
    matrix = confusion_matrix(labels, probabilities.argmax(axis=1), len(CODES))
    per_class = result.pop("per_class")
    return {
        "images": len(labels),
        "lesions": None if lesion_ids is None else len(np.unique(lesion_ids)),
        **result,
        "simulated_calibration_error": simulated_calibration_error(probabilities, seed=seed),
        "reliability": reliability(labels, probabilities),
        "per_class": {
            code: {"images": int(images), **per_class[code]}
            for code, images in zip(CODES, matrix.sum(axis=1), strict=True)
        },
        "confusion_matrix": matrix.tolist(),
    }


def _weighted_scores(
    labels: NDArray[np.int64],
    probabilities: NDArray[np.floating],
    prior: Sequence[float] | NDArray[np.floating],
    weights: NDArray[np.int64],
) -> dict[str, Any]:
    """Compute all scores that get an interval, each (R,) for weights (R, N)."""
    present = np.unique(labels)
    matrix = confusion_matrix(labels, probabilities.argmax(axis=1), len(CODES), weights)
    hits = np.diagonal(matrix, axis1=-2, axis2=-1)
    total = matrix.sum(axis=(-2, -1))[:, np.newaxis]
    true, predicted = matrix.sum(axis=-1), matrix.sum(axis=-2)
    aucs = [binary_auc(labels == i, probabilities[:, i], weights) for i in range(len(CODES))]
    by_class = {
        "sensitivity": ratio(hits, true),
        "specificity": ratio(total - true - predicted + hits, total - true),
        "precision": ratio(hits, predicted),
        "auc": np.stack(aucs, axis=-1),
    }
    divided = confusion_matrix(
        labels, divide_by_prior(probabilities, prior).argmax(axis=1), len(CODES), weights
    )
    return {
        **_accuracies(matrix, present),
        "macro_auc": np.take(by_class["auc"], present, axis=-1).mean(axis=-1),
        "malignant_auc": binary_auc(*malignancy(labels, probabilities), weights),
        "melanoma_sensitivity_at_specificity_0.80": sensitivity_at_specificity(
            labels == MELANOMA, probabilities[:, MELANOMA], 0.80, weights
        ),
        "calibration_error": calibration_error(labels, probabilities, weights=weights),
        "brier_score": brier_score(labels, probabilities, weights),
        "log_loss": log_loss(labels, probabilities, weights),
        "prior_divided": _accuracies(divided, present),
        "per_class": {
            code: {name: np.take(values, i, axis=-1) for name, values in by_class.items()}
            for i, code in enumerate(CODES)
        },
    }


def _accuracies(matrix: NDArray[np.int64], present: NDArray[np.int64]) -> dict[str, Values]:
    hits, true = np.diagonal(matrix, axis1=-2, axis2=-1), matrix.sum(axis=-1)
    return {
        "accuracy": hits.sum(axis=-1) / true.sum(axis=-1),
        "balanced_accuracy": np.take(ratio(hits, true), present, axis=-1).mean(axis=-1),
    }


def subgroups(
    labels: NDArray[np.int64],
    probabilities: NDArray[np.floating],
    lesion_ids: NDArray[np.str_] | None,
    groups: NDArray[np.str_],
    *,
    replicates: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Score each group separately, such as a sex, an age band, a site or a clinic.

    Args:
        labels: (N,), 0–6.
        probabilities: (N, 7).
        lesion_ids: (N,), or None, as for `evaluate`.
        groups: (N,), each image's group.
        replicates, seed: of the bootstrap, which draws from the group's own lesions.

    Returns:
        A JSON-serialisable dict of the groups with at least 20 images, in alphabetical order. Each
        has `images` and the estimates `accuracy`, `melanoma_sensitivity` (the most probable class
        is the prediction; None for fewer than 5 images of melanomas) and `malignant_auc` (None if
        all images are malignant, or none).
    """
    result = {}
    for group in np.unique(groups):
        rows = np.flatnonzero(groups == group)
        if len(rows) < SMALLEST_GROUP:
            continue
        scores = bootstrap(
            _scores_of_group(labels[rows], probabilities[rows]),
            len(rows),
            None if lesion_ids is None else lesion_ids[rows],
            replicates,
            seed,
        )
        result[str(group)] = {
            "images": len(rows),
            "accuracy": scores["accuracy"],
            "melanoma_sensitivity": scores.get("melanoma_sensitivity"),
            "malignant_auc": scores.get("malignant_auc"),
        }
    return result


def _scores_of_group(
    labels: NDArray[np.int64], probabilities: NDArray[np.floating]
) -> WeightedScores:
    """Choose the scores that one group allows; return the function for `bootstrap`."""
    is_right = probabilities.argmax(axis=1) == labels
    is_melanoma = labels == MELANOMA
    is_malignant, score = malignancy(labels, probabilities)
    metrics: dict[str, Callable[[NDArray[np.int64]], Values]] = {
        "accuracy": lambda weights: weighted_mean(is_right, weights)
    }
    if is_melanoma.sum() >= FEWEST_MELANOMAS:
        metrics["melanoma_sensitivity"] = lambda weights: ratio(
            weights @ (is_right & is_melanoma), weights @ is_melanoma
        )
    if is_malignant.any() and not is_malignant.all():
        metrics["malignant_auc"] = lambda weights: binary_auc(is_malignant, score, weights)
    return lambda weights: {name: metric(weights) for name, metric in metrics.items()}


# --- Scores of the decisions -----------------------------------------------------------------


def decision_scores(
    probabilities: NDArray[np.float64],
    labels: NDArray[np.int64],
    pixels: NDArray[np.uint8],
    facts: DecisionFacts,
    rules: PictureRules,
) -> dict[str, Any]:
    """Score every statement on lesions not used to fit it, with one image of each.

    Args:
        probabilities: (N, 7), from `combine_views`.
        labels: (N,), 0–6.
        pixels: (N, 28, 28, 3), RGB, 0–255.
        facts, rules: from the model file.

    Returns:
        A JSON-serialisable dict. Shares are 0–1, and None if undefined.
        `lesions`: their number.
        `conformal`: `coverage`, `mean_set_size` and `per_class` (with `lesions`, `coverage`,
            `pooled`) of the sets of classes that cannot be excluded.
        `flagged`: `share`, of lesions that are flagged, and `right`, the share of these whose
            flagged class is the true one.
        `low_risk`: `threshold`; `below_threshold`, which scores the threshold alone; and
            `statement`, which scores 'low risk' as the page says it, under all its conditions.
            Both have `share` (of the lesions called low risk), `malignant` (number of malignant
            and pre-malignant lesions), `sensitivity` (share of these not called low risk, an
            estimate with the two-sided 95 % Clopper–Pearson interval), `missed_per_100` (how many
            of 100 of these are called low risk) and `specificity` (share of the benign lesions
            called low risk).
        `malignant`: number of malignant and pre-malignant lesions; `melanomas`: number of
            melanomas; `malignant_probability`: the mean over all lesions.
        `statements`: from `count_statements`; `levels`: from `level_shares`.
    """
    statements, familiarities, proven = decide_all(probabilities, pixels, facts, rules)
    codes = [CODES[label] for label in labels]
    sets = [said.cannot_be_excluded or () for said in statements]  # None only without facts
    covered = np.array([code in possible for code, possible in zip(codes, sets, strict=True)])
    sizes = np.array(list(map(len, sets)))
    right = [
        said.flagged == code
        for code, said in zip(codes, statements, strict=True)
        if said.flagged is not None
    ]
    threshold = facts.low_risk_threshold
    risk = malignant_probability(probabilities)
    below = np.zeros(len(risk), bool) if threshold is None else risk < threshold
    said_low_risk = np.array([said.low_risk for said in statements], bool)
    scores = {
        "lesions": len(labels),
        "conformal": {
            "coverage": _mean_or_none(covered),
            "mean_set_size": _mean_or_none(sizes),
            "per_class": {
                code: {
                    "lesions": int((labels == label).sum()),
                    "coverage": _mean_or_none(covered[labels == label]),
                    "pooled": code in facts.pooled_classes,
                }
                for label, code in enumerate(CODES)
            },
        },
        "flagged": {
            "share": _mean_or_none([said.flagged is not None for said in statements]),
            "right": _mean_or_none(right),
        },
        "low_risk": {
            "threshold": threshold,
            "below_threshold": _low_risk_scores(below, MALIGNANT[labels]),
            "statement": _low_risk_scores(said_low_risk, MALIGNANT[labels]),
        },
        "malignant": int(MALIGNANT[labels].sum()),
        "melanomas": int((labels == MELANOMA).sum()),
        "malignant_probability": _mean_or_none(risk),
        "statements": count_statements(statements, labels, familiarities, proven, facts),
    }
    return scores | {"levels": level_shares(scores)}


def _low_risk_scores(
    low_risk: NDArray[np.bool_], is_malignant: NDArray[np.bool_]
) -> dict[str, Any]:
    trials = int(is_malignant.sum())
    hits = trials - int(low_risk[is_malignant].sum())
    low, high = clopper_pearson(hits, trials)
    return {
        "share": _mean_or_none(low_risk),
        "malignant": trials,
        "sensitivity": {"value": _mean_or_none(~low_risk[is_malignant]), "low": low, "high": high},
        "missed_per_100": 100 * (trials - hits) / trials if trials else None,
        "specificity": _mean_or_none(low_risk[~is_malignant]),
    }


def _mean_or_none(values: Sequence[float] | NDArray[Any]) -> float | None:
    return float(np.mean(values)) if len(values) else None
