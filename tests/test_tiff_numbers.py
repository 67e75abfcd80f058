"""TIFFs of floats and other numbers, which Pillow alone reads wrongly or not at all."""

import zlib

import numpy as np
import pytest
from PIL import Image

from attacks.formats import DEFLATE, RAW, SHORT, one_strip, picture_tags
from attacks.formats import tiff as parts
from lesion_lens.model.errors import DamagedImage, UnsupportedVariant
from lesion_lens.model.images import read_image
from tests.support.drawings import draw_grainy_lesion, draw_lesion, encode

LESION = draw_lesion((60, 40))
SHARES = np.asarray(LESION) / 255
PHOTOMETRIC, PLANAR, FORMAT, BITS, EXTRA = 262, 284, 339, 258, 338
KINDS = {"u": 1, "i": 2, "f": 3}


def tiff(numbers, compression=RAW, pixels=None, **changed):
    """Write a TIFF of numbers (height, width, bands) of any type."""
    height, width, bands = numbers.shape
    tags = picture_tags(width, height, bands, compression)
    tags[BITS] = (SHORT, [8 * numbers.itemsize] * bands)
    tags[FORMAT] = (SHORT, [KINDS[numbers.dtype.kind]] * bands)
    tags |= {int(tag[1:]): (SHORT, value) for tag, value in changed.items()}
    data = numbers.tobytes() if pixels is None else pixels
    return one_strip(tags, data)


def assert_same(image, expected=LESION):
    assert image.size == expected.size
    difference = np.asarray(image, int) - np.asarray(expected.convert("RGB"))
    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize("kind", ["<f2", "<f4", "<f8"])
def test_floats_from_0_to_1_are_black_to_white(kind):
    assert_same(read_image(tiff(SHARES.astype(kind))))
    assert_same(read_image(tiff(SHARES[..., 1:2].astype(kind))), LESION.getchannel("G"))


@pytest.mark.parametrize("kind", ["<u4", "<i4", "<f8"])
def test_numbers_up_to_255_are_taken_as_levels(kind):
    assert_same(read_image(tiff(np.asarray(LESION).astype(kind))))


def test_any_other_range_is_stretched_and_what_is_no_number_is_black():
    numbers = np.array([[[-3.0], [1.0], [5.0], [np.nan]]])
    assert np.asarray(read_image(tiff(numbers)))[0, :, 0].tolist() == [0, 128, 255, 0]


def test_the_floating_predictor_is_undone():
    values = SHARES.astype(">f4")  # groups the bytes by significance, then takes differences
    planes = values.reshape(40, -1).view(np.uint8).reshape(40, 180, 4).transpose(0, 2, 1)
    rows = planes.reshape(40, -1, 3)
    steps = np.diff(rows, axis=1, prepend=np.zeros((40, 1, 3), np.uint8))
    pixels = zlib.compress(steps.astype(np.uint8).tobytes())
    assert_same(read_image(tiff(SHARES.astype("<f4"), DEFLATE, pixels, _317=3)))


def test_colours_that_are_apart_are_put_together():
    apart = np.ascontiguousarray(np.moveaxis(np.rint(SHARES * 65535).astype("<u2"), 2, 0))
    offsets = {273: ("<u4", [8 + number * 4800 for number in range(3)]), 279: ("<u4", [4800] * 3)}
    tags = picture_tags(60, 40, 3) | {BITS: (SHORT, [16] * 3), PLANAR: (SHORT, 2)} | offsets
    assert_same(read_image(parts(tags | {278: (SHORT, 40)}, apart.tobytes())))


def test_white_is_zero_is_turned_round():
    numbers = SHARES[..., 1:2].astype("<f4")
    assert_same(read_image(tiff(1 - numbers, _262=0)), LESION.getchannel("G"))


def test_alpha_is_laid_over_white():
    numbers = np.zeros((4, 4, 4), "<f4")
    numbers[..., 3] = 0.5
    image = read_image(tiff(numbers, _262=2, _338=2))
    assert image.getpixel((0, 0)) == (128, 128, 128)


def test_a_large_one_is_reduced_a_strip_at_a_time():
    image = draw_grainy_lesion(0, (1600, 1400))
    floats = tiff((np.asarray(image) / 255).astype("<f4"))
    assert_same(read_image(floats), read_image(encode(image, compress_level=1)))


def test_one_whose_strip_lies_beyond_its_end_is_damaged():
    tags = picture_tags(60, 40) | {BITS: (SHORT, 64), FORMAT: (SHORT, 3)}
    strip = {273: (SHORT, 8), 279: (SHORT, 19_200), 278: (SHORT, 40)}
    with pytest.raises(DamagedImage):
        read_image(parts(tags | strip, bytes(9_600)))


@pytest.mark.parametrize("changed", [{"_259": 22610}, {"_262": 5}, {"_259": 50001}], ids=str)
def test_a_whole_one_that_nothing_reads_is_called_a_variant(changed):
    with pytest.raises(UnsupportedVariant, match="a variant of TIFF"):
        read_image(tiff(np.zeros((8, 8, 3), "<f4" if "_262" in changed else "u1"), **changed))


def test_a_picture_of_no_number_is_damaged():
    nothing = Image.fromarray(np.full((40, 30), np.nan, np.float32))
    with pytest.raises(DamagedImage):
        read_image(encode(nothing, "TIFF"))
