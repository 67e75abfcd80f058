"""From the untrusted bytes of a file to an upright RGB image."""

import io
import re
from collections.abc import Callable, Iterator
from typing import Any, cast

import numpy as np
import pillow_heif
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms, ImageFile

from lesion_lens.model.errors import DamagedImage, EmptyImage, ImageTooLarge, UnsupportedImage
from lesion_lens.model.libheif import lower_the_limit
from lesion_lens.model.limits import FORMATS, MAX_PIXELS, MAX_SIDE
from skin_cancer_detection import EXACT_PIXELS

Rows = NDArray[Any]  # some rows of a grey image, (height, width), of whatever dtype it has

DRAFT_SIDE = 600  # pixels; what is left at least of each side of a JPEG, enough for a preview

pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)
lower_the_limit()


def read_image(data: bytes) -> Image.Image:
    """Decode an untrusted file into an upright RGB image.

    Only the decoders of `FORMATS` are tried, and of several frames the first is taken, or the
    primary one of a HEIC. Alpha is laid over white, more than 8 bits are scaled to 8, and the
    orientation is applied. A JPEG of more than `EXACT_PIXELS` is decoded at a half, a quarter or
    an eighth of its size, which its format allows and which takes a fraction of the time.

    Returns:
        An image of mode "RGB", at the file's own size but for large JPEGs.

    Raises:
        EmptyImage, UnsupportedImage, DamagedImage, ImageTooLarge: each with a sentence for the
            person who sent the file.
    """
    if not data:
        raise EmptyImage
    # Pillow's decoders raise nearly anything on spoiled bytes (OSError, ValueError, SyntaxError,
    # struct.error, …), so here every exception means the same: not readable.
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise ImageTooLarge from error
    except Exception as error:
        if _claims_known_format(data):
            raise DamagedImage from error
        raise UnsupportedImage from error
    if image.format == "HEIF" and b"avif" in data[:64]:  # AVIF in the container that HEIC is in
        raise UnsupportedImage
    if image.width * image.height > MAX_PIXELS or max(image.size) > MAX_SIDE:
        raise ImageTooLarge
    if _takes_too_long(image, data):
        raise DamagedImage
    try:
        if image.format in _JPEGS and image.width * image.height > EXACT_PIXELS:
            image.draft(None, (DRAFT_SIDE, DRAFT_SIDE))
        image.load()
        return _upright(_to_rgb(image), _orientation(image))
    except Exception as error:
        raise DamagedImage from error


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        return _sixteen_bits_to_rgb(image)
    if image.mode in ("I", "F"):
        # 32-bit TIFFs have no agreed full scale, so their own range is stretched to 0–255.
        finite = (rows[np.isfinite(rows)] for _, rows in _strips(image))
        ranges = [(float(rows.min()), float(rows.max())) for rows in finite if rows.size]
        low = min((low for low, _ in ranges), default=0)
        high = max((high for _, high in ranges), default=0)
        scale = 255 / (high - low) if high > low else 0
        return _grey_to_rgb(
            image, lambda rows: (np.nan_to_num(np.clip(rows, low, high), nan=low) - low) * scale
        )
    if image.mode == "LAB":
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
        return cast(Image.Image, converted)  # None only if it were done in place
    if image.has_transparency_data:
        rgba = _as_mode(image, "RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(rgba, mask=rgba)
        return white
    return _as_mode(image, "RGB")


def _as_mode(image: Image.Image, mode: str) -> Image.Image:
    # `convert` copies even where there is nothing to convert, and a copy may be 100 MB.
    return image if image.mode == mode else image.convert(mode)


def _sixteen_bits_to_rgb(image: Image.Image) -> Image.Image:
    tags = getattr(image, "tag_v2", {})  # a TIFF's
    bits = tags.get(ExifTags.Base.BitsPerSample, (16,))[0]
    white_is_zero = tags.get(ExifTags.Base.PhotometricInterpretation) == 0
    transparent = image.info.get("transparency")  # a PNG's grey value that stands for nothing

    def to_levels(rows: Rows) -> Rows:
        levels = np.minimum(rows.astype(np.float32) * (255 / (2**bits - 1)), 255)
        if white_is_zero:
            levels = 255 - levels
        return levels if transparent is None else np.where(rows == transparent, 255, levels)

    return _grey_to_rgb(image, to_levels)


def _strips(image: Image.Image) -> Iterator[tuple[int, Rows]]:
    """Yield (top, rows) of a grey image, about a million pixels at a time, to save memory."""
    height = max(1, 1_000_000 // image.width)
    for top in range(0, image.height, height):
        box = (0, top, image.width, min(top + height, image.height))
        yield top, np.asarray(image.crop(box))


def _grey_to_rgb(image: Image.Image, to_levels: Callable[[Rows], Rows]) -> Image.Image:
    """Make an RGB image of a grey one; `to_levels` turns its values into 0–255."""
    grey = Image.new("L", image.size)
    for top, rows in _strips(image):
        grey.paste(Image.fromarray(np.rint(to_levels(rows)).astype(np.uint8)), (0, top))
    return grey.convert("RGB")


# What undoes each EXIF orientation but the upright 1; EXIF 2.32, table 4.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


_JPEGS = ("JPEG", "MPO")  # the second holds several
MAX_SCANS = 100  # of a progressive JPEG; encoders write about ten


def _takes_too_long(image: ImageFile.ImageFile, data: bytes) -> bool:
    """Whether a file has its pixels decoded over and over: seconds for each kilobyte of it."""
    if image.format in _JPEGS:
        # Every scan begins with these two bytes, and to count them takes next to no time.
        return data.count(b"\xff\xda") > MAX_SCANS and _scans(data) > MAX_SCANS
    boxes = filter(None, (extents for _, extents, *_ in image.tile))
    area = sum((right - left) * (lower - upper) for left, upper, right, lower in boxes)
    return area > 2 * image.width * image.height * len(image.getbands())


def _scans(data: bytes) -> int:
    """Count the scans of a JPEG up to its end, by its markers (ITU-T T.81, annex B)."""
    scans, place = 0, 2
    while (marker := _MARKER.search(data, place)) and marker[0] != b"\xff\xd9":
        scans += marker[0] == b"\xff\xda"
        place = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2])
    return scans


_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")  # those that have a length, and the end


def _orientation(image: Image.Image) -> int | None:
    if image.format == "HEIF":  # whose decoder has turned it, by what the container says
        return None
    # Not ImageOps.exif_transpose: it writes all the EXIF anew, and so refuses a sound photograph
    # for the sake of any other tag that is wrong.
    try:
        return image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # EXIF that cannot be read turns nothing
        return None


def _upright(image: Image.Image, orientation: int | None) -> Image.Image:
    return image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image


def _claims_known_format(data: bytes) -> bool:
    """Whether the first bytes are the signature of one of `FORMATS`."""
    Image.init()
    tests = (Image.OPEN[name][1] for name in FORMATS)
    return any(accepts(data[:16]) for accepts in tests if accepts)
