"""What may be said of an image: every rule, and every combination of them."""

import json
from itertools import product

import numpy as np
import pytest

from lesion_lens.model.decisions import (
    MALIGNANT_CODES,
    VERDICTS,
    DecisionFacts,
    choose_verdict,
    combine_views,
    decide,
    divide_by_prior,
    malignant_probability,
    soften,
)
from skin_cancer_detection import CODES

FACTS = DecisionFacts(
    eight_view_temperature=0.8,
    class_shares=(0.03, 0.05, 0.11, 0.01, 0.67, 0.02, 0.11),
    low_risk_threshold=0.05,
    conformal_thresholds=(0.1, 0.2, 0.3, 0.15, 0.4, 0.15, 0.2),
    pooled_classes=("df", "vasc"),
)


def changed(**values):
    return DecisionFacts(**{**FACTS.to_dict(), **values})


# --- The facts -------------------------------------------------------------------------------


@pytest.mark.parametrize("facts", [FACTS, changed(low_risk_threshold=None, pooled_classes=())])
def test_facts_survive_json(facts):
    assert DecisionFacts.from_dict(json.loads(json.dumps(facts.to_dict()))) == facts


def test_facts_of_a_later_version_may_hold_more():
    assert DecisionFacts.from_dict({**FACTS.to_dict(), "more": 1}) == FACTS


@pytest.mark.parametrize("key", FACTS.to_dict())
def test_missing_fact(key):
    values = FACTS.to_dict()
    del values[key]
    with pytest.raises(ValueError, match=f"lack {key}"):
        DecisionFacts.from_dict(values)


NAN, INFINITE = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *product(
            ["eight_view_temperature"], [0, -1, 1e6, NAN, INFINITE, 10**400, "1", None, True, [1]]
        ),
        *product(
            ["class_shares"],
            [
                [1 / 6] * 6,
                [1 / 8] * 8,
                [0.1] * 7,
                [0.5, 0.5, 0, 0, 0, 0, 0],
                [NAN] * 7,
                ["0.1"] * 7,
                [1.5, *[-0.5 / 6] * 6],
                None,
                0.1,
            ],
        ),
        *product(["low_risk_threshold"], [-0.1, 1.1, NAN, "0.1", True, [0.1]]),
        *product(
            ["conformal_thresholds"],
            [[0.1] * 6, [0.1] * 8, [*[0.1] * 6, 1.1], [*[0.1] * 6, -0.1], [NAN] * 7, "abcdefg"],
        ),
        *product(["pooled_classes"], [["naevus"], ["df", "df"], "df", None, [["df"]], ""]),
    ],
)
def test_spoiled_fact(key, value):
    with pytest.raises(ValueError, match=f"{key} is spoiled"):
        DecisionFacts.from_dict({**FACTS.to_dict(), key: value})


@pytest.mark.parametrize("values", [None, [], "text", 1])
def test_facts_that_are_no_dict(values):
    with pytest.raises(ValueError, match="not a dict"):
        DecisionFacts.from_dict(values)


# --- Probabilities ---------------------------------------------------------------------------


def test_soften_by_hand():
    assert soften([0.8, 0.2], 0.5) == pytest.approx([0.64 / 0.68, 0.04 / 0.68])


def test_soften_divides_the_logits():
    logits = np.random.default_rng(0).normal(size=(5, 3, 7))
    expected = np.exp(logits / 1.7)
    expected /= expected.sum(axis=-1, keepdims=True)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    assert np.allclose(soften(probabilities, 1.7), expected, rtol=1e-12)


@pytest.mark.parametrize("temperature", [1e-4, 1, 1e4])
def test_soften_gives_probabilities_at_any_temperature(temperature):
    softened = soften(np.array([0.3, 0.2, 0.2, 0.2, 0.1, 0, 0], np.float32), temperature)
    assert softened.sum() == pytest.approx(1)
    assert softened.argmax() == 0


def test_views_are_averaged_before_the_temperature():
    views = np.random.default_rng(0).dirichlet(np.ones(7), (8, 4))
    assert np.array_equal(combine_views(views, 0.5), soften(views.mean(axis=0), 0.5))


def test_malignant_are_akiec_bcc_and_mel():
    assert MALIGNANT_CODES == ("akiec", "bcc", "mel")
    assert malignant_probability([[1, 2, 0, 0, 0, 0, 4], [0, 0, 8, 8, 8, 8, 0]]) == pytest.approx(
        [1, 0]
    )
    assert malignant_probability([0.1, 0.2, 0, 0, 0.3, 0, 0.4]) == pytest.approx(0.7)


def test_divide_by_prior_by_hand():
    assert divide_by_prior([0.9, 0.1], [0.99, 0.01]) == pytest.approx([1 / 12, 11 / 12])


# --- Statements: every combination -----------------------------------------------------------

# What the set holds, and whether that is inconclusive.
SETS = {
    (): True,
    ("nv",): False,
    ("bkl", "nv"): False,
    ("mel",): False,
    ("akiec",): False,
    ("akiec", "mel"): False,
    ("nv", "mel"): True,
    ("akiec", "nv"): True,
}
NAMED = ("nv", "mel", "akiec")
FLAGGED = (None, "bkl", "bcc", "akiec")
THRESHOLDS = ("below", "equal", "above", None)  # where the probability lies; None: no threshold
UNLIKE = (True, False, None)
# All the combinations in which 'low risk' may be said.
LOW_RISK = {
    ("nv", None, "below", ("nv",), False),
    ("nv", None, "below", ("bkl", "nv"), False),
    ("nv", "bkl", "below", ("nv",), False),
    ("nv", "bkl", "below", ("bkl", "nv"), False),
}


def case(named, flagged, threshold, in_set):
    """Probabilities and facts for which each of the four holds, independently of the others."""
    probabilities = np.full(7, 0.1)
    probabilities[CODES.index(named)] = 0.4
    shares = probabilities.copy()
    shares[CODES.index(flagged or named)] /= 2  # the rarer, the more its probability says
    risk = malignant_probability(probabilities)
    thresholds = {"below": risk + 0.01, "equal": risk, "above": risk - 0.01, None: None}
    return probabilities, DecisionFacts(
        eight_view_temperature=1.0,
        class_shares=tuple(shares / shares.sum()),
        low_risk_threshold=thresholds[threshold],
        conformal_thresholds=tuple(0.1 if code in in_set else 0.5 for code in CODES),
        pooled_classes=(),
    )


@pytest.mark.parametrize("in_set", SETS, ids="+".join)
@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_statements(threshold, in_set):
    for named, flagged, unlike in product(NAMED, FLAGGED, UNLIKE):
        if flagged == named:
            continue
        combination = (named, flagged, threshold, in_set, unlike)
        statements = decide(*case(*combination[:4]), unlike)
        assert statements.most_likely == named, combination
        assert statements.flagged == flagged, combination
        assert set(statements.cannot_be_excluded) == set(in_set), combination
        assert statements.inconclusive is SETS[in_set], combination
        assert statements.low_risk is (combination in LOW_RISK), combination


@pytest.mark.parametrize("unlike", [True, False, None])
def test_without_facts_only_what_needs_none_is_said(unlike):
    statements = decide(np.array([0.1, 0.2, 0, 0, 0.3, 0, 0.4]), None, unlike)
    assert statements.most_likely == "mel"
    assert statements.malignant_probability == pytest.approx(0.7)
    assert statements.flagged is None
    assert statements.cannot_be_excluded is None
    assert statements.inconclusive is None
    assert statements.low_risk is None


# --- Statements: ties, order, types ----------------------------------------------------------


def test_of_equals_the_first_is_most_likely():
    statements = decide(np.array([0, 0, 0.1, 0, 0.45, 0, 0.45]), FACTS, False)
    assert statements.most_likely == "nv"
    assert statements.flagged == "mel"


def test_a_probability_at_its_threshold_is_in_the_set():
    facts = changed(conformal_thresholds=(0.1, 0.2, 0.3, 0.15, 0.4, 0.15, 0.25))
    probabilities = np.array([0, 0, 0, 0, 0.75, 0, 0.25])
    assert decide(probabilities, facts, False).cannot_be_excluded == ("nv", "mel")


def test_the_set_is_in_order_of_falling_probability():
    probabilities = np.array([0.1, 0.3, 0.05, 0.15, 0.15, 0.05, 0.2])
    facts = changed(conformal_thresholds=(0.0,) * 7)
    expected = ("bcc", "mel", "df", "nv", "akiec", "bkl", "vasc")
    assert decide(probabilities, facts, False).cannot_be_excluded == expected


def test_numpys_own_false_is_known_to_be_like_the_training_images():
    combination = ("nv", None, "below", ("nv",))
    assert decide(*case(*combination), np.False_).low_risk is True
    assert decide(*case(*combination), np.True_).low_risk is False


def test_statements_never_contradict_each_other():
    rng = np.random.default_rng(0)
    said = 0
    for probabilities in rng.dirichlet(np.full(7, 0.1), 3000):
        facts = changed(
            low_risk_threshold=rng.random(), conformal_thresholds=tuple(rng.random(7).tolist())
        )
        statements = decide(probabilities, facts, False)
        assert probabilities[CODES.index(statements.most_likely)] == probabilities.max()
        assert statements.flagged != statements.most_likely
        assert 0 <= statements.malignant_probability <= 1
        named = {statements.most_likely, statements.flagged, *statements.cannot_be_excluded}
        if statements.low_risk:
            said += 1
            assert not statements.inconclusive
            assert not named & set(MALIGNANT_CODES)
            assert statements.malignant_probability < facts.low_risk_threshold
        assert not decide(probabilities, facts, True).low_risk
    assert said > 100


# --- The verdict -----------------------------------------------------------------------------


def test_low_risk_is_the_verdict_of_no_other_statements():
    for named, flagged, threshold, in_set, unlike in product(
        NAMED, FLAGGED, THRESHOLDS, SETS, UNLIKE
    ):
        if flagged == named:
            continue
        statements = decide(*case(named, flagged, threshold, in_set), unlike)
        said = choose_verdict(statements, unlike)
        assert (said == "low risk") is statements.low_risk
        assert (said == "unlike") is bool(unlike)
        assert (said == "inconclusive") is (statements.inconclusive and not unlike)


@pytest.mark.parametrize(
    ("unlike", "said"), [(None, "unknown"), (False, "unknown"), (True, "unlike")]
)
def test_without_facts_the_verdict_is_that_nothing_is_known(unlike, said):
    assert choose_verdict(decide(np.full(7, 1 / 7), None, unlike), unlike) == said


def test_every_verdict_is_one_sentence():
    for sentence in VERDICTS.values():
        assert sentence.count(".") == 1
        assert sentence.endswith(".")
