"""Reading untrusted images."""

import contextlib
import io
import re
import struct
import subprocess
import sys
import time

import numpy as np
import pillow_heif
import pytest
from PIL import ExifTags, Image, ImageOps, TiffImagePlugin

import skin_cancer_detection as scd
from lesion_lens import ROOT
from lesion_lens.model.errors import (
    DamagedImage,
    EmptyImage,
    ImageError,
    ImageTooCostly,
    ImageTooLarge,
    UnsupportedImage,
)
from lesion_lens.model.image_files import may_be_image
from lesion_lens.model.images import _UPRIGHT, FORMATS, read_image
from lesion_lens.model.limits import SUFFIXES
from tests.support.drawings import draw_lesion, encode
from tests.support.hostile import repeated_scan, repeated_strip

LESION = draw_lesion((60, 40))


def sixteen_bits(image):
    """Convert to grey with 0 to 65,535 for black to white; pillow_heif keeps ten bits of it."""
    return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)


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
        ("HEIF", "RGB"), ("HEIF", "L"), ("HEIF", "RGBA"), ("HEIF", "I;16"),
        ("AVIF", "RGB"), ("AVIF", "RGBA"), ("AVIF", "L"),
        ("JPEG2000", "RGB"), ("JPEG2000", "RGBA"), ("JPEG2000", "L"), ("JPEG2000", "LA"),
        ("JPEG2000", "I;16"), ("JPEG2000", "YCbCr"), ("JPEG2000", "CMYK"),
    ],
)  # fmt: skip
def test_every_mode_shows_the_same_lesion(image_format, mode):
    stored = sixteen_bits(LESION) if mode == "I;16" else LESION.convert(mode)
    image = read_image(encode(stored, image_format))
    assert (image.mode, image.size) == ("RGB", LESION.size)
    grey = np.asarray(image.convert("L"), int)
    assert grey[20, 30] < 128 < grey[2, 2]  # dark in the middle, light at the edge


def test_lab_tiff_keeps_its_colours():
    from PIL import ImageCms

    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    data = encode(ImageCms.profileToProfile(LESION, srgb, lab, outputMode="LAB"), "TIFF")
    difference = np.abs(np.asarray(read_image(data), int) - np.asarray(LESION, int))
    assert difference.max() < 12  # LAB has 8 bits a channel


def test_alpha_is_laid_over_white():
    clear = Image.new("RGBA", (4, 4), (10, 20, 30, 0))
    half = Image.new("RGBA", (4, 4), (0, 0, 0, 128))
    assert read_image(encode(clear)).getpixel((0, 0)) == (255, 255, 255)
    assert read_image(encode(half)).getpixel((0, 0)) == (127, 127, 127)


def test_the_alpha_of_a_heic_is_laid_over_white():
    image = Image.new("RGBA", (16, 16), (0, 0, 0, 128))
    for left in (127, 255):  # lossless, but as video colours
        assert read_image(encode(image, "HEIF", quality=-1)).getpixel((8, 8)) == (left,) * 3
        image.putalpha(0)


def test_ten_bits_of_colour_are_scaled_to_eight():
    values = np.full((16, 16, 3), 32896, np.uint16)
    file = io.BytesIO()
    pillow_heif.encode("RGB;16", (16, 16), values.tobytes(), file, quality=-1)
    assert pillow_heif.open_heif(file).info["bit_depth"] == 10
    assert read_image(file.getvalue()).getpixel((8, 8)) == (128, 128, 128)


def test_palette_transparency_is_laid_over_white():
    image = Image.new("P", (4, 4), 0)
    image.putpalette([10, 20, 30])
    assert read_image(encode(image, transparency=0)).getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("image_format", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_and_not_cut_off(image_format):
    values = np.array([[0, 257, 32896, 65535]], np.uint16)
    image = read_image(encode(Image.fromarray(values), image_format))
    assert np.asarray(image)[0, :, 0].tolist() == [0, 1, 128, 255]


def tiff(values, **tags):
    """Write a grey TIFF of 16-bit values, with tags given by name."""
    info = TiffImagePlugin.ImageFileDirectory_v2()
    for name, value in tags.items():
        info[ExifTags.Base[name]] = value
    return encode(Image.fromarray(np.array([values], np.uint16)), "TIFF", tiffinfo=info)


def test_sixteen_bit_white_is_zero_is_turned_round():
    image = read_image(tiff([0, 65535], PhotometricInterpretation=0))
    assert np.asarray(image)[0, :, 0].tolist() == [255, 0]


def test_twelve_bits_are_scaled_by_their_own_full_scale():
    # Pillow cannot write 12-bit TIFFs, so the values are packed here: two in three bytes.
    packed = bytes([0x00, 0x0F, 0xFF, 0x80, 0x00, 0x00])  # 0x000 0xFFF 0x800 0x000
    entries = [
        (256, 3, 1, 4), (257, 3, 1, 1), (258, 3, 1, 12), (259, 3, 1, 1), (262, 3, 1, 1),
        (273, 4, 1, 8), (277, 3, 1, 1), (278, 3, 1, 1), (279, 4, 1, 6),
    ]  # fmt: skip
    directory = struct.pack("<H", len(entries))
    directory += b"".join(struct.pack("<HHII", *entry) for entry in entries) + bytes(4)
    data = b"II*\0" + struct.pack("<I", 14) + packed + directory
    assert np.asarray(read_image(data))[0, :, 0].tolist() == [0, 255, 128, 0]


def test_a_transparent_sixteen_bit_grey_becomes_white():
    values = Image.fromarray(np.array([[0, 40000]], np.uint16))
    image = read_image(encode(values, transparency=0))
    assert np.asarray(image)[0, :, 0].tolist() == [255, 156]


def test_exif_orientation_survives_another_tag_that_is_wrong():
    # The image's width as text, then the orientation; Pillow itself would not write the former.
    tags = struct.pack("<HHI4sHHII", 0x0100, 2, 4, b"wide", 0x0112, 3, 1, 6)
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + tags + bytes(4)
    assert read_image(encode(LESION, "JPEG", exif=exif)).size == (40, 60)


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF", "HEIF", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_turns_the_image_upright(image_format, orientation):
    upright = Image.new("RGB", (48, 32), "white")
    upright.paste("black", (0, 0, 32, 16))  # a corner, so that all orientations look different
    exif = Image.Exif()
    exif[0x0112] = orientation
    # A rotation is undone by the opposite one; the mirrored orientations undo themselves.
    inverse = {6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
    turn = inverse.get(orientation, _UPRIGHT.get(orientation))
    stored = upright if turn is None else upright.transpose(turn)
    options = {"quality": 95} if image_format not in ("PNG", "TIFF") else {}
    # From bytes, pillow_heif writes the orientation into the container too, like a phone.
    read = read_image(encode(stored, image_format, exif=exif.tobytes(), **options))
    assert np.abs(np.asarray(read, int) - np.asarray(upright)).max() < 30
    with Image.open(io.BytesIO(encode(stored, "PNG", exif=exif))) as image:
        expected = ImageOps.exif_transpose(image)
    assert np.array_equal(expected, upright)  # Pillow reads the orientation the same way


def test_a_heic_is_turned_by_its_container_alone():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encode(LESION, "HEIF", exif=exif)  # as an object, it is written only into the EXIF
    assert b"irot" not in data
    assert read_image(data).size == LESION.size


def test_only_the_primary_image_of_a_heic_counts():
    images = [Image.new("RGB", (64, 64), colour) for colour in ("red", "blue")]
    data = encode(images[0], "HEIF", save_all=True, append_images=images[1:], primary_index=1)
    red, _, blue = read_image(data).getpixel((32, 32))
    assert red < blue


def test_only_the_first_frame_counts():
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    data = encode(frames[0], "TIFF", save_all=True, append_images=frames[1:])
    assert read_image(data).getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize("image_format", FORMATS)
def test_half_a_file_is_damaged(image_format):
    data = encode(Image.effect_noise((64, 64), 80), image_format)
    with pytest.raises(DamagedImage, match="damaged or incomplete"):
        read_image(data[: len(data) // 2])


@pytest.mark.parametrize(
    "data", [b"hello", b"\x00" * 100, b"%PDF-1.7", encode(LESION, "PPM"), encode(LESION, "ICO")]
)
def test_other_types_are_refused(data):
    with pytest.raises(UnsupportedImage, match="JPEG, PNG"):
        read_image(data)


@pytest.mark.parametrize("brand", [b"avif", b"mif1", b"msf1"])
def test_an_avif_is_read_whichever_of_its_brands_comes_first(brand):
    data = encode(LESION, "AVIF")
    assert read_image(data[:8] + brand + data[12:]).size == LESION.size


def test_an_empty_file_is_named_so():
    with pytest.raises(EmptyImage, match="empty"):
        read_image(b"")


@pytest.mark.parametrize(
    ("size", "limit"),
    [
        ((5001, 5000), "25 million pixels"),
        ((14000, 13000), "25 million pixels"),
        ((20001, 1), "20,000 pixels on one side"),
        ((1, 20001), "20,000 pixels on one side"),
    ],
)
def test_too_many_pixels_are_refused_before_decoding(size, limit, monkeypatch):
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda self: pytest.fail("decoded"))
    data = io.BytesIO()
    Image.new("1", size).save(data, "PNG")
    with pytest.raises(ImageTooLarge, match=limit):
        read_image(data.getvalue())


SQUARE = draw_lesion((128, 128))  # whole blocks, so that its HEIC needs no cropping


def sizes_changed(data, width, height):
    """Change every `ispe` box of a HEIC, which holds an image's size."""
    size = struct.pack(">II", width, height)
    return re.sub(rb"(?s)ispe\0{4}.{8}", b"ispe\0\0\0\0" + size.replace(b"\\", rb"\\"), data)


def test_a_heic_of_too_many_pixels_is_refused_before_decoding(monkeypatch):
    monkeypatch.setattr("pillow_heif.HeifImage.load", lambda self: pytest.fail("decoded"))
    with pytest.raises(ImageTooLarge, match="25 million pixels"):
        read_image(sizes_changed(encode(SQUARE, "HEIF"), 6000, 5000))


@pytest.mark.skipif(sys.platform == "win32", reason="libheif cannot be reached there")
def test_no_part_of_a_heic_may_be_larger_than_all_of_it_may():
    data = encode(SQUARE, "HEIF", tile_size=64)
    grid = data.index(b"idat") + 8  # version, flags, rows, columns, then width and height
    data = data[:grid] + struct.pack(">HH", 20000, 20000) + data[grid + 4 :]
    with pytest.raises(ImageTooCostly) as caught:
        read_image(data)
    assert "20000x20000 exceeds the maximum image size 27500000" in str(caught.value.__cause__)


def test_what_a_heic_claims_and_what_it_holds_must_agree():
    with pytest.raises(DamagedImage):
        read_image(sizes_changed(encode(SQUARE, "HEIF"), 600, 400))


@pytest.mark.parametrize("image_format", FORMATS)
def test_spoiled_bytes_raise_nothing_but_image_errors(image_format):
    rng = np.random.default_rng(0)
    whole = np.frombuffer(encode(LESION, image_format), np.uint8)
    for _ in range(150):
        spoiled = whole.copy()
        places = rng.integers(len(spoiled), size=rng.integers(1, 20))
        spoiled[places] = rng.integers(256, size=len(places))
        with contextlib.suppress(ImageError):
            assert read_image(spoiled.tobytes()).mode == "RGB"


def test_preprocessing_is_lanczos_of_the_whole_image():
    expected = LESION.resize((28, 28), Image.Resampling.LANCZOS)
    pixels = scd.preprocess(LESION)
    assert pixels.shape == (28, 28, 3)
    assert pixels.dtype == np.uint8
    assert np.array_equal(pixels, np.asarray(expected))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("image_format", "mode", "options"),
    [
        ("PNG", "RGB", {}), ("PNG", "RGBA", {}), ("PNG", "I;16", {}),
        ("TIFF", "F", {"compression": "tiff_lzw"}),
        ("HEIF", "RGB", {"enc_params": {"preset": "ultrafast"}}),
    ],
)  # fmt: skip
def test_the_largest_image_needs_no_more_memory_than_is_promised(
    image_format, mode, options, tmp_path
):
    """The limit is twice 100 MB, a grey copy, and some 60 MB of Python, NumPy and Pillow."""
    Image.new(mode, (5000, 5000)).save(tmp_path / "large", image_format, **options)
    script = (
        "import pathlib, sys\n"
        "from lesion_lens.model.images import read_image\n"
        "from skin_cancer_detection import preprocess\n"
        "preprocess(read_image(pathlib.Path(sys.argv[1]).read_bytes()))\n"
        "print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "large")]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    assert int(done.stdout) * 1024 / 1e6 < 300


# --- Work without end ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("repeated", "times"), [(repeated_scan, 200), (repeated_strip, 1000)], ids=["JPEG", "TIFF"]
)
def test_a_file_that_is_decoded_over_and_over_is_refused_at_once(repeated, times):
    data = repeated(times)
    begin = time.process_time()
    with pytest.raises(ImageTooCostly):
        read_image(data)
    assert time.process_time() - begin < 0.5


@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"exif": b"Exif\0\0" + b"\xff\xda" * 500}]
)
def test_a_sound_jpeg_has_few_scans(options):
    read_image(encode(draw_lesion(), "JPEG", **options))


def test_the_suffixes_are_those_that_pillow_gives_the_formats():
    Image.init()
    known = {suffix for suffix, name in Image.EXTENSION.items() if name in (*FORMATS, "MPO")}
    assert set(SUFFIXES) == known | {".dcm", ".dicom"}


@pytest.mark.parametrize(
    ("name", "is_image"),
    [
        ("a.jpg", True),
        ("a.JFIF", True),
        ("a.mpo", True),
        ("a.hif", True),
        ("ISIC_0000001", True),
        ("1.2.840.10008", True),
        ("a.txt", False),
        (".a.jpg", False),
    ],
)
def test_which_files_of_a_folder_are_images(tmp_path, name, is_image):
    Image.new("RGB", (8, 8)).save(tmp_path / name, "PNG")
    assert may_be_image(str(tmp_path / name)) is is_image


def test_a_text_without_a_suffix_is_no_image(tmp_path):
    (tmp_path / "README").write_text("about these images")
    assert not may_be_image(str(tmp_path / "README"))


@pytest.mark.parametrize("tile", [(0, 0), (20, 20)])
def test_a_jpeg_2000_without_some_of_its_tiles_is_damaged(tile):
    image = Image.effect_noise((60, 45), 60).convert("RGB")
    whole = encode(image, "JPEG2000", tile_size=tile, no_jp2=True)
    assert read_image(whole).size == (60, 45)
    for cut in (whole[: len(whole) // 2], whole[:8] + struct.pack(">II", 90, 45) + whole[16:]):
        with pytest.raises(DamagedImage):
            read_image(cut)
