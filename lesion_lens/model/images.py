"""From the untrusted bytes of a file to an upright RGB image."""

import io
import math
import re
from collections.abc import Callable, Iterator
from typing import Any, cast

import numpy as np
import pillow_heif
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms, ImageFile

from lesion_lens.model.errors import (
    DamagedImage,
    EmptyImage,
    ImageTooCostly,
    ImageTooLarge,
    UnsupportedImage,
)
from lesion_lens.model.libheif import lower_the_limit
from lesion_lens.model.limits import FORMATS, MAX_PIXELS, MAX_SIDE, MEGA, max_pixels
from skin_cancer_detection import EXACT_PIXELS, REDUCING_GAP, SIDE

Rows = NDArray[Any]  # some rows of a grey image, (height, width), of whatever dtype it has

DRAFT_SIDE = 600  # pixels; what is left at least of each side of a JPEG, enough for a preview

pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)
pillow_heif.options.DECODE_THREADS = 1  # what runs at once is for the scheduler to say
lower_the_limit()


def read_image(data: bytes, reserve: Callable[[int], None] = lambda _: None) -> Image.Image:
    """Decode an untrusted file into an upright RGB image.

    Only the decoders of `FORMATS` are tried, and of several frames the first is taken, or the
    primary one of a HEIC. Alpha is laid over white, more than 8 bits are scaled to 8, and the
    orientation is applied. An image of more than `EXACT_PIXELS` is reduced: a JPEG while it is
    decoded, to a half, a quarter or an eighth, which its format allows and which takes a fraction
    of the time; any other afterwards by a whole factor, a strip at a time, to save memory.

    Args:
        data: the bytes of the file.
        reserve: called with the bytes of memory that decoding will take, once they are known.

    Returns:
        An image of mode "RGB", at the file's own size up to `EXACT_PIXELS`.

    Raises:
        EmptyImage, UnsupportedImage, DamagedImage, ImageTooLarge, ImageTooCostly: each with a
            sentence for the person who sent the file.
    """
    if not data:
        raise EmptyImage
    image = _opened(data, reserve)
    if image.format == "HEIF" and b"avif" in data[:64]:  # AVIF in the container that HEIC is in
        raise UnsupportedImage
    most = max_pixels(image.format)
    if image.width * image.height > most or max(image.size) > MAX_SIDE:
        raise ImageTooLarge(megapixels=most // MEGA)
    if _takes_too_long(image, data):
        raise ImageTooCostly
    full_size = image.size
    try:
        if image.format in _JPEGS and image.width * image.height > EXACT_PIXELS:
            image.draft(None, (DRAFT_SIDE, DRAFT_SIDE))
        if image.format != "WEBP":  # whose memory is reserved
            reserve(_memory_of(image, full_size, data))
        if image.width * image.height <= EXACT_PIXELS:
            image.load()
            rgb = _converter(image)(image)
        else:
            rgb = _reduced(*(_heic_rows(data) if image.format == "HEIF" else _rows(image)))
        return _upright(rgb, _orientation(image))
    except Exception as error:
        raise (ImageTooCostly if _is_out_of_memory(error) else DamagedImage) from error


def _opened(data: bytes, reserve: Callable[[int], None]) -> ImageFile.ImageFile:
    """Read what stands before the pixels; raises what `read_image` does."""
    if data[:4] == b"RIFF":  # a WebP, for which the decoder takes its memory as it is opened
        pixels, most = _webp_pixels(data), max_pixels("WEBP")
        if pixels > most:
            raise ImageTooLarge(megapixels=most // MEGA)
        reserve(_BYTES_PER_PIXEL["WEBP"] * pixels)
    # Pillow's decoders raise nearly anything on spoiled bytes (OSError, ValueError, SyntaxError,
    # struct.error, …), so here every exception means the same: not readable.
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise ImageTooLarge(megapixels=MAX_PIXELS // MEGA) from error
    except Exception as error:
        if _is_out_of_memory(error):
            raise ImageTooCostly from error
        raise (DamagedImage if has_known_signature(data) else UnsupportedImage) from error


def _webp_pixels(data: bytes) -> int:
    """The pixels of a WebP's canvas, by its first chunk (RFC 9649, sections 2.5 to 2.7)."""
    head = int.from_bytes(data[20:30], "little")
    if data[12:16] == b"VP8X":
        return (1 + (head >> 32) % 2**24) * (1 + (head >> 56) % 2**24)
    if data[12:16] == b"VP8L":
        return (1 + (head >> 8) % 2**14) * (1 + (head >> 22) % 2**14)
    return ((head >> 48) % 2**14) * ((head >> 64) % 2**14)  # VP8, and what is none of the three


def _is_out_of_memory(error: Exception) -> bool:
    """Whether it was memory that failed; libheif says so in words alone."""
    return isinstance(error, MemoryError) or "emory alloc" in str(error)


# What decoding takes for each pixel, in bytes, at most: measured, and the kernel holds them to it
# (decoder.py). Pillow decodes every WebP as if it were animated, and holds it four times.
_BYTES_PER_PIXEL = {"HEIF": 5, "WEBP": 17}
_ANY_OTHER = 4


def _memory_of(image: Any, full_size: tuple[int, int], data: bytes) -> int:
    """Say how many bytes it takes to decode an opened image.

    Args:
        image: after its `draft`.
        full_size: before it.
        data: its file.
    """
    needed = image.width * image.height * _BYTES_PER_PIXEL.get(image.format or "", _ANY_OTHER)
    # Of several scans, two bytes for each coefficient are kept, however much is reduced.
    if image.info.get("progressive") or (image.format in _JPEGS and _has_several_scans(data)):
        samples = [(across, down) for _, across, down, _ in image.layer]
        largest = max(across for across, _ in samples) * max(down for _, down in samples)
        share = sum(across * down for across, down in samples) / largest
        needed += math.ceil(2 * share * full_size[0] * full_size[1])
    return needed


# --- Whole images, and strips of large ones --------------------------------------------------

Converter = Callable[[Image.Image], Image.Image]  # of an image or a strip of it, to mode "RGB"
StripOf = Callable[[int, int], Image.Image]  # rows from a first to before a last


def _rows(image: Image.Image) -> tuple[tuple[int, int], StripOf, Converter]:
    """Give what `_reduced` takes of an image in memory."""
    image.load()

    def strip_of(top: int, bottom: int) -> Image.Image:
        return image.crop((0, top, image.width, bottom))

    return image.size, strip_of, _converter(image)


def _heic_rows(data: bytes) -> tuple[tuple[int, int], StripOf, Converter]:
    """Give the same of a HEIC, without the copy of all its pixels that Pillow would make."""
    image = pillow_heif.open_heif(io.BytesIO(data), convert_hdr_to_8bit=True)
    pixels, stride, mode = memoryview(image.data), image.stride, image.mode

    def strip_of(top: int, bottom: int) -> Image.Image:
        size = (image.size[0], bottom - top)
        rows = bytes(pixels[top * stride : bottom * stride])
        return Image.frombuffer(mode, size, rows, "raw", mode, stride, 1)

    return image.size, strip_of, _converter(strip_of(0, 1))


def _reduced(size: tuple[int, int], strip_of: StripOf, to_rgb: Converter) -> Image.Image:
    """Reduce a large image by the largest whole factor that leaves LANCZOS enough to see."""
    factor = max(1, min(size) // (REDUCING_GAP * SIDE))
    height = factor * max(1, _STRIP // (factor * size[0]))
    reduced = Image.new("RGB", (-(-size[0] // factor), -(-size[1] // factor)))
    for top in range(0, size[1], height):
        strip = to_rgb(strip_of(top, min(top + height, size[1])))
        reduced.paste(strip.reduce(factor), (0, top // factor))
    return reduced


_STRIP = 1_000_000  # pixels that are converted at a time


def _converter(image: Image.Image) -> Converter:
    """Give what makes mode "RGB" of a loaded image or of strips of it."""
    if image.mode.startswith("I;16"):
        to_levels = _sixteen_bits(image)
        return lambda strip: _grey_to_rgb(strip, to_levels)
    if image.mode in ("I", "F"):
        to_range = _own_range(image)
        return lambda strip: _grey_to_rgb(strip, to_range)
    if image.mode == "LAB":
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        transform = ImageCms.buildTransform(lab, srgb, "LAB", "RGB")
        # None only if it were done in place
        return lambda strip: cast(Image.Image, ImageCms.applyTransform(strip, transform))
    if image.has_transparency_data:
        return _over_white
    return lambda strip: strip.convert("RGB")


def _over_white(image: Image.Image) -> Image.Image:
    rgba = image.convert("RGBA")
    white = Image.new("RGB", image.size, "white")
    white.paste(rgba, mask=rgba)
    return white


def _own_range(image: Image.Image) -> Callable[[Rows], Rows]:
    # 32-bit TIFFs have no agreed full scale, so their own range is stretched to 0–255.
    finite = (rows[np.isfinite(rows)] for rows in _few_rows(image))
    ranges = [(float(rows.min()), float(rows.max())) for rows in finite if rows.size]
    low = min((low for low, _ in ranges), default=0)
    high = max((high for _, high in ranges), default=0)
    scale = 255 / (high - low) if high > low else 0
    return lambda rows: (np.nan_to_num(np.clip(rows, low, high), nan=low) - low) * scale


def _sixteen_bits(image: Image.Image) -> Callable[[Rows], Rows]:
    tags = getattr(image, "tag_v2", {})  # a TIFF's
    bits = tags.get(ExifTags.Base.BitsPerSample, (16,))[0]
    white_is_zero = tags.get(ExifTags.Base.PhotometricInterpretation) == 0
    transparent = image.info.get("transparency")  # a PNG's grey value that stands for nothing

    def to_levels(rows: Rows) -> Rows:
        levels = np.minimum(rows.astype(np.float32) * (255 / (2**bits - 1)), 255)
        if white_is_zero:
            levels = 255 - levels
        return levels if transparent is None else np.where(rows == transparent, 255, levels)

    return to_levels


def _grey_to_rgb(image: Image.Image, to_levels: Callable[[Rows], Rows]) -> Image.Image:
    """Make an RGB image of a grey one; `to_levels` turns its values into 0–255."""
    strips = (np.rint(to_levels(rows)).astype(np.uint8) for rows in _few_rows(image))
    return Image.fromarray(np.concatenate(list(strips))).convert("RGB")


def _few_rows(image: Image.Image) -> Iterator[Rows]:
    """Yield a grey image some rows at a time, as NumPy makes a copy in each step of reckoning."""
    height = max(1, _FEW // image.width)
    for top in range(0, image.height, height):
        yield np.asarray(image.crop((0, top, image.width, min(top + height, image.height))))


_FEW = 200_000  # pixels


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


def _has_several_scans(data: bytes) -> bool:
    """Whether the pixels of a JPEG are put together from several scans, such as one per colour."""
    return data.count(b"\xff\xda") > 1 and _scans(data) > 1


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


def has_known_signature(data: bytes) -> bool:
    """Whether a file begins as one of `FORMATS` does; its first `SIGNATURE` bytes are enough."""
    Image.init()
    tests = (Image.OPEN[name][1] for name in FORMATS)
    return any(accepts(data[:SIGNATURE]) for accepts in tests if accepts)


SIGNATURE = 16  # bytes
