"""Cropped images: what was removed, and that too large a crop is never called low risk."""

import numpy as np
import pytest

from lesion_lens.model.classifier import Classifier
from lesion_lens.model.crops import LEAST_KEPT, LEAST_VIEW, Box, Crop
from scripts.measure_crops import Answers, compare
from skin_cancer_detection import preprocess
from tests.support.drawings import draw_for, encode
from tests.support.models import LITERT
from tests.support.pages import page_of, text_of, upload

LOW = draw_for("low")
HALF = "0.25,0.25,0.75,0.75"


@pytest.mark.parametrize(
    "text",
    [
        *("", "1", "0,0,1", "0,0,1,1,1", "0,0,1,1,", " 0,0,1,1", "0, 0,1,1", "0;0;1;1", "a,0,1,1"),
        *("nan,0,1,1", "0,0,inf,1", "-0.1,0,1,1", "0,0,1.1,1", "0,0,1e0,1", "0,0,0x1,1", "٠,0,1,1"),
        *("0.5,0,0.5,1", "0.6,0,0.5,1", "0,1,1,0", f"0.{'1' * 10},0,1,1", "0,0,1,1\n"),
    ],
)
def test_an_invalid_box_is_refused(text):
    with pytest.raises(ValueError, match=r"numbers|decimals"):
        Box.from_text(text)


def test_a_box_is_read():
    assert Box.from_text("0.1,.2,1.0,0.85") == Box(0.1, 0.2, 1.0, 0.85)


def test_the_share_that_was_removed_is_that_of_the_area():
    assert Crop(Box.from_text(HALF)).removed == pytest.approx(0.75)
    assert Crop(Box()).removed == 0


@pytest.mark.parametrize(("kept", "harmless"), [(1, True), (LEAST_KEPT, True), (0.95, False)])
@pytest.mark.parametrize("side", ["width", "height"])
def test_a_cut_is_harmless_if_it_keeps_nearly_all_of_each_side(kept, harmless, side):
    frame = Box(right=kept) if side == "width" else Box(top=1 - kept)
    assert Crop(frame).is_harmless is harmless


def test_black_that_is_cut_away_is_not_counted():
    view = Box(0.1, 0.15, 0.9, 0.85)
    crop = Crop(view, view)
    assert (crop.removed, crop.is_harmless) == (0, True)
    assert crop.cut_black == pytest.approx(0.44)
    assert Crop(Box(0.05, 0, 1, 1), view).cut_black == pytest.approx(0.05)
    assert Crop(Box(0.5, 0, 1, 1)).cut_black == 0
    assert not Crop(Box(0.2, 0.15, 0.9, 0.85), view).is_harmless


def test_a_black_border_that_leaves_little_is_not_harmless():
    view = Box(right=LEAST_VIEW - 0.01)
    assert not Crop(view, view).is_harmless


def test_a_frame_of_black_alone_is_refused():
    with pytest.raises(ValueError, match="black"):
        Crop(Box(right=0.2), Box(left=0.2))


@pytest.mark.parametrize("level", ["high", "raised", "low", "unknown"])
def test_a_crop_only_takes_back_low(level):
    classify = Classifier(LITERT)
    pixels = preprocess(draw_for(level))
    assert classify(pixels).risk_level == level
    cut = classify(pixels, crop=Crop(Box.from_text(HALF)))
    assert cut.risk_level == ("raised" if level == "low" else level)
    assert cut.statements.cropped is (level == "low")
    assert not cut.statements.low_risk


# --- On the page -----------------------------------------------------------------------------


def test_of_a_large_crop_the_page_does_not_say_low(client):
    page = page_of(upload(client, encode(LOW), crop=HALF))
    assert "raised" in text_of(page, "#level")
    assert text_of(page, "#why").startswith(
        "You cut away 75 % of the picture. The model learned from whole pictures, so it cannot "
        "call the risk low."
    )
    assert not page.select("#meaning")  # its counts are for whole images


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            {"crop": "0.01,0.01,0.99,0.99"},
            "You cut away 4 % of the picture. "
            "The model learned from whole pictures, so this answer is less certain.",
        ),
        (
            {"crop": "0.1,0.1,0.9,0.9", "view": "0.1,0.1,0.9,0.9"},
            "You cut away a black border: 36 % of the picture.",
        ),
        (
            {"crop": "0.05,0,1,1", "view": "0.1,0.1,0.9,0.9"},
            "You cut away a black border: 5 % of the picture.",
        ),
        ({"crop": "0,0,0.999,1"}, "You cut away under 1 % of the picture."),
    ],
)
def test_a_harmless_crop_is_told_and_changes_nothing(client, fields, said):
    page = page_of(upload(client, encode(LOW), **fields))
    assert "low" in text_of(page, "#level")
    assert text_of(page, "#cropped") == said
    assert page.select("#meaning")


def test_of_a_high_result_the_page_tells_the_crop_too(client):
    page = page_of(upload(client, encode(draw_for("high")), crop=HALF))
    assert "high" in text_of(page, "#level")
    assert text_of(page, "#cropped").startswith("You cut away 75 % of the picture.")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"crop": "0,0,2,1"}, "four decimals from 0 to 1"),
        ({"crop": ""}, "four decimals from 0 to 1"),
        ({"crop": "0.5,0,0.4,1"}, "do not form a rectangle"),
        ({"crop": [HALF, HALF]}, "crop must be sent once"),
        ({"view": HALF}, "crop must be sent once"),
        ({"crop": HALF, "view": "x"}, "four decimals from 0 to 1"),
        ({"crop": "0,0,0.2,1", "view": "0.2,0,1,1"}, "only black borders"),
    ],
)
def test_a_crop_that_cannot_be_read_is_named(client, fields, reason):
    response = upload(client, encode(LOW), **fields)
    assert response.status_code == 400
    said = text_of(page_of(response), "#error")
    assert said.startswith("The crop in the form is invalid")
    assert reason in said


def test_a_crop_belongs_to_one_image(client):
    response = upload(client, encode(LOW), encode(LOW), crop=HALF)
    assert response.status_code == 400
    assert "more than one image" in text_of(page_of(response), "#error")


# --- The measuring ---------------------------------------------------------------------------


def test_a_cut_is_judged_by_the_worst_place():
    def answers(*levels, classes="nnnn"):
        return Answers(np.array(levels), np.array(list(classes)))

    whole = answers("high", "high", "raised", "low")
    here = answers("raised", "high", "raised", "raised")
    there = answers("high", "high", "low", "low", classes="mnnn")
    effect = compare(whole, [here, there], np.array([True, False, True, False]))
    assert (effect.high, effect.high_to_low, effect.low, effect.malignant_low) == (1, 0, 1, 1)
    assert effect.changed == 0.25
    assert not effect.is_harmless


def test_of_a_crop_that_cannot_be_judged_no_answer_is_called_less_certain(client):
    page = page_of(upload(client, encode(draw_for("unknown")), crop=HALF))
    assert "unknown" in text_of(page, "#level")
    said = text_of(page, "#cropped")
    assert said.endswith("The model learned from whole pictures. Send the whole picture as well.")
