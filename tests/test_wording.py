"""Numbers in words."""

from datetime import date

import pytest

from lesion_lens.model.wording import (
    about_in_100,
    count,
    in_words,
    of_100,
    percent,
    series,
    shorten,
    spelled,
)


@pytest.mark.parametrize(
    ("share", "decimals", "text"),
    [
        (0.5, 0, "50 %"),
        (0.994, 0, "99 %"),
        (0.996, 0, "over 99 %"),
        (0.995, 0, "over 99 %"),
        (0.005, 0, "under 1 %"),
        (1, 0, "over 99 %"),
        (0.9996, 1, "over 99.9 %"),
        (0.0004, 1, "under 0.1 %"),
        (0, 1, "under 0.1 %"),
        (0.001, 1, "0.1 %"),
    ],
)
def test_no_probability_is_written_as_certainty(share, decimals, text):
    assert percent(share, decimals) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.995, "over 99"), (0.99, "99"), (0.5, "50"), (0.01, "1"), (0.005, "fewer than 1")],
)
def test_of_a_hundred_never_all_or_none(share, text):
    assert of_100(share) == text


def test_no_share_is_written_as_none_in_a_hundred():
    assert about_in_100(0.044) == "about 4 in 100"
    assert about_in_100(0.004) == "fewer than 1 in 100"


def test_a_long_name_keeps_its_beginning_and_its_end():
    assert shorten("a.jpg") == "a.jpg"
    assert shorten("x" * 36) == "x" * 36
    assert shorten("the left arm of the day before IMG_1.jpg", 20) == "the left…IMG_1.jpg"


def test_a_count_and_a_day_are_written_as_people_read_them():
    assert count(1497) == "1,497"
    assert in_words(date(2026, 3, 7)) == "7 March 2026"


def test_small_numbers_are_spelled():
    assert [spelled(things) for things in (3, 7, 12, 13)] == ["three", "seven", "twelve", "13"]


def test_a_series_of_names():
    assert series(["mel"]) == "mel"
    assert series(["akiec", "bcc", "mel"], "or") == "akiec, bcc or mel"
