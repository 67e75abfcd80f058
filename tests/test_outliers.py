"""Whether an image resembles the training images: the distance, its threshold, the reasons."""

import numpy as np
import pytest

from lesion_lens.model import outliers
from lesion_lens.model.views import eight_views
from lesion_lens.training.calibration import one_image_per_lesion
from lesion_lens.training.data import read_dataset
from lesion_lens.training.split import PARTS, split_by_lesion
from scripts import compare_outliers
from skin_cancer_detection import CODES
from tests.support.drawings import draw_spots
from tests.support.skipping import require

LABELS = np.arange(700) % len(CODES)  # of drawn lesions, which look alike in all classes


@pytest.fixture(scope="module")
def fitted():
    return outliers.fit_outlier_detector(draw_spots(700, seed=0), LABELS, draw_spots(200, seed=1))


def test_a_picture_like_the_training_images_is_near(fitted):
    assert fitted.is_outlier(draw_spots(500, seed=2)).mean() < 0.1


@pytest.mark.parametrize(
    "picture",
    [
        np.zeros((28, 28, 3)),
        np.full((28, 28, 3), 255),
        np.full((28, 28, 3), (220, 170, 150)),
        np.random.default_rng(0).integers(0, 256, (28, 28, 3)),
        np.linspace((250, 200, 180), (200, 150, 130), 784).reshape(28, 28, 3),
        255 - draw_spots(1, seed=2)[0],
        draw_spots(1, seed=2)[0].mean(axis=2, keepdims=True).repeat(3, axis=2),
    ],
    ids=["black", "white", "bare skin", "noise", "gradient", "negative", "greyscale"],
)
def test_another_picture_is_far(fitted, picture):
    assert fitted.is_outlier(picture[np.newaxis]).tolist() == [True]


def test_texture_alone_makes_a_picture_far(fitted):
    """Shuffled pixels have the same colours, so only the steps between them can tell."""
    picture = draw_spots(1, seed=6)
    shuffled = np.random.default_rng(0).permutation(picture.reshape(784, 3)).reshape(picture.shape)
    assert fitted.is_outlier(picture).tolist() == [False]
    assert fitted.is_outlier(shuffled).tolist() == [True]


def test_features_of_a_picture_that_can_be_worked_out_by_hand():
    picture = np.zeros((1, 28, 28, 3), np.uint8)
    picture[:, :, 14:, 0] = 60  # the right half is red
    # Along R−B: 60/√2 on one half. Of the 27 steps across a row, one is 60/√3; down, all are 0.
    found = outliers.features(picture)[0]
    means = np.array([30 / 3**0.5, 30 / 2**0.5, -30 / 6**0.5])
    deviations = np.log(np.abs(means) + 0.5)
    steps = np.log(60 / 81**0.5 + 0.5)
    assert found == pytest.approx([*means, *deviations, steps], rel=1e-5)


def test_the_distance_is_that_of_mahalanobis_from_the_nearest_class():
    covariance = np.diag([4.0, 1, 1, 1, 1, 1, 1])
    covariance[0, 1] = covariance[1, 0] = 1
    picture = draw_spots(1, seed=3)
    away = np.array([2.0, 1, 0, 0, 3, 0, 0])
    means = outliers.features(picture) - away * np.array([3, 2, 1, -4, 5, -6, 7])[:, np.newaxis]
    fitted = outliers.OutlierDetector(means, covariance, 1)
    # The inverse of [[4, 1], [1, 1]] is [[1, −1], [−1, 4]] / 3: (4 − 4 + 4) / 3, plus 3².
    assert fitted.distance(picture) == pytest.approx([(4 / 3 + 9) ** 0.5])


def test_five_percent_of_the_calibration_lesions_are_flagged():
    pixels = draw_spots(119, seed=4)
    fitted = outliers.fit_outlier_detector(draw_spots(700, seed=0), LABELS, pixels)
    assert fitted.is_outlier(pixels).sum() == 5  # 5 % of 119 are 5.95
    assert fitted.threshold in fitted.distance(pixels)


def test_the_eight_views_are_equally_far(fitted):
    views = eight_views(np.random.default_rng(0).integers(0, 256, (5, 28, 28, 3)).astype(np.uint8))
    distances = np.stack([fitted.distance(view) for view in views])
    assert np.allclose(distances, distances[0], rtol=1e-4)


def test_a_rare_class_of_other_colours_is_near_too():
    pixels = draw_spots(714, seed=0)
    pixels[700:] = pixels[700:, ..., [1, 2, 0]]
    labels = np.repeat([*range(6), 6], [117, 117, 117, 117, 116, 116, 14])
    fitted = outliers.fit_outlier_detector(pixels, labels, draw_spots(200, seed=1))
    assert fitted.is_outlier(draw_spots(500, seed=2)[..., [1, 2, 0]]).mean() < 0.2
    assert fitted.is_outlier(draw_spots(500, seed=2)[..., [2, 0, 1]]).all()


def test_few_or_equal_images_are_enough():
    pixels = np.repeat(draw_spots(1, seed=0), len(CODES), axis=0)
    fitted = outliers.fit_outlier_detector(pixels, np.arange(len(CODES)), pixels)
    assert not fitted.is_outlier(pixels).any()
    assert fitted.is_outlier(np.zeros((1, 28, 28, 3), np.uint8)).all()


# --- Why a picture is unfamiliar -------------------------------------------------------------

TOO_LITTLE_AND_TOO_MUCH = [
    ("dark", "bright"),
    ("colour cast", "colour cast"),
    ("colour cast", "colour cast"),
    ("little contrast", "strong contrast"),
    ("pale", "colourful"),
    ("pale", "colourful"),
    ("blurred", "grain"),
]


@pytest.mark.parametrize("column", range(7))
@pytest.mark.parametrize("is_too_much", [False, True], ids=["too little", "too much"])
def test_the_reason_is_the_number_that_is_off_by_most(column, is_too_much):
    picture = draw_spots(1, seed=0)
    away = np.full(7, 0.5)
    away[column] = 2 if is_too_much else -2
    means = np.tile(outliers.features(picture) - away, (7, 1))
    reason = outliers.OutlierDetector(means, np.eye(7), 1).reason(picture[0])
    assert reason == TOO_LITTLE_AND_TOO_MUCH[column][is_too_much]


def test_every_reason_can_be_given():
    named = {name for pair in TOO_LITTLE_AND_TOO_MUCH for name in pair}
    assert named | {"frame", "one colour"} == set(outliers.REASONS)


def framed(picture):
    """Add black bars at two sides of a picture."""
    picture = picture.copy()
    picture[:4] = picture[-4:] = 0
    return picture


def test_a_black_frame_is_the_reason_if_the_picture_is_familiar_without_it():
    picture = draw_spots(1, seed=0)
    means = np.tile(outliers.features(picture), (7, 1))
    # Most of the distance is in grey levels.
    fitted = outliers.OutlierDetector(means, np.eye(7), 40)
    assert fitted.is_outlier(framed(picture[0])[np.newaxis]).all()
    assert fitted.reason(framed(picture[0])) == "frame"


def test_a_black_frame_that_the_training_images_have_too_is_no_reason():
    picture = framed(draw_spots(1, seed=0)[0])
    means = np.tile(outliers.features(picture[np.newaxis]), (7, 1))
    means[:, 0] -= 10
    assert outliers.OutlierDetector(means, np.eye(7), 1).reason(picture) == "bright"


def test_a_large_part_of_one_colour_is_the_reason_before_that_colour(fitted):
    picture = draw_spots(1, seed=0)[0]
    picture[:, :10] = (0, 255, 0)
    assert fitted.reason(picture) == "one colour"


# --- On real data ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(ham10000):
    """The detector fitted to HAM10000, and the test part."""
    data = read_dataset(*ham10000)
    training, calibration, test = (
        split_by_lesion(data.lesion_ids, data.labels) == part for part in PARTS
    )
    chosen = one_image_per_lesion(data.lesion_ids, data.pixels)
    fitted = outliers.fit_outlier_detector(
        data.pixels[training], data.labels[training], data.pixels[calibration & chosen]
    )
    return fitted, data.pixels[test]


def test_few_of_the_test_images_are_flagged(real):
    fitted, test = real
    assert 0.02 < fitted.is_outlier(test).mean() < 0.08


def test_nine_in_ten_of_the_photographs_that_report_are_flagged(real):
    require("skimage.data")
    require("sklearn")
    _, photos = compare_outliers.photographs()
    assert len(photos) >= 20
    assert real[0].is_outlier(photos[1::2]).mean() >= 0.9


def test_nine_in_ten_of_the_made_pictures_of_each_kind_are_flagged(real):
    rates = {
        kind: real[0].is_outlier(pictures).mean()
        for kind, pictures in compare_outliers.made_pictures(seed=1).items()
    }
    assert {kind: rate for kind, rate in rates.items() if rate < 0.9} == {}
