"""The metrics, checked by hand on short lists and against scikit-learn."""

import json

import numpy as np
import pytest

from lesion_lens.training.bootstrap import bootstrap
from lesion_lens.training.evaluation import evaluate, subgroups
from lesion_lens.training.metrics import (
    binary_auc,
    brier_score,
    calibration_error,
    confidence_bins,
    confusion_matrix,
    log_loss,
    malignancy,
    reliability,
    sensitivity_at_specificity,
    simulated_calibration_error,
)
from skin_cancer_detection import CODES
from tests.support.skipping import require

AKIEC, BCC, BKL, DF, NV, VASC, MEL = range(7)
PRIOR = np.array([0.03, 0.05, 0.11, 0.012, 0.67, 0.018, 0.11])


def made_predictions(images=500, seed=0):
    """Draw labels of every class, and probabilities that depend on them, with ties."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(7), rng.integers(7, size=images - 7)])
    logits = rng.normal(size=(images, 7)) + 2 * np.eye(7)[labels]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    probabilities = probabilities.round(1) + 1e-3
    return labels, probabilities / probabilities.sum(axis=1, keepdims=True)


def one_hot(predicted):
    return np.eye(7)[predicted]


def mean_of(values):
    return lambda weights: {"mean": weights @ values / weights.sum(axis=1)}


def width(estimate):
    return estimate["high"] - estimate["low"]


# --- Metrics ---------------------------------------------------------------------------------


def test_confusion_matrix_has_the_truth_in_its_rows():
    matrix = confusion_matrix(np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1]), 2)
    assert matrix.tolist() == [[2, 1], [0, 1]]


@pytest.mark.parametrize(
    ("positive", "score", "auc"),
    [
        ([0, 0, 1, 1], [0.1, 0.2, 0.3, 0.4], 1.0),
        ([1, 1, 0, 0], [0.1, 0.2, 0.3, 0.4], 0.0),
        ([0, 1, 0, 1], [0.1, 0.2, 0.3, 0.4], 0.75),
        ([0, 1, 0, 1], [0.5, 0.5, 0.5, 0.5], 0.5),
        ([0, 1, 1, 1], [0.5, 0.5, 0.5, 0.9], 2 / 3),
    ],
)
def test_binary_auc(positive, score, auc):
    assert binary_auc(np.array(positive, bool), np.array(score)) == auc


@pytest.mark.parametrize("positive", [True, False])
def test_binary_auc_of_one_kind_is_not_a_number(positive):
    assert np.isnan(binary_auc(np.full(3, positive), np.array([0.1, 0.2, 0.3])))


@pytest.mark.parametrize(
    ("specificity", "sensitivity"), [(0, 1), (0.5, 1), (0.75, 2 / 3), (0.8, 1 / 3), (1, 1 / 3)]
)
def test_sensitivity_at_specificity(specificity, sensitivity):
    # From the highest score: one +, then two ties of a + and a −, then two −.
    positive = np.array([1, 1, 0, 0, 1, 0, 0], bool)
    score = np.array([0.9, 0.8, 0.8, 0.6, 0.6, 0.1, 0.1])
    found = sensitivity_at_specificity(positive, score, specificity)
    assert found == pytest.approx(sensitivity)


def test_sensitivity_where_every_threshold_finds_too_many_is_0():
    positive, score = np.array([True, False]), np.array([0.5, 0.5])
    assert sensitivity_at_specificity(positive, score, 0.8) == 0


def test_sensitivity_at_specificity_is_on_scikit_learns_roc_curve():
    metrics = require("sklearn.metrics")
    labels, probabilities = made_predictions()
    false, true, _ = metrics.roc_curve(labels == MEL, probabilities[:, MEL])
    found = sensitivity_at_specificity(labels == MEL, probabilities[:, MEL], 0.8)
    assert found == pytest.approx(true[1 - false >= 0.8].max())


def test_calibration_error_by_hand():
    confidence = np.array([0.61, 0.65, 0.93, 0.93])  # two of fifteen bins
    probabilities = np.column_stack([confidence, 1 - confidence])
    labels = np.array([0, 1, 0, 0])  # accuracy 0.5 in the lower bin, 1 in the upper
    expected = 0.5 * abs(0.5 - 0.63) + 0.5 * abs(1 - 0.93)
    assert calibration_error(labels, probabilities) == pytest.approx(expected)


def test_a_bin_holds_its_upper_edge():
    probabilities = np.array([[0.5, 0.5], [0.501, 0.499], [1.0, 0.0]])
    assert confidence_bins(probabilities, 2)[1].tolist() == [0, 1, 1]


def test_reliability_by_hand():
    confidence = np.array([0.61, 0.65, 0.93, 0.93])  # two of fifteen bins
    probabilities = np.column_stack([confidence, 1 - confidence])
    lower, upper = reliability(np.array([0, 1, 0, 0]), probabilities)
    assert (lower["above"], lower["up_to"]) == (9 / 15, 10 / 15)
    assert (lower["images"], lower["confidence"]) == (2, pytest.approx(0.63))
    assert [point["accuracy"]["value"] for point in (lower, upper)] == [0.5, 1]
    low, high = upper["accuracy"]["low"], upper["accuracy"]["high"]
    assert (low, high) == (pytest.approx(0.025**0.5), 1)  # for 2 of 2 right


def test_the_calibration_error_is_that_of_the_reliability():
    labels, probabilities = made_predictions()
    points = reliability(labels, probabilities)
    gaps = [p["images"] * abs(p["accuracy"]["value"] - p["confidence"]) for p in points]
    expected = calibration_error(labels, probabilities)
    assert sum(gaps) / len(labels) == pytest.approx(expected)
    assert sum(point["images"] for point in points) == len(labels)


def test_brier_score_by_hand():
    probabilities = np.array([[0.7, 0.2, 0.1], [0.0, 1.0, 0.0]])
    perfect_and_worst = (0.3**2 + 0.2**2 + 0.1**2 + 2) / 2
    assert brier_score(np.array([0, 2]), probabilities) == pytest.approx(perfect_and_worst)


def test_log_loss_of_an_impossible_truth_is_finite():
    loss = log_loss(np.array([1]), np.array([[1.0, 0.0]], np.float32))
    assert loss == pytest.approx(-np.log(1e-7))


def test_scikit_learn_agrees_on_the_probabilities():
    metrics = require("sklearn.metrics")
    labels, probabilities = made_predictions()
    assert log_loss(labels, probabilities) == pytest.approx(metrics.log_loss(labels, probabilities))
    assert brier_score(labels, probabilities) == pytest.approx(
        metrics.brier_score_loss(labels, probabilities)
    )


@pytest.mark.parametrize(
    "metric",
    [
        lambda labels, p, weights: binary_auc(labels == MEL, p[:, MEL], weights),
        lambda labels, p, weights: sensitivity_at_specificity(
            labels == MEL, p[:, MEL], 0.8, weights
        ),
        lambda labels, p, weights: calibration_error(labels, p, weights=weights),
        brier_score,
        log_loss,
    ],
)
def test_a_weight_is_a_number_of_copies(metric):
    labels, probabilities = made_predictions(100)
    weights = np.random.default_rng(1).integers(4, size=(3, 100))
    copied = [
        metric(labels.repeat(row), probabilities.repeat(row, axis=0), None) for row in weights
    ]
    assert metric(labels, probabilities, weights) == pytest.approx(copied)


def test_malignancy_sums_what_is_not_benign():
    probabilities = np.array([[0.1, 0.2, 0.05, 0.05, 0.1, 0.1, 0.4]])
    is_malignant, score = malignancy(np.array([AKIEC]), probabilities)
    assert is_malignant.tolist() == [True]
    assert score == pytest.approx([0.7])
    benign, _ = malignancy(np.array([BKL, DF, NV, VASC]), probabilities)
    assert not benign.any()


# --- What a calibrated model gets --------------------------------------------------------------


def test_simulation_is_the_error_of_labels_drawn_from_the_probabilities():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.full(7, 0.3), size=500)
    errors = []
    for _ in range(300):
        labels = (rng.random((500, 1)) > probabilities.cumsum(axis=1)[:, :-1]).sum(axis=1)
        errors.append(calibration_error(labels, probabilities))
    simulated = simulated_calibration_error(probabilities)
    assert simulated["mean"] == pytest.approx(np.mean(errors), rel=0.05)
    assert simulated["percentile_95"] == pytest.approx(np.percentile(errors, 95), rel=0.05)


def test_simulation_of_certainty_has_no_error():
    simulated = simulated_calibration_error(one_hot([0, 1, 2]))
    assert simulated == {"mean": 0, "percentile_95": 0}


# --- Intervals -------------------------------------------------------------------------------


def test_interval_has_the_width_of_theory():
    values = np.repeat([0.0, 1.0], [80, 320])
    estimate = bootstrap(mean_of(values), 400, None)["mean"]
    assert estimate["value"] == 0.8
    assert width(estimate) == pytest.approx(2 * 1.96 * np.sqrt(0.8 * 0.2 / 400), rel=0.1)


def test_interval_covers_the_truth_95_times_in_100():
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(200):
        values = rng.random(100) < 0.7
        estimate = bootstrap(mean_of(values), 100, None, replicates=200, seed=seed)["mean"]
        covered += estimate["low"] <= 0.7 <= estimate["high"]
    assert 180 <= covered <= 198


def test_interval_of_lesions_is_wider_than_that_of_images():
    values = np.repeat(np.arange(100) % 2, 4)  # the four images of a lesion are alike
    lesion_ids = np.repeat([f"HAM_{lesion:07}" for lesion in range(100)], 4)
    by_image = bootstrap(mean_of(values), 400, None)["mean"]
    by_lesion = bootstrap(mean_of(values), 400, lesion_ids)["mean"]
    assert width(by_lesion) / width(by_image) == pytest.approx(2, rel=0.15)


def test_a_lesion_is_drawn_with_all_its_images():
    lesion_ids = np.array(["c", "a", "b", "a", "c", "c"])

    def metrics(weights):
        assert (weights[:, 1] == weights[:, 3]).all()
        assert (weights[:, [0]] == weights[:, [4, 5]]).all()
        return {"lesions": weights[:, [0, 1, 2]].sum(axis=1)}

    estimate = bootstrap(metrics, 6, lesion_ids)["lesions"]
    assert estimate == {"value": 3, "low": 3, "high": 3}


def test_replicates_without_the_score_are_left_out():
    values = np.array([np.nan, 0.5, 0.5])

    def metrics(weights):
        return {"metric": np.where(weights[:, 0] > 0, 0.5, np.nan)}

    estimate = bootstrap(metrics, len(values), None)["metric"]
    assert estimate == {"value": 0.5, "low": 0.5, "high": 0.5}


def test_the_number_of_replicates_need_not_be_round():
    weights_seen = []

    def metrics(weights):
        weights_seen.append(weights)
        return {"metric": np.zeros(len(weights))}

    bootstrap(metrics, 5, None, replicates=123)
    drawn = np.concatenate(weights_seen[:-1])
    assert drawn.shape == (123, 5)
    assert (drawn.sum(axis=1) == 5).all()


# --- All of them -----------------------------------------------------------------------------


def test_scikit_learn_agrees():
    metrics = require("sklearn.metrics")
    labels, probabilities = made_predictions()
    predicted = probabilities.argmax(axis=1)
    result = evaluate(labels, probabilities, None, PRIOR, replicates=2)
    assert result["confusion_matrix"] == metrics.confusion_matrix(labels, predicted).tolist()
    for name, expected in {
        "accuracy": metrics.accuracy_score(labels, predicted),
        "balanced_accuracy": metrics.balanced_accuracy_score(labels, predicted),
        "macro_auc": metrics.roc_auc_score(labels, probabilities, multi_class="ovr"),
        "malignant_auc": metrics.roc_auc_score(
            np.isin(labels, [AKIEC, BCC, MEL]), probabilities[:, [AKIEC, BCC, MEL]].sum(axis=1)
        ),
        "log_loss": metrics.log_loss(labels, probabilities),
        "brier_score": metrics.brier_score_loss(labels, probabilities),
    }.items():
        assert result[name]["value"] == pytest.approx(expected), name
    divided = (probabilities / PRIOR).argmax(axis=1)
    assert result["prior_divided"]["balanced_accuracy"]["value"] == pytest.approx(
        metrics.balanced_accuracy_score(labels, divided)
    )


def test_scikit_learn_agrees_on_each_class():
    metrics = require("sklearn.metrics")
    labels, probabilities = made_predictions()
    predicted = probabilities.argmax(axis=1)
    result = evaluate(labels, probabilities, None, PRIOR, replicates=2)
    precision, sensitivity, _, images = metrics.precision_recall_fscore_support(labels, predicted)
    for i, code in enumerate(CODES):
        row = result["per_class"][code]
        assert row["precision"]["value"] == pytest.approx(precision[i])
        assert row["sensitivity"]["value"] == pytest.approx(sensitivity[i])
        assert row["images"] == images[i]
        assert row["specificity"]["value"] == pytest.approx(
            metrics.recall_score(labels != i, predicted != i)
        )
        assert row["auc"]["value"] == pytest.approx(
            metrics.roc_auc_score(labels == i, probabilities[:, i])
        )


def test_evaluate_holds_what_scikit_learn_has_not():
    labels, probabilities = made_predictions()
    result = evaluate(labels, probabilities, None, PRIOR, replicates=2, seed=3)
    found = sensitivity_at_specificity(labels == MEL, probabilities[:, MEL], 0.8)
    assert result["melanoma_sensitivity_at_specificity_0.80"]["value"] == found
    error = calibration_error(labels, probabilities)
    assert result["calibration_error"]["value"] == pytest.approx(error)
    simulated = simulated_calibration_error(probabilities, seed=3)
    assert result["simulated_calibration_error"] == simulated


def test_precision_of_a_class_never_predicted_is_none():
    labels = np.arange(7)
    result = evaluate(labels, one_hot([0, 1, 2, 3, 4, 5, 4]), None, PRIOR, replicates=50)
    assert result["per_class"]["mel"]["precision"] == {"value": None, "low": None, "high": None}
    assert result["per_class"]["nv"]["precision"]["value"] == 0.5


def test_prior_divided_asks_for_the_class_that_the_image_speaks_for():
    labels, probabilities = np.array([NV, MEL]), np.full((2, 7), 0.01)
    probabilities[:, NV], probabilities[:, MEL] = [0.80, 0.60], [0.08, 0.30]
    result = evaluate(labels, probabilities, None, PRIOR, replicates=50)
    assert result["accuracy"]["value"] == 0.5
    assert result["prior_divided"]["accuracy"]["value"] == 1


def test_evaluate_draws_lesions_and_counts_them():
    labels, probabilities = made_predictions()
    labels, probabilities = labels.repeat(4), probabilities.repeat(4, axis=0)
    lesion_ids = np.repeat([f"HAM_{lesion:07}" for lesion in range(500)], 4)
    by_lesion = evaluate(labels, probabilities, lesion_ids, PRIOR, replicates=300)
    by_image = evaluate(labels, probabilities, None, PRIOR, replicates=300)
    assert (by_lesion["images"], by_lesion["lesions"]) == (2000, 500)
    assert by_image["lesions"] is None
    assert width(by_lesion["accuracy"]) > 1.6 * width(by_image["accuracy"])
    assert width(by_lesion["macro_auc"]) > 1.6 * width(by_image["macro_auc"])


def test_a_seed_fixes_what_json_holds():
    labels, probabilities = made_predictions(200)
    first, again, other = (
        json.dumps(
            evaluate(labels, probabilities, None, PRIOR, replicates=60, seed=seed),
            allow_nan=False,
        )
        for seed in (1, 1, 2)
    )
    assert first == again != other


# --- Groups ----------------------------------------------------------------------------------


def grouped(**groups):
    """Make groups with these labels, all of them predicted correctly."""
    names = np.repeat(list(groups), [len(labels) for labels in groups.values()])
    labels = np.concatenate(list(groups.values()))
    return labels, one_hot(labels), None, names


def test_subgroups_need_twenty_images():
    result = subgroups(*grouped(few=[NV] * 19, enough=[NV] * 20), replicates=10)
    assert list(result) == ["enough"]
    assert result["enough"]["images"] == 20


def test_subgroups_say_nothing_of_melanomas_that_are_few():
    groups = grouped(four=[MEL] * 4 + [NV] * 20, five=[MEL] * 5 + [NV] * 20)
    result = subgroups(*groups, replicates=10)
    assert result["four"]["melanoma_sensitivity"] is None
    assert result["five"]["melanoma_sensitivity"]["value"] == 1


def test_subgroups_of_one_kind_have_no_auc():
    groups = grouped(benign=[NV, BKL] * 10, malignant=[MEL, BCC] * 10, both=[NV, MEL] * 10)
    result = subgroups(*groups, replicates=10)
    assert result["benign"]["malignant_auc"] is None
    assert result["malignant"]["malignant_auc"] is None
    assert result["both"]["malignant_auc"]["value"] == 1


def test_a_subgroup_has_the_scores_of_its_own_images():
    labels, probabilities = made_predictions()
    groups = np.where(np.arange(500) // 2 % 3 == 0, "female", "male")  # whole lesions
    lesion_ids = np.repeat([f"HAM_{lesion:07}" for lesion in range(250)], 2)
    result = subgroups(labels, probabilities, lesion_ids, groups)["female"]
    own = groups == "female"
    whole = evaluate(labels[own], probabilities[own], lesion_ids[own], PRIOR)
    assert result["accuracy"] == whole["accuracy"]
    assert result["melanoma_sensitivity"] == whole["per_class"]["mel"]["sensitivity"]
    assert result["malignant_auc"] == whole["malignant_auc"]
