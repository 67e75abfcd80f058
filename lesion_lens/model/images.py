"""Decodes the untrusted bytes of a file into an upright RGB image."""

import io
import math
import re
from collections.abc import Callable, Collection, Iterator
from typing import Any, NamedTuple, cast

import numpy as np
import pillow_heif
from numpy.typing import NDArray
from PIL import AvifImagePlugin, ExifTags, Image, ImageCms, ImageFile

from lesion_lens.model.codestreams import (
    avif_plane_bytes,
    jpeg2000_halved,
    jpeg2000_is_whole,
    jpeg_scans,
    webp_pixels,
)
from lesion_lens.model.dicom import first_frame, is_dicom
from lesion_lens.model.errors import (
    DamagedImage,
    EmptyImage,
    ImageError,
    ImageTooCostly,
    ImageTooLarge,
    UnsupportedImage,
    UnsupportedVariant,
)
from lesion_lens.model.libheif import lower_the_limit
from lesion_lens.model.limits import FORMATS, MAX_PIXELS, NAMES, max_pixels
from lesion_lens.model.tiff_numbers import is_of_numbers, numbers_image, scale_of
from skin_cancer_detection import EXACT_PIXELS, REDUCING_GAP, SIDE

Rows = NDArray[Any]  # some rows of a grey image, (height, width), in the image's own dtype

DRAFT_SIDE = 600  # pixels; a reduced JPEG keeps at least this many a side, enough for a preview

pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)
# The scheduler in decoding.py decides what runs at once.
pillow_heif.options.DECODE_THREADS = AvifImagePlugin.DEFAULT_MAX_THREADS = 1
lower_the_limit()


def read_image(
    data: bytes,
    reserve: Callable[[int], None] = lambda _: None,
    formats: Collection[str] = (*FORMATS, "DICOM"),
) -> Image.Image:
    """Decode an untrusted file into an upright RGB image, at its own size up to `EXACT_PIXELS`.

    Takes and raises the same as `read_sized`, but returns only the image.
    """
    return read_sized(data, reserve, formats).image


class Sized(NamedTuple):
    """A decoded image and its original size.

    Attributes:
        image: in mode "RGB", upright, at the file's own size up to `EXACT_PIXELS`.
        full_size: (width, height) in pixels of the upright image before any reduction.
    """

    image: Image.Image
    full_size: tuple[int, int]


def read_sized(
    data: bytes,
    reserve: Callable[[int], None] = lambda _: None,
    formats: Collection[str] = (*FORMATS, "DICOM"),
) -> Sized:
    """Decode an untrusted file into an upright RGB image, and return its original size, too.

    Tries only the decoders of `formats`. Takes the first frame of several, or the primary image of
    a HEIC. Blends transparent pixels with white, scales more than 8 bits to 8, and applies the
    orientation. An image of more than `EXACT_PIXELS` is reduced. A JPEG or JPEG 2000 is reduced to
    a half, a quarter and so on while it is decoded, which takes a fraction of the time. Any other
    format is reduced by a whole factor after decoding, a strip at a time, to save memory.

    Args:
        data: the bytes of the file.
        reserve: called with the bytes of memory that decoding will take, once they are known.
        formats: Pillow's names of formats, and DICOM.

    Raises:
        EmptyImage, UnsupportedImage, UnsupportedVariant, DicomNotRead, DamagedImage, ImageTooLarge,
            ImageTooCostly: each with a message for the person who sent the file.
    """
    if not data:
        raise EmptyImage
    if "DICOM" in formats and is_dicom(data):
        return _read_dicom(data, reserve)
    try:
        image = _opened(data, reserve, formats)
    except (UnsupportedVariant, DamagedImage):
        if "TIFF" in formats and "TIFF" in formats_of(data):
            return _read_numbers(data, reserve)
        raise
    ImageTooLarge.check(image.size, image.format)
    if is_of_numbers(image):
        return _read_numbers(data, reserve)
    _check_contents(image, data)
    full_size = image.size
    try:
        if image.width * image.height > EXACT_PIXELS:
            _reduce_while_decoding(image, data)
        if image.format != "WEBP":  # its memory is already reserved
            reserve(_memory_of(image, full_size, data))
        if image.width * image.height <= EXACT_PIXELS:
            image.load()
            rgb = _converter(image)(image)
        else:
            rgb = _reduced(*(_heic_rows(data) if image.format == "HEIF" else _rows(image)))
        return _upright(rgb, full_size, _orientation(image))
    except Exception as error:
        if image.info.get("compression") in _NOT_IN_LIBTIFF:
            raise UnsupportedVariant(kind="a variant of TIFF") from error
        raise _error_of(error, image.format) from error


# TIFF codings without a decoder in Pillow's libtiff. Its error says only that decoding failed.
_NOT_IN_LIBTIFF = ("webp", "tiff_sgilog", "tiff_sgilog24", "tiff_thunderscan")


def _read_dicom(data: bytes, reserve: Callable[[int], None]) -> Sized:
    """Decode the first frame of a DICOM file. Raises the same as `read_sized`."""
    frame = first_frame(data, reserve)
    if frame.coded:
        coded = read_sized(bytes(frame.data), reserve, (frame.coded,))
        return coded._replace(image=frame.recoloured(coded.image))
    if frame.size[0] * frame.size[1] <= EXACT_PIXELS:
        return Sized(frame.strip(0, frame.size[1]), frame.size)
    return Sized(_reduced(frame.size, frame.strip, lambda strip: strip), frame.size)


def _read_numbers(data: bytes, reserve: Callable[[int], None]) -> Sized:
    """Decode a TIFF of numbers that Pillow has no mode for. Raises the same as `read_sized`."""
    found = numbers_image(data)
    if _takes_too_long(found.image, data):
        raise ImageTooCostly
    reserve(found.bytes)
    try:
        found.image.load()
        scale = found.scale()
    except Exception as error:
        raise _error_of(error, "TIFF") from error
    if found.size[0] * found.size[1] <= EXACT_PIXELS:
        rgb = found.strip(0, found.size[1], scale)
    else:
        rgb = _reduced(
            found.size, lambda top, bottom: found.strip(top, bottom, scale), lambda strip: strip
        )
    return _upright(rgb, found.size, found.orientation)


def _opened(
    data: bytes, reserve: Callable[[int], None], formats: Collection[str]
) -> ImageFile.ImageFile:
    """Open an image without decoding its pixels. Raises the same as `read_sized`."""
    if data[:4] == b"RIFF":  # a WebP; its decoder allocates memory when the file is opened
        pixels, most = webp_pixels(data), max_pixels("WEBP")
        if pixels > most:
            raise ImageTooLarge.of_area(most)
        reserve(_BYTES_PER_PIXEL["WEBP"] * pixels)
    error: ImageError = UnsupportedImage()
    for name in formats_of(data):
        if name in formats:
            # `Image.open` would hide why a decoder refuses a file. Decoders raise nearly anything
            # on damaged bytes (OSError, ValueError, SyntaxError, struct.error, …).
            try:
                return Image.OPEN[name][0](io.BytesIO(data), "")
            except Exception as reason:
                error = _error_of(reason, name)
                error.__cause__ = reason
    raise error


def _error_of(error: Exception, image_format: str | None) -> ImageError:
    """Our error for a decoder's exception. Only the exception's words tell the causes apart."""
    if isinstance(error, ImageError):
        return error
    if isinstance(error, Image.DecompressionBombError):
        return ImageTooLarge.of_area(MAX_PIXELS)
    text = str(error)
    if isinstance(error, MemoryError) or "emory alloc" in text or "out of memory" in text.lower():
        return ImageTooCostly()
    if _UNSUPPORTED.search(text):
        name = NAMES.get(image_format or "", image_format)
        return UnsupportedVariant(kind=f"a variant of {name}")
    return DamagedImage()


# How Pillow, libheif and libavif describe files that they do not support, even undamaged ones.
_UNSUPPORTED = re.compile(
    r"(?i)unsupported|not (yet )?supported|cannot handle|not implemented|codec available"
    r"|unable to determine J2K"
)


# The most bytes that decoding takes for each pixel. They were measured, and the kernel enforces
# them (decoder.py). Pillow decodes every WebP as if it were animated, and holds four copies of it.
_BYTES_PER_PIXEL = {"HEIF": 5, "WEBP": 17}
_ANY_OTHER = 4


def _memory_of(image: Any, full_size: tuple[int, int], data: bytes) -> int:
    """Return how many bytes it takes to decode an opened image.

    Args:
        image: after `_reduce_while_decoding`.
        full_size: its size before that.
        data: its file.
    """
    pixels = image.width * image.height
    if image.format == "AVIF":  # the decoder's planes, twice the colours, and the image
        return math.ceil(pixels * (2 + 2 * len(image.getbands()) + avif_plane_bytes(data)))
    if image.format == "JPEG2000":  # five bytes for each sample of a tile, and the coded blocks
        return pixels * (4 + 5 * len(image.getbands())) + len(data)
    needed = pixels * _BYTES_PER_PIXEL.get(image.format or "", _ANY_OTHER)
    # With several scans, the decoder keeps two bytes for each coefficient at full size.
    if image.info.get("progressive") or (image.format in _JPEGS and jpeg_scans(data) > 1):
        samples = [(across, down) for _, across, down, _ in image.layer]
        largest = max(across for across, _ in samples) * max(down for _, down in samples)
        share = sum(across * down for across, down in samples) / largest
        needed += math.ceil(2 * share * full_size[0] * full_size[1])
    return needed


def _reduce_while_decoding(image: ImageFile.ImageFile, data: bytes) -> None:
    """Set the decoder to reduce a large JPEG or JPEG 2000, as far as the format allows.

    `image.size` is then the reduced size. Images in other formats do not change.
    """
    if image.format in _JPEGS:
        image.draft(None, (DRAFT_SIDE, DRAFT_SIDE))
    elif image.format == "JPEG2000" and image.tile:
        wished = int(math.log2(max(1, min(image.size) / DRAFT_SIDE)))
        size, halvings = jpeg2000_halved(data, wished)
        if halvings:
            # Do not use the image's `reduce`: Pillow 13 and the decoder round the size differently,
            # so 1501 pixels could be halved once but not twice.
            codec, _, *others = cast(tuple[Any, ...], image.tile[0].args)
            image._size = size
            image.tile = [ImageFile._Tile("jpeg2k", (0, 0, *size), 0, (codec, halvings, *others))]


# --- Whole images, and strips of large ones --------------------------------------------------

Converter = Callable[[Image.Image], Image.Image]  # converts an image or a strip to mode "RGB"
StripOf = Callable[[int, int], Image.Image]  # gives the rows from the first to before the second


def _rows(image: Image.Image) -> tuple[tuple[int, int], StripOf, Converter]:
    """Return the arguments of `_reduced` for an image in memory."""
    image.load()

    def strip_of(top: int, bottom: int) -> Image.Image:
        return image.crop((0, top, image.width, bottom))

    return image.size, strip_of, _converter(image)


def _heic_rows(data: bytes) -> tuple[tuple[int, int], StripOf, Converter]:
    """Return the same for a HEIC, without the copy of all its pixels that Pillow would make."""
    image = pillow_heif.open_heif(io.BytesIO(data), convert_hdr_to_8bit=True)
    pixels, stride, mode = memoryview(image.data), image.stride, image.mode

    def strip_of(top: int, bottom: int) -> Image.Image:
        size = (image.size[0], bottom - top)
        rows = bytes(pixels[top * stride : bottom * stride])
        return Image.frombuffer(mode, size, rows, "raw", mode, stride, 1)

    return image.size, strip_of, _converter(strip_of(0, 1))


def _reduced(size: tuple[int, int], strip_of: StripOf, to_rgb: Converter) -> Image.Image:
    """Reduce a large image by the largest whole factor that leaves enough pixels for LANCZOS."""
    factor = max(1, min(size) // (REDUCING_GAP * SIDE))
    height = factor * max(1, _STRIP // (factor * size[0]))
    reduced = Image.new("RGB", (-(-size[0] // factor), -(-size[1] // factor)))
    for top in range(0, size[1], height):
        strip = to_rgb(strip_of(top, min(top + height, size[1])))
        reduced.paste(strip.reduce(factor), (0, top // factor))
    return reduced


_STRIP = 1_000_000  # pixels that are converted at a time


def _converter(image: Image.Image) -> Converter:
    """Return a function that converts a loaded image, or strips of it, to mode "RGB"."""
    if image.mode.startswith("I;16"):
        to_levels = _sixteen_bits(image)
        return lambda strip: _grey_to_rgb(strip, to_levels)
    if image.mode in ("I", "F"):
        to_range = _own_range(image)
        return lambda strip: _grey_to_rgb(strip, to_range)
    if image.mode == "LAB":
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        transform = ImageCms.buildTransform(lab, srgb, "LAB", "RGB")
        # it returns None only when it works in place
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
    finite = (rows[np.isfinite(rows)] for rows in _few_rows(image))
    ranges = [(float(rows.min()), float(rows.max())) for rows in finite if rows.size]
    if not ranges:  # no pixel is finite
        raise DamagedImage
    low, high = scale_of(min(low for low, _ in ranges), max(high for _, high in ranges))
    scale = 255 / (high - low) if high > low else 0
    return lambda rows: (np.nan_to_num(np.clip(rows, low, high), nan=low) - low) * scale


def _sixteen_bits(image: Image.Image) -> Callable[[Rows], Rows]:
    tags = getattr(image, "tag_v2", {})  # a TIFF's
    bits = tags.get(ExifTags.Base.BitsPerSample, (16,))[0]
    white_is_zero = tags.get(ExifTags.Base.PhotometricInterpretation) == 0
    transparent = image.info.get("transparency")  # the grey value that is transparent in a PNG

    def to_levels(rows: Rows) -> Rows:
        levels = np.minimum(rows.astype(np.float32) * (255 / (2**bits - 1)), 255)
        if white_is_zero:
            levels = 255 - levels
        return levels if transparent is None else np.where(rows == transparent, 255, levels)

    return to_levels


def _grey_to_rgb(image: Image.Image, to_levels: Callable[[Rows], Rows]) -> Image.Image:
    """Convert a grey image to RGB; `to_levels` maps its values to 0–255."""
    strips = (np.rint(to_levels(rows)).astype(np.uint8) for rows in _few_rows(image))
    return Image.fromarray(np.concatenate(list(strips))).convert("RGB")


def _few_rows(image: Image.Image) -> Iterator[Rows]:
    """Yield a grey image some rows at a time, because NumPy copies them at each computation."""
    height = max(1, _FEW // image.width)
    for top in range(0, image.height, height):
        yield np.asarray(image.crop((0, top, image.width, min(top + height, image.height))))


_FEW = 200_000  # pixels


# How to undo each EXIF orientation except 1, which is upright (EXIF 2.32, table 4).
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


_JPEGS = ("JPEG", "MPO")  # an MPO holds several JPEGs
MAX_SCANS = 100  # of a progressive JPEG; encoders write about ten


def _check_contents(image: ImageFile.ImageFile, data: bytes) -> None:
    """Refuse an image that would take its decoder seconds, or would be partly black."""
    if _takes_too_long(image, data):
        raise ImageTooCostly
    if image.format == "JPEG2000" and not jpeg2000_is_whole(data):
        raise DamagedImage


def _takes_too_long(image: ImageFile.ImageFile, data: bytes) -> bool:
    """Whether a file makes its decoder repeat work, which may take seconds for each kilobyte."""
    if image.format in _JPEGS:
        return jpeg_scans(data) > MAX_SCANS
    boxes = filter(None, (extents for _, extents, *_ in image.tile))
    area = sum((right - left) * (lower - upper) for left, upper, right, lower in boxes)
    return area > 2 * image.width * image.height * len(image.getbands())


def _orientation(image: Image.Image) -> int | None:
    if image.format == "HEIF":  # the decoder has turned it, as the container says
        return None
    # Do not use ImageOps.exif_transpose: it rewrites all of the EXIF, so any other invalid tag
    # would make it refuse a good photograph.
    try:
        return image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # ignore unreadable EXIF
        return None


def _upright(image: Image.Image, full_size: tuple[int, int], orientation: int | None) -> Sized:
    if orientation is None or orientation not in _UPRIGHT:
        return Sized(image, full_size)
    is_turned = orientation >= 5  # 5 to 8 swap width and height
    return Sized(
        image.transpose(_UPRIGHT[orientation]), full_size[::-1] if is_turned else full_size
    )


def formats_of(data: bytes) -> list[str]:
    """The formats that a file's first bytes match; `SIGNATURE` bytes are enough."""
    Image.init()
    tests = ((name, Image.OPEN[name][1]) for name in FORMATS)
    return [name for name, accepts in tests if accepts and accepts(data[:SIGNATURE]) is True]


def has_known_signature(data: bytes) -> bool:
    """Whether a file begins like an image; its first `SIGNATURE` bytes are enough."""
    return bool(formats_of(data)) or is_dicom(data)


SIGNATURE = 132  # bytes
