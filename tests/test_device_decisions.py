"""The device makes the same statements on an image as the server: the rules in JavaScript."""

import base64
import json
from dataclasses import asdict
from itertools import product

import numpy as np
import pytest

from lesion_lens.model.classifier import Classifier
from lesion_lens.model.crops import Box, Crop
from lesion_lens.model.decisions import combine_views, decide
from lesion_lens.model.device_rules import rules_of
from lesion_lens.model.familiarity import PictureRules
from lesion_lens.model.images import read_image
from lesion_lens.model.outliers import REASONS, features
from lesion_lens.model.pictures import describe, field_of_view, flat_share
from scripts.compare_outliers import made_pictures
from skin_cancer_detection import preprocess
from tests.support.decision_cases import (
    CASES,
    COLUMNS,
    FAMILIARITY,
    LEVEL_OF,
    LEVEL_TABLE,
    PROVEN,
    combinations,
    crop_of,
    facts_of,
    made_for,
    probabilities_of,
)
from tests.support.drawings import draw_for, draw_grainy_lesion, draw_motley_lesion, draw_spots
from tests.support.models import LIKE, OTHER, OWN, QUICK, UNLIKE, UNPROVEN
from tests.support.models import PROVEN as ALL_PROVEN


@pytest.fixture(scope="module")
def classifier():
    return Classifier(QUICK)


@pytest.fixture(scope="module")
def rules(classifier):
    """The rules as they arrive on the device."""
    return json.loads(json.dumps(rules_of(classifier), allow_nan=False))


def asked(page, script, *arguments):
    """Run a script and return its answer; JSON carries many numbers faster than Playwright does."""
    return json.loads(
        page.evaluate(
            f"async (sent) => JSON.stringify(await ({script})(...JSON.parse(sent)))",
            json.dumps(arguments),
        )
    )


def plain(value):
    """Convert a value to what it is after a round trip through JSON."""
    return json.loads(json.dumps(value))


def differing(found, expected):
    """Return the pairs that differ; for two long lists, pytest would take minutes."""
    return [pair for pair in zip(found, expected, strict=True) if pair[0] != pair[1]]


def sent(crop):
    """Return a crop in the form that templates and JavaScript use."""
    names = ("is_harmless", "removed", "cut_black")
    return crop and {name: getattr(crop, name) for name in names}


# --- The statements --------------------------------------------------------------------------


def said_in_browser(page, rules, questions):
    """Return statements, level, next step and urgency for each question.

    A question is the probabilities, the decision facts, familiarity, proof and crop.
    """
    return asked(
        page,
        """async (rules, questions) => {
            const { decide, nextStep, riskLevel, urgency } = await import("/static/decisions.js");
            return questions.map(([probabilities, facts, familiarity, proven, crop]) => {
                const all = { ...rules, decision_facts: facts };
                const says = decide(probabilities, all, familiarity, proven, crop);
                const level = riskLevel(says, familiarity, all);
                const step = nextStep(level, says, all);
                return [says, level, step, urgency(level, says.malignant_probability, all)];
            });
        }""",
        rules,
        [
            [list(probabilities), facts and facts.to_dict(), familiarity, proven, sent(crop)]
            for probabilities, facts, familiarity, proven, crop in questions
        ],
    )


def test_the_device_says_in_each_case_what_the_table_has(page, rules):
    questions = [
        (
            probabilities_of(case["probabilities"]),
            facts_of(case),
            case["familiarity"],
            case["proven"],
            crop_of(case),
        )
        for case in CASES
    ]
    found = said_in_browser(page, rules, questions)
    for case, (says, level, step, urgency) in zip(CASES, found, strict=True):
        risk = case["says"]["malignant_probability"]
        assert says.pop("malignant_probability") == pytest.approx(risk), case["name"]
        assert says | {"malignant_probability": risk} == case["says"], case["name"]
        assert (level, step) == (case["level"], case["next_step"]), case["name"]
        assert urgency == pytest.approx(case["urgency"]), case["name"]


def test_the_device_gives_the_level_of_every_combination(page, rules):
    questions = [
        (probabilities_of(shares), facts_of(row), row["familiarity"], row["proven"], None)
        for row in LEVEL_TABLE
        for shares in COLUMNS.values()
    ]
    expected = [LEVEL_OF[letter] for row in LEVEL_TABLE for letter in row["levels"].split()]
    assert [level for _, level, *_ in said_in_browser(page, rules, questions)] == expected


def same_statements(page, rules, questions):
    found = [says for says, *_ in said_in_browser(page, rules, questions)]
    return found == [plain(asdict(decide(*question))) for question in questions]


def test_the_device_makes_the_statements_of_every_combination(page, rules):
    questions = [
        (*made_for(*made), familiarity, proven, None)
        for made in combinations()
        for familiarity, proven in product(FAMILIARITY, PROVEN)
    ]
    assert same_statements(page, rules, questions)


def test_the_device_makes_the_statements_of_a_thousand_random_probabilities(
    page, rules, classifier
):
    rng = np.random.default_rng(0)
    crops = [None, Crop(Box(0.01, 0.01, 0.99, 0.99)), Crop(Box(right=0.5))]
    questions = [
        (
            probabilities,
            classifier.decision_facts,
            FAMILIARITY[rng.choice(4, p=[0.7, 0.1, 0.1, 0.1])],
            PROVEN[rng.choice(3, p=[0.6, 0.2, 0.2])],
            crops[rng.integers(3)],
        )
        for concentration in (0.05, 1)
        for probabilities in rng.dirichlet(np.array([1, 1, 1, 1, 8, 1, 1]) * concentration, 500)
    ]
    assert {decide(*question).low_risk for question in questions} == {True, False}
    assert same_statements(page, rules, questions)


def test_the_device_combines_the_views_as_the_server_does(page):
    rng = np.random.default_rng(0)
    views = rng.dirichlet(np.ones(7) / 2, (50, 8)).astype(np.float32)
    views[0] = np.eye(7)[4]  # the other classes have 0
    temperatures = [0.3, 0.73, 1, 2.5, 1e-3]
    found = asked(
        page,
        """async (views, temperatures) => {
            const { combineViews } = await import("/static/decisions.js");
            const typed = views.map((eight) => eight.map((view) => Float32Array.from(view)));
            return temperatures.map((t) => typed.map((eight) => combineViews(eight, t)));
        }""",
        views.tolist(),
        temperatures,
    )
    for temperature, means in zip(temperatures, found, strict=True):
        expected = combine_views(views.swapaxes(0, 1), temperature)
        assert np.allclose(means, expected, rtol=1e-9, atol=1e-300)


# --- Pictures --------------------------------------------------------------------------------


def framed(pictures):
    """Add black at the edges: bars, corners, or a round view, in various sizes."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:28, :28] - 13.5
    made = pictures.copy()
    for number, picture in enumerate(made):
        size = number % 12
        shapes = [
            abs(y) > 13 - size,
            x < size - 14,
            abs(x) + abs(y) > 26 - size,
            np.hypot(x, y) > 16 - size,
        ]
        picture[shapes[number // 12 % 4]] = rng.integers(0, 42)
    return made


def covered(pictures):
    """Cover a part of each picture, down to almost nothing, with one colour."""
    rng = np.random.default_rng(0)
    made = pictures.copy()
    for number, picture in enumerate(made):
        picture[: 1 + number % 28, : 28 - number // 4] = rng.integers(0, 256, 3)
    return made


def changed(pictures):
    """Change light, contrast and colours."""
    rng = np.random.default_rng(0)
    factors = rng.uniform(0.2, 1.5, (len(pictures), 1, 1, 3))
    return np.clip(pictures * factors + rng.normal(0, 30), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def pictures():
    """Pictures of all kinds, uint8 (N, 28, 28, 3)."""
    spots = draw_spots(60, seed=5)
    drawn = [draw(seed) for draw in (draw_grainy_lesion, draw_motley_lesion) for seed in range(20)]
    drawn += [draw_for(level) for level in ("high", "raised", "low", "unknown")]
    lesions = np.stack([preprocess(image) for image in drawn])
    some = np.concatenate([spots[:30], lesions])
    several = [spots, lesions, framed(spots), framed(lesions), covered(spots), changed(some)]
    return np.concatenate([*several, *made_pictures(seed=3).values()])


JUDGE = """async (rules, encoded) => {
    const { judge } = await import("/static/familiarity.js");
    const shapes = await import("/static/pictures.js");
    const bytes = Uint8Array.from(atob(encoded), (letter) => letter.charCodeAt(0));
    const limits = rules.picture_limits;
    return Array.from({ length: bytes.length / 2352 }, (_, k) => {
        const pixels = bytes.subarray(2352 * k, 2352 * (k + 1));
        const inside = shapes.fieldOfView(pixels, limits);
        return {
            judged: judge(pixels, rules),
            inside: Array.from(inside),
            features: shapes.features(pixels, limits),
            described: shapes.describe(pixels, inside, limits),
            flat: shapes.flatShare(pixels, inside, limits),
        };
    });
}"""


def seen_in_browser(page, rules, pictures):
    return asked(page, JUDGE, rules, base64.b64encode(pictures.tobytes()).decode())


def tolerance(picture):
    """How far distances may differ: in float32, the server finds contrast in a single colour."""
    return 1e-4 if np.ptp(picture, axis=(0, 1)).any() else 1e-3


@pytest.fixture(scope="module")
def seen(page, rules, pictures):
    return seen_in_browser(page, rules, pictures)


def judged_by(rules, pictures):
    """Return the result of `PictureRules` for each picture."""
    distances = rules.distances(pictures)
    familiarities = rules.familiarities(pictures, distances)
    return [
        {
            "familiarity": familiarity,
            "reason": rules.reason(picture) if familiarity == "unfamiliar" else None,
            "distance": None
            if distances is None
            else pytest.approx(distances[i], rel=tolerance(picture)),
            "proven": proven,
            "lacks_rules": rules.lack_one,
        }
        for i, (picture, familiarity, proven) in enumerate(
            zip(pictures, familiarities, rules.proven(pictures), strict=True)
        )
    ]


def test_the_device_judges_pictures_as_the_server_does(classifier, pictures, seen):
    assert len(pictures) > 300
    expected = judged_by(classifier.picture_rules, pictures)
    assert {one["familiarity"] for one in expected} == set(FAMILIARITY) - {None}
    assert {one["proven"] for one in expected} == {True, False}
    assert differing([one["judged"] for one in seen], expected) == []


def test_the_device_gives_every_reason(page, rules, classifier, pictures):
    """Without the rule for other pictures, every distant picture has a reason."""
    only = PictureRules(classifier.picture_rules.outliers, None, None)
    expected = judged_by(only, pictures)
    assert {one["reason"] for one in expected} == {None, *REASONS}
    found = seen_in_browser(page, {**rules, "others": None, "groups": None}, pictures)
    assert differing([one["judged"] for one in found], expected) == []


def test_the_device_describes_pictures_as_the_server_does(pictures, seen):
    inside = field_of_view(pictures)
    assert np.array_equal([one["inside"] for one in seen], inside.reshape(len(pictures), -1))
    assert np.allclose([one["flat"] for one in seen], flat_share(pictures, inside), rtol=1e-12)
    described = [one["described"] for one in seen]
    assert np.allclose(described, describe(pictures, inside), rtol=1e-9, atol=1e-9)
    varied = np.ptp(pictures, axis=(1, 2)).all(axis=1)  # others: see `tolerance`
    found_features = np.array([one["features"] for one in seen])
    assert np.allclose(found_features[varied], features(pictures)[varied], rtol=1e-4, atol=1e-3)


def test_the_device_judges_originals_as_the_server_does(page, rules, classifier, original_files):
    originals = np.stack([preprocess(read_image(file.read_bytes())) for file in original_files])
    spoilt = np.concatenate([originals, framed(originals[::2]), changed(originals[1::2])])
    found = [one["judged"] for one in seen_in_browser(page, rules, spoilt)]
    assert differing(found, judged_by(classifier.picture_rules, spoilt)) == []


@pytest.mark.parametrize("outliers", [None, LIKE, UNLIKE])
@pytest.mark.parametrize("others", [None, OWN, OTHER])
@pytest.mark.parametrize("groups", [None, ALL_PROVEN, UNPROVEN])
def test_the_device_judges_with_whatever_rules_there_are(
    page, classifier, monkeypatch, outliers, others, groups
):
    made = PictureRules(outliers, others, groups)
    monkeypatch.setattr(classifier, "picture_rules", made)
    some = draw_spots(3, seed=6)
    found = seen_in_browser(page, rules_of(classifier), some)
    assert [one["judged"] for one in found] == judged_by(made, some)


def test_the_rules_without_decision_facts_have_none(classifier, monkeypatch):
    monkeypatch.setattr(classifier, "decision_facts", None)
    assert rules_of(classifier)["decision_facts"] is None


# --- Crops -----------------------------------------------------------------------------------


def boxes():
    """Frames and views: whole, harmless crops, at a limit, and random ones."""
    rng = np.random.default_rng(0)
    whole = [0, 0, 1, 1]
    limits = [0.96, 0.958, 0.95800, 0.95799, 0.5, 0.498, 0.49799, 0.99999]
    yield from (([0, 0, side, 1], whole) for side in limits)
    yield from (([0, 1 - side, 1, 1], [0, 1 - side, 1, 1]) for side in limits)
    for spread in (0.02, 0.3):
        low, high = rng.uniform(0, spread, (2, 500, 2)), 1 - rng.uniform(0, spread, (2, 500, 2))
        frames, views = np.concatenate([low, high], axis=2).tolist()
        yield from zip(frames, views, strict=True)
        yield from ((frame, whole) for frame in frames[:100])
        yield from ((view, view) for view in views[:100])


def test_the_device_knows_of_a_crop_what_the_server_knows_of_its_fields(page):
    cuts = list(boxes())
    found = asked(
        page,
        """async (cuts) => {
            const { cropOf, fieldsOf, remember } = await import("/static/cuts.js");
            const box = ([left, top, right, bottom]) => ({ left, top, right, bottom });
            return cuts.map(([frame, view]) => {
                const file = new File([], "a.png");
                remember(file, { original: file, frame: box(frame), view: box(view) });
                return [Object.fromEntries(fieldsOf(file)), cropOf(file)];
            });
        }""",
        cuts,
    )
    expected = [
        Crop(Box.from_text(fields["crop"]), Box.from_text(fields["view"])) for fields, _ in found
    ]
    assert differing([crop for _, crop in found], map(sent, expected)) == []
    assert 200 < sum(crop.is_harmless for crop in expected) < len(cuts) - 200


def test_a_whole_picture_has_no_crop(page):
    assert (
        page.evaluate(
            """async () => (await import("/static/cuts.js")).cropOf(new File([], "a.png"))"""
        )
        is None
    )
