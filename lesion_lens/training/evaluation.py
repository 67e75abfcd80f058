"""Scoring a model on lesions that it has never seen."""

import hashlib

import numpy as np

from lesion_lens.model.decisions import (
    MALIGNANT,
    DecisionFacts,
    combine_views,
    decide,
    divide_by_prior,
    malignant_probability,
)
from lesion_lens.model.files import (
    check_model_file,
    load_model,
    read_attributes,
)
from lesion_lens.model.outliers import OutlierDetector
from lesion_lens.model.statistics import clopper_pearson
from lesion_lens.model.views import eight_views
from lesion_lens.training.bootstrap import bootstrap
from lesion_lens.training.calibration import one_image_per_lesion
from lesion_lens.training.errors import TrainingError
from lesion_lens.training.metrics import (
    MELANOMA,
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
from skin_cancer_detection import CODES


def decision_scores(probabilities, labels, chosen, facts, unlike):
    """Score every statement on lesions that had no part in fitting it, one image of each.

    Args:
        probabilities: float (N, 7), from `combine_views`.
        labels: int (N,), 0–6.
        chosen: bool (N,), from `one_image_per_lesion`.
        facts: `DecisionFacts`.
        unlike: bool (N,), or None where it is not known; then 'low risk' is never said.

    Returns:
        dict that JSON can hold. Shares are 0–1, and None of nothing.
        `lesions`: their number.
        `conformal`: `coverage`, `mean_set_size`, `empty` (share of empty sets) and `per_class`
            with `lesions`, `coverage`, `pooled`.
        `inconclusive`: share of the lesions.
        `flagged`: `share` of the lesions, and `right`, the share of those whose flagged class is
            the true one.
        `low_risk`: `threshold`; `below_threshold`, which scores the threshold alone; and
            `statement`, which scores 'low risk' as the page says it, under all its conditions.
            Both have `share` (of the lesions called low risk), `malignant` (number of malignant
            and pre-malignant lesions), `sensitivity` (share of these not called low risk) as
            `value`, `low`, `high` with the two-sided 95 % Clopper–Pearson interval,
            `missed_per_100` (of these, called low risk) and `specificity` (share of the benign
            lesions called low risk).
    """
    probabilities = np.asarray(probabilities, np.float64)[chosen]
    labels = np.asarray(labels)[chosen]
    unlike = [None] * len(labels) if unlike is None else np.asarray(unlike)[chosen].tolist()
    statements = [
        decide(row, facts, row_unlike)
        for row, row_unlike in zip(probabilities, unlike, strict=True)
    ]
    codes = [CODES[label] for label in labels]
    covered = np.array(
        [code in said.cannot_be_excluded for code, said in zip(codes, statements, strict=True)]
    )
    sizes = np.array([len(said.cannot_be_excluded) for said in statements])
    right = [
        said.flagged == code
        for code, said in zip(codes, statements, strict=True)
        if said.flagged is not None
    ]
    threshold = facts.low_risk_threshold
    risk = malignant_probability(probabilities)
    below = np.zeros(len(risk), bool) if threshold is None else risk < threshold
    said_low_risk = np.array([said.low_risk for said in statements], bool)
    return {
        "lesions": len(labels),
        "conformal": {
            "coverage": _mean(covered),
            "mean_set_size": _mean(sizes),
            "empty": _mean(sizes == 0),
            "per_class": {
                code: {
                    "lesions": int((labels == label).sum()),
                    "coverage": _mean(covered[labels == label]),
                    "pooled": code in facts.pooled_classes,
                }
                for label, code in enumerate(CODES)
            },
        },
        "inconclusive": _mean([said.inconclusive for said in statements]),
        "flagged": {
            "share": _mean([said.flagged is not None for said in statements]),
            "right": _mean(right),
        },
        "low_risk": {
            "threshold": threshold,
            "below_threshold": _low_risk_scores(below, MALIGNANT[labels]),
            "statement": _low_risk_scores(said_low_risk, MALIGNANT[labels]),
        },
    }


def _low_risk_scores(low_risk, is_malignant):
    trials = int(is_malignant.sum())
    hits = trials - int(low_risk[is_malignant].sum())
    low, high = clopper_pearson(hits, trials)
    return {
        "share": _mean(low_risk),
        "malignant": trials,
        "sensitivity": {"value": _mean(~low_risk[is_malignant]), "low": low, "high": high},
        "missed_per_100": 100 * (trials - hits) / trials if trials else None,
        "specificity": _mean(low_risk[~is_malignant]),
    }


def _mean(values):
    return float(np.mean(values)) if len(values) else None


SMALLEST_GROUP = 20  # images; in fewer, an interval takes in nearly everything
FEWEST_MELANOMAS = 5


def evaluate(labels, probabilities, lesion_ids, prior, *, replicates=1000, seed=0):
    """Score probabilities, the most probable class being the prediction.

    The calibration error of a replicate is larger on average than that of the images themselves,
    as drawing adds chance to every bin: its interval lies high and may leave out the value.

    Args:
        labels: int (N,), 0–6.
        probabilities: float (N, 7).
        lesion_ids: str (N,), which images show the same lesion; None if that is not known.
        prior: float (7,), the classes' shares that `prior_divided` divides out of the
            probabilities, which asks for the class that the image speaks for most.
        replicates, seed: of the bootstrap; the seed is also that of the simulation.

    Returns:
        dict that JSON can hold. With {"value", "low", "high"} (see `bootstrap`): `accuracy`,
        `balanced_accuracy` (the mean of the sensitivities), `macro_auc`, `malignant_auc` (akiec,
        bcc and mel against the rest), `melanoma_sensitivity_at_specificity_0.80`,
        `calibration_error`, `brier_score`, `log_loss`, `prior_divided` (`accuracy` and
        `balanced_accuracy`), and `per_class` by code, with `sensitivity`, `specificity`,
        `precision` (no value where the class was never predicted) and `auc`. As plain numbers:
        `images`, `lesions` (None if they are not known), each class's `images`,
        `simulated_calibration_error` (`mean`, `percentile_95`), `reliability` (see there) and
        `confusion_matrix` (rows true, columns predicted).
    """
    probabilities = probabilities.astype(np.float64)
    result = bootstrap(
        lambda weights: _all_metrics(labels, probabilities, prior, weights),
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


def _all_metrics(labels, probabilities, prior, weights):
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
        **_accuracies(matrix),
        "macro_auc": by_class["auc"].mean(axis=-1),
        "malignant_auc": binary_auc(*malignancy(labels, probabilities), weights),
        "melanoma_sensitivity_at_specificity_0.80": sensitivity_at_specificity(
            labels == MELANOMA, probabilities[:, MELANOMA], 0.80, weights
        ),
        "calibration_error": calibration_error(labels, probabilities, weights=weights),
        "brier_score": brier_score(labels, probabilities, weights),
        "log_loss": log_loss(labels, probabilities, weights),
        "prior_divided": _accuracies(divided),
        "per_class": {
            code: {name: values[:, i] for name, values in by_class.items()}
            for i, code in enumerate(CODES)
        },
    }


def _accuracies(matrix):
    hits, true = np.diagonal(matrix, axis1=-2, axis2=-1), matrix.sum(axis=-1)
    return {
        "accuracy": hits.sum(axis=-1) / true.sum(axis=-1),
        "balanced_accuracy": ratio(hits, true).mean(axis=-1),
    }


def subgroups(labels, probabilities, lesion_ids, groups, *, replicates=1000, seed=0):
    """Score the images of each group by themselves: of each sex, age band or part of the body.

    Args:
        labels: int (N,), 0–6.
        probabilities: float (N, 7).
        lesion_ids: str (N,), or None, as for `evaluate`.
        groups: str (N,), each image's group.
        replicates, seed: of the bootstrap, which draws from the group's own lesions.

    Returns:
        dict that JSON can hold, by group in alphabetical order, without groups of fewer than 20
        images: `images`, `accuracy`, `melanoma_sensitivity` (the most probable class being the
        prediction; None where there are fewer than 5 melanomas) and `malignant_auc` (None where
        all are malignant or none is). But for `images`, each is {"value", "low", "high"} as in
        `bootstrap`.
    """
    result = {}
    for group in np.unique(groups):
        rows = np.flatnonzero(groups == group)
        if len(rows) < SMALLEST_GROUP:
            continue
        scores = bootstrap(
            _group_metrics(labels[rows], probabilities[rows]),
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


def _group_metrics(labels, probabilities):
    """Choose what can be said of one group; returns the function that `bootstrap` takes."""
    is_right = probabilities.argmax(axis=1) == labels
    is_melanoma = labels == MELANOMA
    is_malignant, score = malignancy(labels, probabilities)
    metrics = {"accuracy": lambda weights: weighted_mean(is_right, weights)}
    if is_melanoma.sum() >= FEWEST_MELANOMAS:
        metrics["melanoma_sensitivity"] = lambda weights: ratio(
            weights @ (is_right & is_melanoma), weights @ is_melanoma
        )
    if is_malignant.any() and not is_malignant.all():
        metrics["malignant_auc"] = lambda weights: binary_auc(is_malignant, score, weights)
    return lambda weights: {name: metric(weights) for name, metric in metrics.items()}


def score_file(path, data, parts):
    """Score a model file on the test part.

    Args:
        path: the HDF5 file.
        data: `Dataset` that it was trained on.
        parts: str (N,), as the training had them.

    Returns:
        dict that JSON can hold: the facts of the file's training and, as `test`, the scores of one
        view and of eight (`scores.evaluate`), what the decisions are worth
        (`decision_scores`) and the scores by sex, age and site; and the test part's
        labels, int (M,), and probabilities of eight views, float64 (M, 7).

    Raises:
        ModelFileError: the file breaks the contract.
        TrainingError: the file was trained on another split, or has no decision facts.
    """
    facts, attributes = check_model_file(path), read_attributes(path)
    if facts.get("split_sha256") != checksum_of(parts):
        raise TrainingError(
            f"{path} was trained on another data set or another split, so its test part is not "
            "known: name the data that it was made of."
        )
    try:
        decision_facts = DecisionFacts.from_attributes(attributes)
        outlier_detector = OutlierDetector.from_attributes(attributes)
    except ValueError as error:
        raise TrainingError(f"{path}: {error}; run `python train.py` to make it again.") from error
    model, test = load_model(path), data.only(parts == "test")
    labels, lesion_ids = test.labels, test.lesion_ids
    views = view_probabilities(model, test.pixels)
    one, eight = views[0], combine_views(views, decision_facts.eight_view_temperature)
    unlike = outlier_detector.is_outlier(test.pixels)
    chosen = one_image_per_lesion(lesion_ids, test.pixels)
    decisions = decision_scores(eight, labels, chosen, decision_facts, unlike)
    metrics = facts | {
        "test": {
            "data_sha256": data.sha256,  # not always that of the training: see the README
            "one_view": evaluate(labels, one, lesion_ids, decision_facts.class_shares),
            "eight_views": evaluate(labels, eight, lesion_ids, decision_facts.class_shares),
            "decisions": decisions | {"unlike": float(unlike[chosen].mean())},
            "subgroups": {
                name: subgroups(labels, eight, lesion_ids, groups)
                for name, groups in test.groups.items()
            },
        }
    }
    return metrics, labels, eight


def probabilities_of(model, pixels):
    """Give the class probabilities of many images.

    Args:
        model: takes raw pixels.
        pixels: uint8 (N, 28, 28, 3), 0–255.

    Returns:
        float32 (N, 7).
    """
    return model.predict(pixels, batch_size=512, verbose=0)


def view_probabilities(model, pixels):
    """Give the probabilities of the eight views of many images.

    Args:
        model: takes raw pixels.
        pixels: uint8 (N, 28, 28, 3), 0–255.

    Returns:
        float32 (8, N, 7); the first is the image as it came.
    """
    return np.stack([probabilities_of(model, view) for view in eight_views(pixels)])


def checksum_of(parts):
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def shared_lesions(lesion_ids, parts):
    """Count the test images whose lesion has an image in another part too.

    Args:
        lesion_ids: str (N,), or None where they are not known.
        parts: str (N,).

    Returns:
        int; None where the lesions are not known.
    """
    if lesion_ids is None:
        return None
    test = parts == "test"
    return int(np.isin(lesion_ids[test], lesion_ids[~test]).sum())
