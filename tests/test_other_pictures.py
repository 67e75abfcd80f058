"""Whether a picture is dermatoscopic: the regression, its fit, and its results."""

import functools

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from lesion_lens import ROOT
from lesion_lens.model.familiarity import PictureRules
from lesion_lens.model.files import read_attributes
from lesion_lens.model.images import read_image
from lesion_lens.model.other_pictures import TERMS, OtherPictureDetector, terms
from lesion_lens.model.outliers import REASONS
from lesion_lens.model.pictures import DESCRIPTION, describe, field_of_view
from lesion_lens.model.views import eight_views
from lesion_lens.training import other_pictures
from lesion_lens.training.data import UNKNOWN
from lesion_lens.training.other_pictures import (
    as_others_take,
    fit_other_picture_detector,
)
from scripts import compare_outliers
from skin_cancer_detection import preprocess
from tests.support.drawings import draw_spots
from tests.support.models import LIKE, OTHER, PROVEN, UNLIKE, UNPROVEN
from tests.support.skipping import require

SPOTS = draw_spots(240, seed=0)
CALIBRATION = draw_spots(40, seed=1)
NOWHERE = np.full(len(SPOTS), UNKNOWN)


@pytest.fixture(scope="module")
def fitted():
    return fit_other_picture_detector(SPOTS, NOWHERE, CALIBRATION)


# --- The score -------------------------------------------------------------------------------


def test_the_terms_are_one_the_standardised_numbers_and_their_products():
    described = np.arange(float(DESCRIPTION))[np.newaxis]
    found = terms(described, np.full(DESCRIPTION, 2.0), np.full(DESCRIPTION, 3.0))[0]
    one, standard, products = np.split(found, [1, 1 + DESCRIPTION])
    last = (DESCRIPTION - 3) / 3
    assert one == 1
    assert standard[[0, 1, 2, -1]] == pytest.approx([-2 / 3, -1 / 3, 0, last])
    # The first number times itself and the next two.
    assert products[:3] == pytest.approx([4 / 9, 2 / 9, 0])
    assert products[-1] == pytest.approx(last**2)
    assert len(products) == DESCRIPTION * (DESCRIPTION + 1) / 2


def test_a_number_that_is_far_out_counts_as_six_standard_deviations():
    nowhere, one = np.zeros(DESCRIPTION), np.ones(DESCRIPTION)
    far, farther = (terms(np.full((1, DESCRIPTION), x), nowhere, one) for x in (6.0, 1e9))
    assert np.array_equal(far, farther)
    assert far.max() == 36


def detector_of(column, threshold):
    """Make a detector whose score is the standardised number in a column."""
    described = describe(SPOTS)
    weights = np.zeros(TERMS)
    weights[1 + column] = 1
    scale = described.std(axis=0)
    scale[scale == 0] = 1
    return OtherPictureDetector(described.mean(axis=0), scale, weights, threshold)


def test_a_picture_above_the_threshold_is_one_of_other_things():
    brightness = describe(SPOTS)[:, 0]
    score = (brightness - brightness.mean()) / brightness.std()
    fitted = detector_of(0, threshold=score[3])
    assert fitted.score(SPOTS) == pytest.approx(score)
    assert fitted.is_other(SPOTS).sum() == (score > score[3]).sum() > 0


def test_a_picture_that_is_more_than_half_of_one_colour_is_one_of_other_things():
    no_score_is_too_high = detector_of(0, threshold=1e9)
    half, more = SPOTS[:1].copy(), SPOTS[:1].copy()
    half[:, :15] = more[:, :18] = 200  # its last row has other neighbours
    assert no_score_is_too_high.is_other(half).tolist() == [False]
    assert no_score_is_too_high.is_other(more).tolist() == [True]


@pytest.mark.filterwarnings("ignore:invalid value", "ignore:overflow")
def test_a_picture_whose_score_is_no_number_is_one_of_other_things():
    described = describe(SPOTS)
    weights = np.where(np.arange(TERMS) % 2, 1e308, -1e308)
    spoilt = OtherPictureDetector(described.mean(axis=0), np.full(DESCRIPTION, 1e-3), weights, 0)
    assert np.isnan(spoilt.score(SPOTS[:1])).all()
    assert spoilt.is_other(SPOTS[:1]).all()


def test_a_black_frame_lowers_the_score_by_its_share_of_the_picture():
    nothing_weighs = OtherPictureDetector(
        np.zeros(DESCRIPTION), np.ones(DESCRIPTION), np.zeros(TERMS), 0
    )
    bar, bars = SPOTS[:1].copy(), SPOTS[:1].copy()
    bar[:, :4] = 0
    bars[:, :4] = bars[:, -4:] = 0
    none, one, two = (nothing_weighs.score(picture)[0] for picture in (SPOTS[:1], bar, bars))
    assert none == 0
    assert one < 0
    assert two == pytest.approx(2 * one)


def test_the_eight_views_have_the_same_score(fitted):
    scores = np.stack([fitted.score(view) for view in eight_views(SPOTS[:5])])
    assert np.allclose(scores, scores[0], atol=1e-6)


# --- Fitting ---------------------------------------------------------------------------------

OTHERS = {
    "black": np.zeros((28, 28, 3)),
    "white": np.full((28, 28, 3), 255),
    "bare skin": np.full((28, 28, 3), (220, 170, 150)),
    "noise": np.random.default_rng(0).integers(0, 256, (28, 28, 3)),
    "gradient": np.linspace((250, 200, 180), (0, 50, 130), 784).reshape(28, 28, 3),
    "stripes": np.where(np.arange(28)[:, np.newaxis] // 2 % 2, 200, 40) * np.ones((28, 28, 3)),
}


@pytest.mark.parametrize("name", OTHERS)
def test_another_picture_is_told_from_lesions(fitted, name):
    assert fitted.is_other(OTHERS[name][np.newaxis]).tolist() == [True]


def test_a_lesion_of_another_camera_is_hardly_ever_one_of_other_things(fitted):
    unseen = as_others_take(draw_spots(500, seed=2), np.random.default_rng(1))
    assert fitted.is_other(draw_spots(500, seed=2)).sum() == 0
    assert fitted.is_other(unseen).mean() < 0.02


def test_the_threshold_lets_pass_99_of_100_images_of_a_clinic_that_the_fit_has_not_seen():
    pixels, is_a = SPOTS.copy(), np.arange(240) < 120
    pixels[~is_a] = 255 - pixels[~is_a]  # b has negatives, so the images of a are the unusual ones
    changed = as_others_take(pixels, np.random.default_rng(0))  # like the fit
    without_a = other_pictures._fit(describe(np.concatenate([pixels[~is_a], changed[~is_a]])))
    scores = np.sort(without_a.score(pixels[is_a]))
    fitted = fit_other_picture_detector(pixels, np.where(is_a, "a", "b"), CALIBRATION)
    assert fitted.threshold == pytest.approx(scores[-2])  # 1 of 120 is beyond


def test_few_images_of_a_clinic_or_of_an_unknown_one_do_not_set_the_threshold():
    pixels, clinics = SPOTS.copy(), np.repeat(["a", "b", UNKNOWN], (100, 40, 100))
    pixels[clinics != "a"] = 255 - pixels[clinics != "a"]
    thresholds = {
        fit_other_picture_detector(pixels, names, CALIBRATION).threshold.item()
        for names in (clinics, NOWHERE)
    }
    assert len(thresholds) == 1


def test_the_same_images_give_the_same_detector(fitted):
    again = fit_other_picture_detector(SPOTS, NOWHERE, CALIBRATION).to_attributes()
    for name, values in fitted.to_attributes().items():
        assert np.array_equal(values, again[name]), name


def test_few_and_equal_images_are_enough():
    pixels = np.repeat(SPOTS[:1], 5, axis=0)
    fitted = fit_other_picture_detector(pixels, NOWHERE[:5], pixels)
    assert not fitted.is_other(pixels).any()
    assert fitted.is_other(OTHERS["noise"][np.newaxis]).all()


def test_as_others_take_an_image_its_colours_and_what_lies_on_it_differ():
    changed = as_others_take(SPOTS, np.random.default_rng(0))
    assert (changed.dtype, changed.shape) == (SPOTS.dtype, SPOTS.shape)
    is_framed = ~field_of_view(changed).all((1, 2))
    assert 0.1 < is_framed.mean() < 0.6
    means, before = (pixels[~is_framed].mean((1, 2)) for pixels in (changed, SPOTS))
    assert np.abs(means - before).mean() > 15  # grey levels


# --- What a file keeps -----------------------------------------------------------------------


# --- All rules for pictures together ---------------------------------------------------------


@pytest.mark.parametrize(
    ("outliers", "others", "familiarity"),
    [
        (LIKE, None, "familiar"),
        (UNLIKE, None, "unfamiliar"),
        (LIKE, OTHER, "not dermatoscopic"),
        (UNLIKE, OTHER, "not dermatoscopic"),
        (None, OTHER, "not dermatoscopic"),
        (None, None, None),
    ],
)
def test_how_far_a_picture_is_known(outliers, others, familiarity):
    assert PictureRules(outliers, others, None).familiarities(SPOTS[:2]) == [familiarity] * 2


@pytest.mark.parametrize(("groups", "said"), [(PROVEN, True), (UNPROVEN, False), (None, None)])
def test_whether_low_risk_is_proven_is_pythons_own_truth(groups, said):
    (proven,) = PictureRules(None, None, groups).proven(SPOTS[:1])
    assert proven is said


def test_a_reason_needs_a_rule_for_unfamiliar_pictures():
    assert PictureRules(None, OTHER, PROVEN).reason(SPOTS[0]) is None
    assert PictureRules(UNLIKE, None, None).reason(SPOTS[0]) in REASONS


def test_the_rules_survive_being_kept():
    kept = PictureRules.from_attributes(PictureRules(LIKE, OTHER, PROVEN).to_attributes())
    assert kept.familiarities(SPOTS[:1]) == ["not dermatoscopic"]
    assert kept.proven(SPOTS[:1]) == [True]
    assert PictureRules(None, None, None).to_attributes() == {}


# --- On real data ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def committed():
    return PictureRules.from_attributes(read_attributes(ROOT / "best_model.h5"))


def share_of_others(rules, pixels):
    return np.mean([said == "not dermatoscopic" for said in rules.familiarities(pixels)])


def test_most_of_the_photographs_that_report_are_not_dermatoscopic(committed):
    require("skimage.data")
    require("sklearn")
    photos = compare_outliers.photographs()[1][1::2]
    assert len(photos) == 14
    assert share_of_others(committed, photos) >= 12 / 14


@pytest.mark.parametrize("seed", [0, 1])
def test_nine_in_ten_of_the_made_pictures_are_not_dermatoscopic(committed, seed):
    made = np.concatenate(list(compare_outliers.made_pictures(seed).values()))
    assert share_of_others(committed, made) >= 0.9


@pytest.fixture(scope="module")
def changed(original_files):
    """A function that changes all originals and caches the results."""
    originals = [read_image(file.read_bytes()) for file in original_files]
    return functools.cache(
        lambda change: np.stack([preprocess(change(image)) for image in originals])
    )


def as_it_is(image):
    return image


def black_outside(image, radius):
    """Keep only a round field of view; its radius is in heights of the image."""
    middle = np.array(image.size) / 2
    corners = (*(middle - radius * image.height), *(middle + radius * image.height))
    mask = Image.new("L", image.size, 255)
    ImageDraw.Draw(mask).ellipse(corners, fill=0)
    drawn = image.copy()
    drawn.paste((5, 5, 5), mask=mask)
    return drawn


def draw_bars(image):
    drawn, (width, height) = image.copy(), image.size
    draw = ImageDraw.Draw(drawn)
    draw.rectangle((0, 0, width, height // 10), "black")
    draw.rectangle((0, height - height // 10, width, height), "black")
    return drawn


def draw_ink_ring(image):
    drawn, (width, height) = image.copy(), image.size
    box = (width * 0.15, height * 0.1, width * 0.85, height * 0.9)
    ImageDraw.Draw(drawn).ellipse(box, outline=(50, 40, 130), width=12)
    return drawn


def draw_ruler(image):
    drawn, (width, height) = image.copy(), image.size
    draw = ImageDraw.Draw(drawn)
    draw.rectangle((0, height - 65, width, height), (225, 225, 220))
    for millimetre, x in enumerate(range(0, width, 10)):
        length = 20 if millimetre % 10 else 40
        draw.line((x, height - 65, x, height - 65 + length), "black", 2)
    return drawn


def draw_hair(image):
    drawn, rng = image.copy(), np.random.default_rng(0)
    for _ in range(15):
        points = rng.uniform(-0.1, 1.1, (3, 2)) * image.size
        ImageDraw.Draw(drawn).line(points.ravel().tolist(), (35, 25, 20), 3)
    return drawn


FRAMES = {
    "dark corners": lambda image: black_outside(image, 0.72),
    "a round black field of view": lambda image: black_outside(image, 0.5),
    "black bars": draw_bars,
}
ARTEFACTS = {"an ink ring": draw_ink_ring, "a ruler": draw_ruler, "hair": draw_hair}


@pytest.mark.parametrize("name", [*FRAMES, *ARTEFACTS])
def test_what_lies_on_an_image_does_not_make_it_one_of_other_things(committed, changed, name):
    assert share_of_others(committed, changed((FRAMES | ARTEFACTS)[name])) == 0


def reasons_of(rules, pixels):
    """Return the reasons for those pictures that are unfamiliar."""
    said = zip(pixels, rules.familiarities(pixels), strict=True)
    return [rules.reason(picture) for picture, known in said if known == "unfamiliar"]


@pytest.mark.parametrize("name", FRAMES)
def test_a_black_frame_is_named_as_the_reason_where_it_alone_is_unfamiliar(
    committed, changed, name
):
    known = np.array(committed.familiarities(changed(as_it_is))) == "familiar"
    reasons = reasons_of(committed, changed(FRAMES[name])[known])
    assert len(reasons) >= 20
    assert np.mean([reason == "frame" for reason in reasons]) >= 0.9


def levels_changed(change):
    """Make a change from a function of the grey levels, a float array (H, W, 3)."""

    def changed_image(image):
        levels = change(np.asarray(image, float))
        return Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8))

    return changed_image


def toward_mean(levels):
    mean = levels.mean((0, 1))
    return mean + 0.4 * (levels - mean)


SPOILT = {
    "darkened": (levels_changed(lambda levels: levels / 2), {"dark"}),
    "brightened": (levels_changed(lambda levels: levels + 70), {"bright", "one colour"}),
    "tinted green": (levels_changed(lambda levels: levels * [0.8, 1.1, 0.8]), {"colour cast"}),
    "tinted blue": (levels_changed(lambda levels: levels * [0.7, 0.85, 1.1]), {"colour cast"}),
    "blurred": (lambda image: image.filter(ImageFilter.GaussianBlur(30)), {"blurred"}),
    "low in contrast": (
        levels_changed(toward_mean),
        {"little contrast", "pale", "one colour"},
    ),
}


@pytest.mark.parametrize("name", SPOILT)
def test_the_reason_fits_what_was_done_to_an_image(committed, changed, name):
    spoil, fitting = SPOILT[name]
    reasons = reasons_of(committed, changed(spoil))
    assert len(reasons) >= 20
    assert np.mean([reason in fitting for reason in reasons]) > 0.6
