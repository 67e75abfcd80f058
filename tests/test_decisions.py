"""The statements on an image: every rule, and every combination of rules."""

import json
from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import pytest

from lesion_lens.model.decisions import (
    HEADLINES,
    LAST,
    LEVELS,
    MALIGNANT_CODES,
    NEXT_STEPS,
    DecisionFacts,
    Statements,
    combine_views,
    decide,
    divide_by_prior,
    malignant_probability,
    next_step,
    risk_level,
    soften,
    urgency,
)
from skin_cancer_detection import CODES
from tests.support.decision_cases import (
    CASES,
    COLUMNS,
    FAMILIARITY,
    LEVEL_OF,
    LEVEL_TABLE,
    NAMED,
    PROVEN,
    SETS,
    combinations,
    crop_of,
    facts_of,
    made_for,
    probabilities_of,
)

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
    with pytest.raises(ValueError, match=f"{key} (is invalid|has [68] numbers for)"):
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

# All combinations in which an image may be called low risk.
LOW_RISK = {
    ("nv", None, "below", ("nv",), "familiar", True),
    ("nv", None, "below", ("bkl", "nv"), "familiar", True),
    ("nv", "bkl", "below", ("nv",), "familiar", True),
    ("nv", "bkl", "below", ("bkl", "nv"), "familiar", True),
}


@pytest.mark.parametrize("made", combinations(), ids=str)
def test_statements(made):
    named, flagged, _, in_set = made
    for familiarity, proven in product(FAMILIARITY, PROVEN):
        statements = decide(*made_for(*made), familiarity, proven)
        assert statements.most_likely == named
        assert statements.flagged == flagged
        assert set(statements.cannot_be_excluded) == {named, *in_set}
        sides = SETS[in_set] | NAMED[named]
        assert statements.inconclusive is (len(sides) == 2)
        assert statements.low_risk is ((*made, familiarity, proven) in LOW_RISK)


# --- Statements: case by case ----------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_what_is_said_in_a_case(case):
    probabilities, familiarity = probabilities_of(case["probabilities"]), case["familiarity"]
    said = decide(probabilities, facts_of(case), familiarity, case["proven"], crop_of(case))
    expected = Statements(**case["says"])
    if expected.cannot_be_excluded is not None:
        expected = replace(expected, cannot_be_excluded=tuple(expected.cannot_be_excluded))
    assert said.malignant_probability == pytest.approx(expected.malignant_probability)
    assert replace(said, malignant_probability=expected.malignant_probability) == expected
    level = risk_level(said, familiarity)
    assert level == case["level"]
    assert next_step(level, said) == case["next_step"]
    assert urgency(level, said.malignant_probability) == pytest.approx(case["urgency"])


def test_the_cases_have_every_level_and_every_next_step():
    assert {case["level"] for case in CASES} == set(LEVELS)
    assert {case["next_step"] for case in CASES} == set(NEXT_STEPS.values())


# --- Statements: types, and contradictions ---------------------------------------------------


def said_of(probabilities, facts):
    """Return the statements on a familiar image for which 'low risk' has proved right."""
    return decide(np.array(probabilities), facts, "familiar", proven=True)


def test_facts_in_numpys_numbers_give_what_json_can_hold():
    low_risk = said_of(*made_for("nv", None, "below", ("nv",))).low_risk
    assert json.dumps(low_risk) == "true"


def test_statements_never_contradict_each_other():
    rng = np.random.default_rng(0)
    said = 0
    for probabilities in rng.dirichlet(np.full(7, 0.1), 3000):
        facts = changed(
            low_risk_threshold=rng.random(), conformal_thresholds=tuple(rng.random(7).tolist())
        )
        statements = said_of(probabilities, facts)
        assert probabilities[CODES.index(statements.most_likely)] == probabilities.max()
        assert statements.flagged != statements.most_likely
        assert 0 <= statements.malignant_probability <= 1
        likeliest = statements.likeliest_cancer
        assert likeliest == max(MALIGNANT_CODES, key=lambda code: probabilities[CODES.index(code)])
        assert statements.cannot_be_excluded[0] == statements.most_likely
        named = {statements.most_likely, statements.flagged, *statements.cannot_be_excluded}
        if statements.low_risk:
            said += 1
            assert not statements.inconclusive
            assert not named & set(MALIGNANT_CODES)
            assert statements.malignant_probability < facts.low_risk_threshold
        assert not decide(probabilities, facts, "unfamiliar", proven=True).low_risk
    assert said > 100


# --- The risk level: every combination -------------------------------------------------------

# The columns have the probabilities, the rows everything else. In this table, 'low risk' needs less
# than 0.1 for cancers and precancers together. The conformal set includes each of these from 0.06
# on, and a benign class from 0.3 on. mel is so rare that 0.04 flags it.


def test_the_table_of_levels_has_every_combination():
    rows = [(row["facts"] is not None, row["familiarity"], row["proven"]) for row in LEVEL_TABLE]
    assert sorted(rows, key=str) == sorted(product((True, False), FAMILIARITY, PROVEN), key=str)
    assert set(LEVEL_OF.values()) == set(LEVELS)


@pytest.mark.parametrize("row", LEVEL_TABLE, ids=str)
def test_the_level_of_every_combination(row):
    levels = {}
    for name, shares in COLUMNS.items():
        familiarity = row["familiarity"]
        said = decide(probabilities_of(shares), facts_of(row), familiarity, row["proven"])
        levels[name] = risk_level(said, familiarity)
    expected = (LEVEL_OF[letter] for letter in row["levels"].split())
    assert levels == dict(zip(COLUMNS, expected, strict=True))


# --- The next step ---------------------------------------------------------------------------


@pytest.mark.parametrize("said", NEXT_STEPS.values())
def test_every_next_step_is_a_sentence_that_sends_to_a_doctor(said):
    assert said.count(".") == 1
    assert "doctor" in said


# --- The order -------------------------------------------------------------------------------


def test_the_most_urgent_is_first_by_level_and_then_by_falling_probability():
    expected = [
        ("high", 0.92),
        ("high", 0.38),  # a cancer is the most likely of many classes
        ("raised", 0.49),
        ("raised", 0.0),
        ("unknown", 0.99),
        ("unknown", 0.01),
        ("low", 0.03),
        ("low", 0.0),
    ]
    shuffled = [expected[i] for i in (5, 2, 7, 0, 3, 6, 1, 4)]
    assert sorted(shuffled, key=lambda answer: urgency(*answer)) == expected


def test_no_probability_lifts_an_answer_above_another_level():
    levels = ("high", "raised", "unknown", "low")
    assert levels == LEVELS
    for more, less in pairwise(levels):
        assert urgency(more, 0) < urgency(less, 1)
    assert 0 <= urgency("high", 1) < urgency("low", 0) < LAST


def test_every_headline_is_one_sentence():
    for sentence in HEADLINES.values():
        assert sentence.count(".") == 1
        assert sentence.endswith(".")
