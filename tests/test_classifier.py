"""What is kept of an uploaded file: the image, without its metadata."""

import io

import pytest
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo

from lesion_lens.model.decoder import PREVIEW_SIDE
from lesion_lens.model.decoding import decode
from tests.support.drawings import draw_lesion, encode

LESION = draw_lesion((1200, 900))
SECRET = "taken at home"  # noqa: S105 (not a password, but what metadata may reveal)
SECRET_BYTES = SECRET.encode()


def exif():
    """Return EXIF with the secret in its first directory, and a position in its GPS directory."""
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = SECRET
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] = (51.0, 30.0, 0.0)
    return exif.tobytes()


def iptc():
    """Return a JPEG's IPTC segment with the secret as caption (record 2, data set 120)."""
    caption = b"\x1c\x02\x78" + len(SECRET_BYTES).to_bytes(2, "big") + SECRET_BYTES
    size = len(caption).to_bytes(4, "big")
    segment = b"Photoshop 3.0\0" + b"8BIM\x04\x04\0\0" + size + caption + bytes(len(caption) % 2)
    return b"\xff\xed" + (len(segment) + 2).to_bytes(2, "big") + segment


def png_texts():
    texts = PngInfo()
    texts.add_text("Comment", SECRET)
    texts.add_itxt("Description", SECRET)
    return texts


EVERYTHING = {
    "JPEG": {"comment": SECRET_BYTES, "extra": iptc()},
    "PNG": {"pnginfo": png_texts()},
    "HEIF": {},
    "WEBP": {},
}


@pytest.mark.parametrize("image_format", EVERYTHING)
@pytest.mark.parametrize("mode", ["RGB", "L"])  # L is converted, RGB is kept
def test_the_preview_carries_nothing_but_the_picture(image_format, mode):
    metadata = {"exif": exif(), "xmp": SECRET_BYTES, "icc_profile": SECRET_BYTES}
    data = encode(LESION.convert(mode), image_format, **metadata, **EVERYTHING[image_format])
    assert data.count(SECRET_BYTES) >= 3
    preview = decode(data, with_preview=True).preview
    assert SECRET_BYTES not in preview
    with Image.open(io.BytesIO(preview)) as image:
        assert not image.getexif()
        assert set(image.info) == {"jfif", "jfif_version", "jfif_unit", "jfif_density"}


def test_a_gif_comment_is_not_in_the_preview():
    data = encode(LESION, "GIF", comment=SECRET_BYTES)
    assert SECRET_BYTES in data
    assert SECRET_BYTES not in decode(data, with_preview=True).preview


def test_the_preview_is_upright_and_of_its_size():
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 6
    decoded = decode(encode(LESION, "JPEG", exif=turned), with_preview=True)
    assert decoded.size == (PREVIEW_SIDE * 3 // 4, PREVIEW_SIDE)
    with Image.open(io.BytesIO(decoded.preview)) as image:
        assert image.size == decoded.size


def test_the_preview_changes_nothing_about_the_pixels():
    data = encode(LESION)
    assert (decode(data).pixels == decode(data, with_preview=True).pixels).all()
    assert decode(data).preview is None
