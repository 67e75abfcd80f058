"""The description of a picture: field of view, share of a single colour, and its numbers."""

import numpy as np
import pytest

from lesion_lens.model.pictures import (
    COLOUR_AXES,
    DESCRIPTION,
    describe,
    field_of_view,
    fill_frame,
    flat_share,
)
from lesion_lens.model.views import eight_views
from tests.support.drawings import draw_spots

SPOT = draw_spots(1, seed=0)
Y, X = np.mgrid[:28, :28]
EVERYWHERE = np.ones((1, 28, 28), bool)


def covered(mask, colour=0, picture=SPOT):
    """Cover a part of the picture, (28, 28), with one colour."""
    picture = picture.copy()
    picture[:, mask] = colour
    return picture


# --- The field of view -----------------------------------------------------------------------

FRAMES = {
    "bars above and below": ((Y < 4) | (Y >= 24), (Y >= 5) & (Y < 23)),
    "a bar at the left": (X < 3, X >= 4),
    "corners": (abs(X - 13.5) + abs(Y - 13.5) > 22, None),
    "a round view": (np.hypot(X - 13.5, Y - 13.5) > 12, None),
}


@pytest.mark.parametrize("name", FRAMES)
def test_a_black_frame_and_its_neighbours_are_outside(name):
    frame, expected = FRAMES[name]
    inside = field_of_view(covered(frame))[0]
    assert not (inside & frame).any()
    assert inside[13, 13]
    if expected is not None:
        assert np.array_equal(inside, expected)


@pytest.mark.parametrize("turns", range(4))
def test_black_at_any_one_side_is_outside(turns):
    black = np.rot90((X < 5) & (Y > 8) & (Y < 20), turns)
    with_neighbours = np.rot90((X < 6) & (Y > 7) & (Y < 21), turns)
    assert np.array_equal(field_of_view(covered(black))[0], ~with_neighbours)


def test_without_a_frame_everything_is_inside():
    assert field_of_view(SPOT).all()
    assert field_of_view(covered((Y < 4) | (Y >= 24), colour=80)).all()  # dark, but not black


def test_a_black_lesion_that_does_not_reach_the_edge_is_inside():
    black = np.hypot(X - 13.5, Y - 13.5) < 8
    assert field_of_view(covered(black)).all()
    inside = field_of_view(covered(black | (X < 3)))[0]
    assert np.array_equal(inside, X >= 4)


@pytest.mark.parametrize("colour", [0, 39])
def test_of_a_picture_that_is_nearly_all_black_everything_is_inside(colour):
    assert field_of_view(np.full((1, 28, 28, 3), colour)).all()
    assert field_of_view(covered(np.hypot(X - 13.5, Y - 13.5) > 4)).all()


def test_pictures_of_a_batch_do_not_touch_each_other():
    pictures = np.concatenate([covered(X < 3), SPOT, covered(Y >= 20)])
    together = field_of_view(pictures)
    alone = [field_of_view(picture[np.newaxis])[0] for picture in pictures]
    assert np.array_equal(together, alone)


def test_a_frame_is_filled_with_the_mean_colour_of_what_is_inside():
    picture = covered(X >= 14, colour=(10, 20, 30), picture=np.full((1, 28, 28, 3), 90))
    # 14 columns of one colour and two of another.
    filled = fill_frame(picture, (X < 16)[np.newaxis])
    assert filled[0, 0, 20] == pytest.approx([80, 81.25, 82.5])
    assert np.array_equal(filled[0, :, :16], picture[0, :, :16])


# --- One colour ------------------------------------------------------------------------------


def test_a_pixel_is_flat_if_all_that_touch_its_sides_are_like_it():
    picture = np.random.default_rng(0).integers(0, 25, (1, 28, 28, 3)) * 10
    picture[:, 3:8, 3:9] = 7  # 3 × 4 of its 5 × 6 pixels have only equal neighbours
    assert flat_share(picture, EVERYWHERE)[0] == pytest.approx(12 / 784)


def test_neighbours_may_differ_by_one_grey_level_and_by_no_more():
    gradient = np.broadcast_to(X[np.newaxis, ..., np.newaxis], (1, 28, 28, 3))
    assert flat_share(gradient, EVERYWHERE)[0] == 1
    assert flat_share(2 * gradient, EVERYWHERE)[0] == 0


def test_one_colour_is_looked_for_inside_alone():
    frame = X < 14
    inside = field_of_view(covered(frame))
    assert flat_share(covered(frame), inside)[0] < 0.05
    assert flat_share(covered(frame), EVERYWHERE)[0] > 0.4


# --- The numbers -----------------------------------------------------------------------------


def numbers(picture):
    """Return the numbers that describe one picture, by kind."""
    found = describe(picture)[0]
    parts = {"means": 3, "deviations": 3, "steps": 4, "kurtosis": 3, "outward": 1, "symmetric": 3}
    parts |= {"flat": DESCRIPTION - sum(parts.values())}
    ends = np.cumsum(list(parts.values()))
    assert ends[-1] == len(found) == DESCRIPTION
    return dict(zip(parts, np.split(found, ends[:-1]), strict=True))


def test_the_description_of_a_picture_that_can_be_worked_out_by_hand():
    picture = np.zeros((1, 28, 28, 3))
    picture[..., 0] = np.where(X % 2, 150, 50)  # alternate columns of two reds
    found = numbers(picture)
    along = np.array([1 / 3**0.5, 1 / 2**0.5, 1 / 6**0.5])  # how much of each axis red is
    assert found["means"] == pytest.approx(100 * along * [1, 1, -1], rel=1e-5)
    assert found["deviations"] == pytest.approx(np.log(50 * along + 0.5), rel=1e-5)
    # Across, neighbours differ by 100 and pixels an even number apart do not; down, none differ.
    expected = np.log([100 / 3**0.5 + 0.5, 0.5, 0.5, 0.5])
    assert found["steps"] == pytest.approx(expected, rel=1e-5)
    # The kurtosis of two equally frequent values is 1, and alternating columns have no shape.
    assert found["kurtosis"] == pytest.approx(np.full(3, np.log(1.2)), abs=2e-3)
    assert found["outward"] == pytest.approx(0, abs=1e-6)
    assert found["symmetric"] == pytest.approx(0, abs=1e-6)


def test_a_spot_in_the_middle_is_lighter_outwards_and_the_same_from_all_sides():
    distances = np.hypot(X - 13.5, Y - 13.5)
    spot = numbers(np.repeat((100 + 5 * distances)[np.newaxis, ..., np.newaxis], 3, axis=3))
    assert spot["outward"] > 1.5
    assert np.sin(spot["symmetric"][0]) ** 2 == pytest.approx(1, abs=1e-3)
    hollow = numbers(np.repeat((200 - 5 * distances)[np.newaxis, ..., np.newaxis], 3, axis=3))
    assert hollow["outward"] == pytest.approx(-spot["outward"])


def test_writing_and_noise_hardly_grow_with_the_distance_and_a_spot_does():
    noise = numbers(np.random.default_rng(0).integers(0, 256, (1, 28, 28, 3)))["steps"]
    assert np.ptp(noise) < 0.1
    spot = numbers(SPOT)["steps"]
    assert (np.diff(spot) > 0.3).all()


def test_a_description_is_the_same_for_all_turns_and_mirror_images():
    described = np.stack([describe(view) for view in eight_views(draw_spots(5, seed=1))])
    assert np.allclose(described, described[0], atol=1e-6)


def test_only_what_is_inside_the_field_of_view_is_described():
    inside = SPOT[0, 5:23].reshape(-1, 3) @ COLOUR_AXES.T
    found = numbers(covered((Y < 4) | (Y >= 24)))
    assert found["means"] == pytest.approx(inside.mean(axis=0), rel=1e-5)
    assert found["deviations"] == pytest.approx(np.log(inside.std(axis=0) + 0.5), rel=1e-5)


def test_of_what_a_frame_is_black_does_not_matter():
    frame = (Y < 4) | (Y >= 24)
    blacks = np.random.default_rng(0).integers(0, 40, (frame.sum(), 3))
    assert np.allclose(describe(covered(frame)), describe(covered(frame, colour=blacks)))


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_picture_of_one_colour_has_a_description_too(level):
    assert np.isfinite(describe(np.full((1, 28, 28, 3), level, np.uint8))).all()
