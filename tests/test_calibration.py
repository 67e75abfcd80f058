"""Fitting calibration and decision facts, checked by hand, by simulation and against SciPy."""

import json

import numpy as np
import pytest

from lesion_lens.model.decisions import (
    MALIGNANT,
    DecisionFacts,
    decide,
    malignant_probability,
    soften,
)
from lesion_lens.model.familiarity import PictureRules
from lesion_lens.model.outliers import OutlierDetector
from lesion_lens.model.statistics import clopper_pearson, clopper_pearson_lower
from lesion_lens.training import calibration
from lesion_lens.training.calibration import (
    conformal_thresholds,
    fit_bias_and_temperature,
    fit_decision_facts,
    fit_eight_view_temperature,
    fold_calibration,
    low_risk_threshold,
    one_image_per_lesion,
)
from lesion_lens.training.errors import CalibrationError
from lesion_lens.training.evaluation import decision_scores
from skin_cancer_detection import CODES, build_model
from tests.support.models import LIKE, PROVEN
from tests.support.skipping import require

SHARES = np.array([0.03, 0.05, 0.11, 0.012, 0.67, 0.014, 0.114])  # about HAM10000's


def softmax(logits):
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def drawn(count, seed=0):
    """Return probabilities and labels drawn from them: perfectly calibrated, with every class."""
    rng = np.random.default_rng(seed)
    probabilities = softmax(rng.normal(0, 1.5, (count, 7)) + np.log(SHARES) + [1, 1, 1, 1, 0, 1, 1])
    labels = np.array([rng.choice(7, p=row) for row in probabilities])
    labels[:7] = range(7)
    return probabilities, labels


def log_loss(probabilities, labels):
    return -np.log(probabilities[np.arange(len(labels)), labels]).mean()


# --- Temperature and bias --------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.5, 1, 2])
def test_a_known_miscalibration_is_undone(temperature):
    probabilities, labels = drawn(20_000)
    bias = np.array([0.5, -0.5, 1, 0, -1, 0, 0])
    spoiled = softmax(temperature * (np.log(probabilities) - bias))
    fitted_temperature, fitted_bias = fit_bias_and_temperature(spoiled, labels)
    assert fitted_temperature == pytest.approx(temperature, rel=0.05)
    assert fitted_bias == pytest.approx(bias, abs=0.2)
    assert fitted_bias.sum() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("sharpness", [0.3, 3])
def test_the_calibrated_mean_is_the_class_shares(sharpness):
    probabilities, labels = drawn(1500)
    probabilities = softmax(sharpness * np.log(probabilities) + np.arange(7))
    temperature, bias = fit_bias_and_temperature(probabilities, labels)
    calibrated = softmax(np.log(probabilities) / temperature + bias)
    shares = np.bincount(labels, minlength=7) / len(labels)
    assert np.abs(calibrated.mean(axis=0) - shares).max() < 1e-8


def test_the_derivatives_are_those_of_the_loss():
    probabilities, labels = drawn(50)
    logs = np.log(probabilities)
    at = np.array([0.7, 0.3, -0.2, 0.1, 0, 0.5, -0.4, -0.3])
    _, gradient, hessian = calibration._loss(at, logs, labels)
    hessian[1:, 1:] -= 1 / 7
    for i, step in enumerate(1e-5 * np.eye(8)):
        above, below = (calibration._loss(at + s, logs, labels) for s in (step, -step))
        assert gradient[i] == pytest.approx((above[0] - below[0]) / 2e-5, abs=1e-8)
        assert hessian[i] == pytest.approx((above[1] - below[1]) / 2e-5, abs=1e-8)


def test_scipy_finds_no_lower_loss():
    optimize = require("scipy.optimize")
    probabilities, labels = drawn(500)
    logs = np.log(softmax(2 * np.log(probabilities)))

    def loss(parameters):
        return calibration._loss(parameters, logs, labels)[0]

    temperature, bias = fit_bias_and_temperature(np.exp(logs), labels)
    best = optimize.minimize(
        loss, np.array([1.0, *np.zeros(7)]), bounds=[(1e-6, None), *[(None, None)] * 7]
    )
    assert loss(np.array([1 / temperature, *bias])) <= best.fun + 1e-12


def test_the_penalty_hardly_counts_with_many_images():
    probabilities, labels = drawn(1500)
    optimize = require("scipy.optimize")
    overconfident = soften(probabilities, 0.5)
    best = optimize.minimize_scalar(
        lambda t: log_loss(soften(overconfident, t), labels), bounds=(1, 4), method="bounded"
    )
    assert fit_eight_view_temperature(overconfident, labels) == pytest.approx(best.x, rel=0.01)


@pytest.mark.parametrize(
    "logits",
    [
        50 * np.eye(7),
        -50 * np.eye(7),
        200 * np.eye(7),
        -200 * np.eye(7),
        np.zeros((7, 7)),
        np.tile(100 * np.arange(7), (7, 1)),
    ],
    ids=["right", "wrong", "right, with zeros", "wrong, with zeros", "flat", "blind"],
)
def test_extreme_networks_can_be_calibrated(logits):
    labels = np.repeat(np.arange(7), 3)
    probabilities = softmax(logits)[labels].astype(np.float32)
    temperature, bias = fit_bias_and_temperature(probabilities, labels)
    assert 0 < temperature < 1e6
    assert np.isfinite(bias).all()
    assert 0 < fit_eight_view_temperature(probabilities, labels) < 1e6


def test_networks_that_are_certain_at_random_can_be_calibrated():
    rng = np.random.default_rng(0)
    for _ in range(30):
        probabilities = softmax(100 * rng.normal(size=(7, 7))).astype(np.float32)
        temperature, _ = fit_bias_and_temperature(probabilities, np.arange(7))
        assert 0 < temperature < 1e6


def test_a_missing_class_is_named():
    probabilities, labels = drawn(100)
    with pytest.raises(CalibrationError, match="no images of df, vasc"):
        fit_bias_and_temperature(probabilities, np.where(np.isin(labels, (3, 5)), 4, labels))


@pytest.mark.parametrize("fit", [fit_bias_and_temperature, fit_eight_view_temperature])
def test_probabilities_that_are_not_finite(fit):
    probabilities, labels = drawn(100)
    probabilities[5, 2] = np.nan
    with pytest.raises(CalibrationError, match="not finite"):
        fit(probabilities, labels)


def test_the_mean_of_views_is_sharpened():
    probabilities, labels = drawn(3000)
    assert fit_eight_view_temperature(soften(probabilities, 2), labels) == pytest.approx(0.5, 0.1)


def test_folding_is_exact_and_changes_the_last_layer_alone():
    model = build_model()
    pixels = np.random.default_rng(0).integers(0, 256, (20, 28, 28, 3)).astype(np.float32)
    kernel, offset = model.layers[-1].get_weights()
    model.layers[-1].set_weights([kernel, offset + np.linspace(-1, 1, 7)])  # a new bias is 0
    before, weights = model.predict_on_batch(pixels), model.get_weights()
    temperature, bias = 1.7, np.array([0.5, -0.5, 1, 0, -1, 0.25, -0.25])
    fold_calibration(model, temperature, bias)
    expected = softmax(np.log(before.astype(np.float64)) / temperature + bias)
    assert np.allclose(model.predict_on_batch(pixels), expected, atol=1e-6)
    kept = zip(weights[:-2], model.get_weights()[:-2], strict=True)
    assert all(np.array_equal(old, new) for old, new in kept)


def test_a_folded_model_gives_the_class_shares():
    model = build_model()
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (70, 28, 28, 3)).astype(np.float32)
    labels = np.concatenate([np.arange(7), rng.choice(7, 63, p=SHARES)])
    fold_calibration(model, *fit_bias_and_temperature(model.predict_on_batch(pixels), labels))
    shares = np.bincount(labels, minlength=7) / len(labels)
    assert model.predict_on_batch(pixels).mean(axis=0) == pytest.approx(shares, abs=1e-5)


# --- One score for each lesion ---------------------------------------------------------------


def test_one_image_of_each_lesion_whatever_the_order():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (200, 28, 28, 3), np.uint8)
    lesion_ids = rng.integers(0, 60, 200).astype(str)
    chosen = one_image_per_lesion(lesion_ids, pixels)
    assert sorted(lesion_ids[chosen]) == sorted(set(lesion_ids))
    order = rng.permutation(200)
    again = one_image_per_lesion(lesion_ids[order], pixels[order])
    assert np.array_equal(again, chosen[order])


def test_the_choice_is_not_always_the_first_image():
    pixels = np.random.default_rng(0).integers(0, 256, (100, 28, 28, 3), np.uint8)
    chosen = one_image_per_lesion(np.repeat(np.arange(50), 2).astype(str), pixels)
    assert 10 < chosen[::2].sum() < 40


def test_equal_images_of_a_lesion_count_once():
    pixels = np.zeros((3, 28, 28, 3), np.uint8)
    assert one_image_per_lesion(np.array(["a", "a", "b"]), pixels).sum() == 2


def test_where_lesions_are_not_known_every_image_counts():
    assert one_image_per_lesion(None, np.zeros((4, 28, 28, 3), np.uint8)).all()


# --- Clopper–Pearson -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hits", "trials"), [(1, 1), (1, 9), (9, 9), (5, 10), (170, 175), (175, 175), (1400, 1500)]
)
@pytest.mark.parametrize("confidence", [0.8, 0.9, 0.975])
def test_clopper_pearson_is_scipys(hits, trials, confidence):
    beta = require("scipy.stats").beta
    expected = beta.ppf(1 - confidence, hits, trials - hits + 1)
    assert clopper_pearson_lower(hits, trials, confidence) == pytest.approx(expected, rel=1e-9)


def test_clopper_pearson_at_the_ends():
    assert clopper_pearson_lower(0, 10) == 0
    assert clopper_pearson_lower(10, 10) == pytest.approx(0.1 ** (1 / 10))
    assert clopper_pearson(0, 0) == (0, 1)
    assert clopper_pearson(10, 10) == (pytest.approx(0.025 ** (1 / 10)), 1)
    assert clopper_pearson(0, 10) == (0, pytest.approx(1 - 0.025 ** (1 / 10)))


def test_two_sided_clopper_pearson_is_scipys():
    interval = require("scipy.stats").binomtest(155, 175).proportion_ci(0.95, "exact")
    assert clopper_pearson(155, 175) == pytest.approx((interval.low, interval.high), rel=1e-9)


# --- The low-risk threshold ------------------------------------------------------------------


def test_the_highest_threshold_that_finds_enough():
    # With 100 malignant lesions the bound is at least 0.95 for 99 found, and not for 98.
    assert clopper_pearson_lower(99, 100) >= 0.95 > clopper_pearson_lower(98, 100)
    risk = np.concatenate([np.arange(1, 101) / 200, np.zeros(500), np.full(500, 0.9)])
    malignant = np.arange(1100) < 100
    threshold = low_risk_threshold(risk, malignant)
    assert threshold == 2 / 200
    assert (risk[malignant] >= threshold).sum() == 99


def test_equal_malignant_lesions_are_found_or_missed_together():
    risk = np.repeat([0.1, 0.2, 0.3], [1, 2, 97])
    assert low_risk_threshold(risk, np.ones(100, bool)) == 0.2
    risk = np.repeat([0.1, 0.3], [2, 98])
    assert low_risk_threshold(risk, np.ones(100, bool)) == 0.1


@pytest.mark.parametrize(("lesions", "found"), [(0, False), (44, False), (45, True)])
def test_too_few_malignant_lesions_give_no_threshold(lesions, found):
    threshold = low_risk_threshold(np.full(lesions + 9, 0.5), np.arange(lesions + 9) < lesions)
    assert (threshold == 0.5) if found else (threshold is None)


def test_the_sensitivity_is_kept_on_further_lesions():
    rng = np.random.default_rng(0)
    kept = []
    for _ in range(400):
        threshold = low_risk_threshold(rng.random(120), np.ones(120, bool))
        kept.append(1 - threshold >= 0.95)  # for a uniform score, this is the true sensitivity
    assert np.mean(kept) > 0.87  # 0.90 minus three standard errors


# --- Conformal sets --------------------------------------------------------------------------


def own_class(values_of):
    """Return probabilities and labels with the given own-class probabilities for each class."""
    labels = np.concatenate([np.full(len(v), i) for i, v in enumerate(values_of)])
    probabilities = np.zeros((len(labels), 7))
    probabilities[np.arange(len(labels)), labels] = np.concatenate(values_of)
    return probabilities, labels


def test_conformal_thresholds_by_hand():
    rising = np.arange(1, 100) / 100
    # n = 19, 29, 28, 19, 99, 18 and 9: k = 2, 3, 2, 2 and 10; the last two classes are too small.
    values = [rising[:19], rising[:29], rising[:28], np.full(19, 0.5), rising, [0.9] * 18, [1] * 9]
    thresholds, pooled = conformal_thresholds(*own_class(values))
    assert pooled == ("vasc", "mel")
    # Of all 221 lesions k = 22; four classes have 0.01, 0.02, … each, so the 22nd is 0.06.
    assert thresholds == pytest.approx([0.02, 0.03, 0.02, 0.5, 0.10, 0.06, 0.06])


def test_where_lesions_are_too_few_for_the_level_nothing_is_excluded():
    thresholds, _ = conformal_thresholds(*own_class([[0.5]] * 7))
    assert not thresholds.any()


def coverage_of(class_sizes, rounds, least=19):
    """Return, for each class, the mean share of further lesions whose set has their class."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(7), class_sizes)
    covered = []
    for _ in range(rounds):
        # Coarse, so that there are ties.
        thresholds, _ = conformal_thresholds(
            rng.dirichlet(np.ones(7), len(labels)).round(2), labels, least=least
        )
        covered.append((rng.dirichlet(np.ones(7), 200).round(2) >= thresholds).mean(axis=0))
    return np.mean(covered, axis=0)


def test_every_class_is_covered():
    coverage = coverage_of([19, 20, 25, 30, 50, 99, 200], rounds=500)
    assert (coverage > 0.89).all()
    assert (coverage < 0.96).all()


def test_coverage_is_by_class_and_not_of_all_together():
    """An easy class must not make up for a hard one."""
    easy, hard = np.linspace(0.8, 1, 99), np.linspace(0, 0.4, 99)
    thresholds, _ = conformal_thresholds(*own_class([easy, hard, *[easy] * 5]))
    assert (easy >= thresholds[0]).mean() == pytest.approx(0.91, abs=0.01)
    assert (hard >= thresholds[1]).mean() == pytest.approx(0.91, abs=0.01)


# --- The decision facts and their scores -----------------------------------------------------


@pytest.fixture(scope="module")
def fitted():
    probabilities, labels = drawn(3000)
    chosen = np.random.default_rng(1).random(3000) < 0.7
    mean = soften(probabilities, 1.5)
    return mean, labels, chosen, fit_decision_facts(mean, labels, chosen, SHARES)


def test_the_temperature_is_fitted_to_one_image_per_lesion(fitted):
    mean, labels, chosen, facts = fitted
    assert facts.eight_view_temperature == fit_eight_view_temperature(mean[chosen], labels[chosen])


def test_the_rest_is_fitted_after_the_temperature_to_one_image_per_lesion(fitted):
    mean, labels, chosen, facts = fitted
    probabilities = soften(mean, facts.eight_view_temperature)[chosen]
    thresholds, pooled = conformal_thresholds(probabilities, labels[chosen])
    assert facts.conformal_thresholds == tuple(thresholds)
    assert facts.pooled_classes == pooled
    assert facts.low_risk_threshold == low_risk_threshold(
        malignant_probability(probabilities), MALIGNANT[labels[chosen]]
    )


def test_fitted_facts_survive_json(fitted):
    facts = fitted[-1]
    assert DecisionFacts.from_dict(json.loads(json.dumps(facts.to_dict()))) == facts
    assert facts.class_shares == tuple(SHARES)


def test_the_statements_hold_on_the_lesions_they_were_fitted_to(fitted):
    mean, labels, chosen, facts = fitted
    probabilities = soften(mean, facts.eight_view_temperature)[chosen]
    pixels = np.zeros((len(probabilities), 28, 28, 3), np.uint8)
    rules = PictureRules(LIKE, None, PROVEN)
    scores = decision_scores(probabilities, labels[chosen], pixels, facts, rules)
    assert scores["lesions"] == chosen.sum()
    rows = scores["conformal"]["per_class"].values()
    assert min(row["coverage"] for row in rows if not row["pooled"]) >= 0.9
    below = scores["low_risk"]["below_threshold"]
    found = round(below["sensitivity"]["value"] * below["malignant"])
    assert clopper_pearson_lower(found, below["malignant"]) >= 0.95


def test_scores_survive_json():
    scores = by_hand()
    assert json.loads(json.dumps(scores)) == scores


BY_HAND = DecisionFacts(
    eight_view_temperature=1.0,
    class_shares=(0.1, 0.1, 0.1, 0.05, 0.5, 0.05, 0.1),
    low_risk_threshold=0.3,
    conformal_thresholds=(0.1, 0.1, 0.1, 0.1, 0.5, 0.1, 0.2),
    pooled_classes=("df",),
)
# Probabilities of akiec, bcc, bkl, df, nv, vasc, mel; the true class; the statements.
ROWS = [
    ([0, 0, 0, 0, 1, 0, 0], "nv"),  # low risk
    ([0, 0, 0, 0, 0.9, 0, 0.1], "mel"),  # low risk, and wrong
    ([0, 0, 0, 0, 0.75, 0, 0.25], "mel"),  # below the threshold, but flagged and in the set
    ([0, 0, 0, 0, 0.2, 0, 0.8], "mel"),  # named
    ([0, 0, 0, 0.3, 0.7, 0, 0], "nv"),  # df is flagged, wrongly; low risk
    ([0.09, 0.09, 0.09, 0.09, 0.46, 0.09, 0.09], "bkl"),  # nothing fits; df is flagged, wrongly
]
FAMILIAR, UNFAMILIAR = np.uint8(0), np.uint8(255)  # black and white for the rules below
BLACK_IS_FAMILIAR = OutlierDetector(np.zeros((7, 7)), np.eye(7), 100)


def by_hand(first=FAMILIAR, facts=BY_HAND, rules=(BLACK_IS_FAMILIAR, None, PROVEN)):
    """Return the scores of the rows; the first may be unfamiliar."""
    probabilities = np.array([row for row, _ in ROWS])
    labels = np.array([CODES.index(code) for _, code in ROWS])
    pixels = np.zeros((len(ROWS), 28, 28, 3), np.uint8)
    pixels[0] = first
    return decision_scores(probabilities, labels, pixels, facts, PictureRules(*rules))


def test_scores_by_hand():
    scores = by_hand()
    assert scores["lesions"] == 6
    assert (scores["malignant"], scores["melanomas"]) == (3, 3)
    conformal = scores["conformal"]
    assert conformal["coverage"] == pytest.approx(4 / 6)  # not the second and the sixth
    assert conformal["mean_set_size"] == pytest.approx((1 + 1 + 2 + 1 + 2 + 1) / 6)
    assert conformal["per_class"]["mel"] == {
        "lesions": 3,
        "coverage": pytest.approx(2 / 3),
        "pooled": False,
    }
    assert conformal["per_class"]["df"] == {"lesions": 0, "coverage": None, "pooled": True}
    assert scores["flagged"] == {"share": pytest.approx(3 / 6), "right": pytest.approx(1 / 3)}


def counts_of(scores):
    """Return how many lesions each statement is made about, and how many are malignant."""
    return {
        name: (made["lesions"], made["malignant"]) for name, made in scores["statements"].items()
    }


def test_the_levels_by_hand():
    counts = counts_of(by_hand())
    levels = {name: counts[name] for name in ("high", "raised", "unknown", "low")}
    assert levels == {"high": (1, 1), "raised": (2, 1), "unknown": (0, 0), "low": (3, 1)}


def test_what_the_levels_meant_by_hand():
    shares = by_hand()["levels"]
    assert set(shares) == {"high", "raised", "unknown", "low"}
    assert {name: part["value"] for name, part in shares["low"].items()} == {
        "share": 3 / 6,
        "malignant": 1 / 3,
        "of_malignant": 1 / 3,
        "of_melanomas": 1 / 3,
    }
    low, high = clopper_pearson(3, 6)
    assert shares["low"]["share"] == {"value": 0.5, "low": low, "high": high}
    # A share of no lesions is undefined.
    assert shares["unknown"]["malignant"] == {"value": None, "low": None, "high": None}
    assert shares["unknown"]["of_melanomas"]["value"] == 0


def test_an_unfamiliar_picture_is_counted_as_such_and_is_raised():
    counts = counts_of(by_hand(UNFAMILIAR))
    assert (counts["familiar"], counts["unfamiliar"]) == ((5, 3), (1, 0))
    assert (counts["raised"], counts["low"]) == ((3, 1), (2, 1))


def test_low_risk_scores_by_hand():
    low_risk = by_hand()["low_risk"]
    assert low_risk["threshold"] == 0.3
    below, statement = low_risk["below_threshold"], low_risk["statement"]
    assert below["share"] == pytest.approx(5 / 6)
    assert below["malignant"] == 3
    low, high = clopper_pearson(1, 3)
    assert below["sensitivity"] == {"value": pytest.approx(1 / 3), "low": low, "high": high}
    assert below["missed_per_100"] == pytest.approx(200 / 3)
    assert below["specificity"] == 1
    assert statement["share"] == pytest.approx(3 / 6)
    assert statement["sensitivity"]["value"] == pytest.approx(2 / 3)
    assert statement["missed_per_100"] == pytest.approx(100 / 3)
    assert statement["specificity"] == pytest.approx(2 / 3)


@pytest.mark.parametrize("rules", [(None, None, PROVEN), (LIKE, None, None)])
def test_low_risk_is_said_of_nothing_where_a_rule_for_pictures_is_missing(rules):
    assert by_hand(rules=rules)["low_risk"]["statement"]["share"] == 0


def test_without_a_threshold_low_risk_is_never_said():
    facts = DecisionFacts(**{**BY_HAND.to_dict(), "low_risk_threshold": None})
    low_risk = by_hand(facts=facts)["low_risk"]
    assert low_risk["threshold"] is None
    assert low_risk["below_threshold"]["share"] == low_risk["statement"]["share"] == 0
    assert low_risk["below_threshold"]["sensitivity"]["value"] == 1


def test_the_scores_are_those_of_what_is_said():
    """Each statement is scored as `decide` makes it, image by image."""
    probabilities, labels = drawn(300)
    pixels = np.zeros((300, 28, 28, 3), np.uint8)
    pixels[::3] = UNFAMILIAR
    rules = PictureRules(BLACK_IS_FAMILIAR, None, PROVEN)
    familiarities = ["familiar" if i % 3 else "unfamiliar" for i in range(300)]
    said = [
        decide(row, BY_HAND, familiarity, proven=True)
        for row, familiarity in zip(probabilities, familiarities, strict=True)
    ]
    scores = decision_scores(probabilities, labels, pixels, BY_HAND, rules)
    assert scores["low_risk"]["statement"]["share"] == np.mean([one.low_risk for one in said])
    sizes = [len(one.cannot_be_excluded) for one in said]
    assert scores["conformal"]["mean_set_size"] == np.mean(sizes)
