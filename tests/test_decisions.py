"""What may be said of an image: every rule, and every combination of them."""

import json
from itertools import pairwise, product

import numpy as np
import pytest

from lesion_lens.model.decisions import (
    FAMILIARITIES,
    HEADLINES,
    LAST,
    LEVELS,
    MALIGNANT_CODES,
    DecisionFacts,
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

BENIGN_SIDE, MALIGNANT_SIDE = {"benign"}, {"malignant"}
# Which sides the classes of a conformal set are on.
SETS = {
    (): set(),
    ("nv",): BENIGN_SIDE,
    ("bkl", "nv"): BENIGN_SIDE,
    ("mel",): MALIGNANT_SIDE,
    ("akiec",): MALIGNANT_SIDE,
    ("akiec", "mel"): MALIGNANT_SIDE,
    ("nv", "mel"): BENIGN_SIDE | MALIGNANT_SIDE,
    ("akiec", "nv"): BENIGN_SIDE | MALIGNANT_SIDE,
}
NAMED = {"nv": BENIGN_SIDE, "mel": MALIGNANT_SIDE, "akiec": MALIGNANT_SIDE}
FLAGGED = (None, "bkl", "bcc", "akiec")
THRESHOLDS = ("below", "equal", "above", None)  # where the probability lies; None: no threshold
FAMILIARITY = (*FAMILIARITIES, None)
PROVEN = (True, False, None)
# All the combinations in which 'low risk' may be said.
LOW_RISK = {
    ("nv", None, "below", ("nv",), "familiar", True),
    ("nv", None, "below", ("bkl", "nv"), "familiar", True),
    ("nv", "bkl", "below", ("nv",), "familiar", True),
    ("nv", "bkl", "below", ("bkl", "nv"), "familiar", True),
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
    for named, flagged, familiarity, proven in product(NAMED, FLAGGED, FAMILIARITY, PROVEN):
        if flagged == named:
            continue
        combination = (named, flagged, threshold, in_set, familiarity, proven)
        statements = decide(*case(*combination[:4]), familiarity, proven)
        assert statements.most_likely == named, combination
        assert statements.flagged == flagged, combination
        assert set(statements.cannot_be_excluded) == {named, *in_set}, combination
        sides = SETS[in_set] | NAMED[named]
        assert statements.inconclusive is (len(sides) == 2), combination
        assert statements.low_risk is (combination in LOW_RISK), combination


@pytest.mark.parametrize("familiarity", FAMILIARITY)
def test_without_facts_only_what_needs_none_is_said(familiarity):
    statements = decide(np.array([0.1, 0.2, 0, 0, 0.3, 0, 0.4]), None, familiarity, True)
    assert statements.most_likely == "mel"
    assert statements.malignant_probability == pytest.approx(0.7)
    assert statements.likeliest_cancer == "mel"
    assert statements.flagged is None
    assert statements.cannot_be_excluded is None
    assert statements.inconclusive is None
    assert statements.low_risk is None


# --- Statements: ties, order, types ----------------------------------------------------------


def said_of(probabilities, facts=FACTS):
    """Whatever may be said of a picture that nothing is the matter with."""
    return decide(np.array(probabilities), facts, "familiar", proven=True)


def test_of_equals_the_first_is_most_likely():
    statements = said_of([0, 0, 0.1, 0, 0.45, 0, 0.45])
    assert statements.most_likely == "nv"
    assert statements.flagged == "mel"


def test_a_probability_at_its_threshold_is_in_the_set():
    facts = changed(conformal_thresholds=(0.1, 0.2, 0.3, 0.15, 0.4, 0.15, 0.25))
    assert said_of([0, 0, 0, 0, 0.75, 0, 0.25], facts).cannot_be_excluded == ("nv", "mel")


def test_the_most_likely_class_cannot_be_excluded_whatever_its_threshold():
    facts = changed(conformal_thresholds=(0.1, 0.1, 0.1, 0.1, 0.9, 0.1, 0.2))
    assert said_of([0, 0, 0, 0, 0.75, 0, 0.25], facts).cannot_be_excluded == ("nv", "mel")


def test_the_set_is_in_order_of_falling_probability():
    facts = changed(conformal_thresholds=(0.0,) * 7)
    expected = ("bcc", "mel", "df", "nv", "akiec", "bkl", "vasc")
    said = said_of([0.1, 0.3, 0.05, 0.15, 0.15, 0.05, 0.2], facts)
    assert said.cannot_be_excluded == expected


def test_facts_in_numpys_numbers_give_what_json_can_hold():
    low_risk = said_of(*case("nv", None, "below", ("nv",))).low_risk
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

# With these 'low risk' needs less than 0.1 for cancers and precancers together; the conformal set
# holds each of these from 0.06 and a benign class from 0.3; and mel is so rare that 0.04 flag it.
OF_LEVELS = DecisionFacts(
    eight_view_temperature=1.0,
    class_shares=(0.1, 0.1, 0.08, 0.05, 0.6, 0.05, 0.02),
    low_risk_threshold=0.1,
    conformal_thresholds=(0.06, 0.06, 0.3, 0.3, 0.3, 0.3, 0.06),
    pooled_classes=(),
)
# The columns of the table below, from left to right.
PROBABILITIES = {
    "a cancer is most likely": {"mel": 0.4, "nv": 0.3, "bkl": 0.3},
    "cancers have more than half": {"nv": 0.42, "akiec": 0.2, "bcc": 0.2, "mel": 0.18},
    "cancers have a half": {"nv": 0.5, "akiec": 0.25, "bcc": 0.25},
    "cancers have nearly a half": {"nv": 0.51, "akiec": 0.25, "bcc": 0.24},
    "cancers have the threshold of 'low risk'": {"nv": 0.9, "akiec": 0.05, "bcc": 0.05},
    "low, but a cancer is flagged": {"nv": 0.96, "mel": 0.04},
    "low, but a cancer is in the set": {"nv": 0.93, "akiec": 0.07},
    "low, but the set is empty": {"bkl": 0.29, "df": 0.29, "nv": 0.29, "vasc": 0.08, "bcc": 0.05},
    "low": {"nv": 0.98, "akiec": 0.02},
}
LEVEL_OF = {"H": "high", "R": "raised", "L": "low", "?": "unknown"}
# Whether there are decision facts, the familiarity, and whether 'low risk' is proven there.
TABLE = {
    (True, "familiar", True): "H H H R R R R R L",
    (True, "familiar", False): "H H H R R R R R R",
    (True, "familiar", None): "H H H R R R R R R",
    (True, "unfamiliar", True): "H H H R R R R R R",
    (True, "unfamiliar", False): "H H H R R R R R R",
    (True, "unfamiliar", None): "H H H R R R R R R",
    (True, None, True): "H H H R R R R R R",
    (True, None, False): "H H H R R R R R R",
    (True, None, None): "H H H R R R R R R",
    (True, "not dermatoscopic", True): "? ? ? ? ? ? ? ? ?",
    (True, "not dermatoscopic", False): "? ? ? ? ? ? ? ? ?",
    (True, "not dermatoscopic", None): "? ? ? ? ? ? ? ? ?",
    (False, "familiar", True): "? ? ? ? ? ? ? ? ?",
    (False, "familiar", False): "? ? ? ? ? ? ? ? ?",
    (False, "familiar", None): "? ? ? ? ? ? ? ? ?",
    (False, "unfamiliar", True): "? ? ? ? ? ? ? ? ?",
    (False, "unfamiliar", False): "? ? ? ? ? ? ? ? ?",
    (False, "unfamiliar", None): "? ? ? ? ? ? ? ? ?",
    (False, None, True): "? ? ? ? ? ? ? ? ?",
    (False, None, False): "? ? ? ? ? ? ? ? ?",
    (False, None, None): "? ? ? ? ? ? ? ? ?",
    (False, "not dermatoscopic", True): "? ? ? ? ? ? ? ? ?",
    (False, "not dermatoscopic", False): "? ? ? ? ? ? ? ? ?",
    (False, "not dermatoscopic", None): "? ? ? ? ? ? ? ? ?",
}


def level_of(shares, facts, familiarity, proven):
    probabilities = np.array([shares.get(code, 0.0) for code in CODES])
    return risk_level(decide(probabilities, facts, familiarity, proven), familiarity)


def test_the_table_of_levels_has_every_combination():
    assert set(TABLE) == set(product((True, False), FAMILIARITY, PROVEN))
    assert set(LEVEL_OF.values()) == set(LEVELS)


@pytest.mark.parametrize(("has_facts", "familiarity", "proven"), TABLE)
def test_the_level_of_every_combination(has_facts, familiarity, proven):
    expected = TABLE[has_facts, familiarity, proven].split()
    facts = OF_LEVELS if has_facts else None
    levels = {
        name: level_of(shares, facts, familiarity, proven) for name, shares in PROBABILITIES.items()
    }
    assert levels == dict(
        zip(PROBABILITIES, (LEVEL_OF[letter] for letter in expected), strict=True)
    )


def test_without_a_threshold_nothing_is_low():
    facts = DecisionFacts(**{**OF_LEVELS.to_dict(), "low_risk_threshold": None})
    assert level_of(PROBABILITIES["low"], facts, "familiar", True) == "raised"


@pytest.mark.parametrize(("proven", "unproven"), [(True, False), (False, True), (None, False)])
def test_low_risk_that_lacks_nothing_but_its_proof_is_unproven(proven, unproven):
    for name, shares in PROBABILITIES.items():
        probabilities = np.array([shares.get(code, 0.0) for code in CODES])
        said = decide(probabilities, OF_LEVELS, "familiar", proven)
        assert said.unproven == (unproven and name == "low")


# --- The next step ---------------------------------------------------------------------------


def step_after(level, **shares):
    return next_step(level, said_of([shares.get(code, 0.0) for code in CODES]))


def test_at_high_risk_the_likeliest_cancer_is_the_concern():
    assert "appointment now, and say that melanoma is" in step_after("high", mel=0.4, nv=0.6)
    assert "say that melanoma is" in step_after("high", nv=0.4, mel=0.3, bcc=0.2, akiec=0.1)
    assert "say that skin cancer is" in step_after("high", nv=0.4, bcc=0.3, mel=0.2, akiec=0.1)


def test_at_low_risk_the_next_step_is_what_to_watch_for():
    said = step_after("low", nv=1)
    assert said == "If it changes, bleeds or worries you, see a doctor whatever this says."


def test_what_cannot_be_judged_goes_to_a_doctor_whether_it_worries_or_not_if_it_may_be_a_cancer():
    assert step_after("unknown", nv=0.51, mel=0.49).startswith(
        "If this is a mole or spot that worries you, show it to a doctor"
    )
    assert step_after("unknown", nv=0.5, mel=0.5).startswith(
        "If this is a mole or spot, show it to a doctor"
    )


def test_every_next_step_is_a_sentence_that_sends_to_a_doctor():
    for level in LEVELS:
        said = step_after(level, nv=0.5, mel=0.5)
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
