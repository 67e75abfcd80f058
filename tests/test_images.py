"""Reading untrusted images."""

import contextlib
import io

import numpy as np
import pytest
from conftest import draw_lesion, encode
from PIL import Image

import skin_cancer_detection as scd

LESION = draw_lesion((60, 40))


@pytest.mark.parametrize(
    ("image_format", "mode"),
    [
        ("JPEG", "RGB"), ("JPEG", "L"), ("JPEG", "CMYK"),
        ("PNG", "RGB"), ("PNG", "L"), ("PNG", "P"), ("PNG", "1"), ("PNG", "RGBA"), ("PNG", "LA"),
        ("WEBP", "RGB"), ("WEBP", "RGBA"),
        ("BMP", "RGB"), ("BMP", "L"), ("BMP", "P"), ("BMP", "1"), ("BMP", "RGBA"),
        ("TIFF", "RGB"), ("TIFF", "L"), ("TIFF", "P"), ("TIFF", "1"), ("TIFF", "RGBA"),
        ("TIFF", "LA"), ("TIFF", "CMYK"), ("TIFF", "YCbCr"), ("TIFF", "I"), ("TIFF", "F"),
        ("GIF", "P"), ("GIF", "L"), ("GIF", "1"),
    ],
)  # fmt: skip
def test_every_mode_shows_the_same_lesion(image_format, mode):
    image = scd.read_image(encode(LESION.convert(mode), image_format))
    assert (image.mode, image.size) == ("RGB", LESION.size)
    grey = np.asarray(image.convert("L"), int)
    assert grey[20, 30] < 128 < grey[2, 2]  # dark in the middle, light at the edge


def test_lab_tiff_keeps_its_colours():
    from PIL import ImageCms

    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    data = encode(ImageCms.profileToProfile(LESION, srgb, lab, outputMode="LAB"), "TIFF")
    difference = np.abs(np.asarray(scd.read_image(data), int) - np.asarray(LESION, int))
    assert difference.max() < 12  # LAB has 8 bits a channel


def test_alpha_is_laid_over_white():
    clear = Image.new("RGBA", (4, 4), (10, 20, 30, 0))
    half = Image.new("RGBA", (4, 4), (0, 0, 0, 128))
    assert scd.read_image(encode(clear)).getpixel((0, 0)) == (255, 255, 255)
    assert scd.read_image(encode(half)).getpixel((0, 0)) == (127, 127, 127)


def test_palette_transparency_is_laid_over_white():
    image = Image.new("P", (4, 4), 0)
    image.putpalette([10, 20, 30])
    assert scd.read_image(encode(image, transparency=0)).getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("image_format", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_and_not_cut_off(image_format):
    values = np.array([[0, 257, 32896, 65535]], np.uint16)
    image = scd.read_image(encode(Image.fromarray(values), image_format))
    assert np.asarray(image)[0, :, 0].tolist() == [0, 1, 128, 255]


def test_exif_orientation_turns_the_image_upright():
    image = Image.new("RGB", (40, 20), "white")
    image.paste("black", (0, 0, 10, 20))  # black on the left …
    exif = Image.Exif()
    exif[0x0112] = 6  # … stored lying on its left side
    upright = scd.read_image(encode(image, "JPEG", exif=exif))
    assert upright.size == (20, 40)
    assert upright.getpixel((10, 2))[0] < 64
    assert upright.getpixel((10, 37))[0] > 192


def test_only_the_first_frame_counts():
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    data = encode(frames[0], "TIFF", save_all=True, append_images=frames[1:])
    assert scd.read_image(data).getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize("image_format", scd.FORMATS)
def test_half_a_file_is_damaged(image_format):
    data = encode(Image.effect_noise((64, 64), 80), image_format)
    with pytest.raises(scd.DamagedImage, match="damaged or incomplete"):
        scd.read_image(data[: len(data) // 2])


@pytest.mark.parametrize(
    "data", [b"hello", b"\x00" * 100, b"%PDF-1.7", encode(LESION, "PPM"), encode(LESION, "ICO")]
)
def test_other_types_are_refused(data):
    with pytest.raises(scd.UnsupportedImage, match="JPEG, PNG"):
        scd.read_image(data)


def test_an_empty_file_is_named_so():
    with pytest.raises(scd.EmptyImage, match="empty"):
        scd.read_image(b"")


@pytest.mark.parametrize("size", [(5001, 5000), (14000, 13000)])
def test_too_many_pixels_are_refused_before_decoding(size, monkeypatch):
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda self: pytest.fail("decoded"))
    data = io.BytesIO()
    Image.new("1", size).save(data, "PNG")
    with pytest.raises(scd.ImageTooLarge, match="25 million pixels"):
        scd.read_image(data.getvalue())


@pytest.mark.parametrize("image_format", scd.FORMATS)
def test_spoiled_bytes_raise_nothing_but_image_errors(image_format):
    rng = np.random.default_rng(0)
    whole = np.frombuffer(encode(LESION, image_format), np.uint8)
    for _ in range(150):
        spoiled = whole.copy()
        places = rng.integers(len(spoiled), size=rng.integers(1, 20))
        spoiled[places] = rng.integers(256, size=len(places))
        with contextlib.suppress(scd.ImageError):
            assert scd.read_image(spoiled.tobytes()).mode == "RGB"


def test_preprocessing_is_lanczos_of_the_whole_image():
    expected = LESION.resize((28, 28), Image.Resampling.LANCZOS)
    pixels = scd.preprocess(LESION)
    assert pixels.shape == (28, 28, 3)
    assert pixels.dtype == np.uint8
    assert np.array_equal(pixels, np.asarray(expected))
