"""From the untrusted bytes of a file to an upright RGB image."""

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
from lesion_lens.model.limits import FORMATS, MAX_PIXELS, MEGA, NAMES, max_pixels
from lesion_lens.model.tiff_numbers import is_of_numbers, numbers_image, scale_of
from skin_cancer_detection import EXACT_PIXELS, REDUCING_GAP, SIDE

Rows = NDArray[Any]  # some rows of a grey image, (height, width), of whatever dtype it has

DRAFT_SIDE = 600  # pixels; what is left at least of each side of a JPEG, enough for a preview

pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)
# What runs at once is for the scheduler to say.
pillow_heif.options.DECODE_THREADS = AvifImagePlugin.DEFAULT_MAX_THREADS = 1
lower_the_limit()


def read_image(
    data: bytes,
    reserve: Callable[[int], None] = lambda _: None,
    formats: Collection[str] = (*FORMATS, "DICOM"),
) -> Image.Image:
    """Decode an untrusted file into an upright RGB image, at its own size up to `EXACT_PIXELS`.

    It takes and raises what `read_sized` does, and gives the image alone.
    """
    return read_sized(data, reserve, formats).image


class Sized(NamedTuple):
    """An image that was read, and how large it was.

    Attributes:
        image: of mode "RGB", upright, at the file's own size up to `EXACT_PIXELS`.
        full_size: (width, height) in pixels of the file's image, upright, before any reduction.
    """

    image: Image.Image
    full_size: tuple[int, int]


def read_sized(
    data: bytes,
    reserve: Callable[[int], None] = lambda _: None,
    formats: Collection[str] = (*FORMATS, "DICOM"),
) -> Sized:
    """Decode an untrusted file into an upright RGB image, and say how large it was.

    Only the decoders of `formats` are tried, and of several frames the first is taken, or the
    primary one of a HEIC. Alpha is laid over white, more than 8 bits are scaled to 8, and the
    orientation is applied. An image of more than `EXACT_PIXELS` is reduced: a JPEG or JPEG 2000
    while it is decoded, to a half, a quarter and so on, which their formats allow and which takes a
    fraction of the time; any other afterwards by a whole factor, a strip at a time, to save memory.

    Args:
        data: the bytes of the file.
        reserve: called with the bytes of memory that decoding will take, once they are known.
        formats: as Pillow names them, and DICOM.

    Raises:
        EmptyImage, UnsupportedImage, UnsupportedVariant, DicomNotRead, DamagedImage, ImageTooLarge,
            ImageTooCostly: each with a sentence for the person who sent the file.
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
        if image.format != "WEBP":  # whose memory is reserved
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


# Codings of TIFF that Pillow's libtiff has no decoder for; it says no more than that it failed.
_NOT_IN_LIBTIFF = ("webp", "tiff_sgilog", "tiff_sgilog24", "tiff_thunderscan")


def _read_dicom(data: bytes, reserve: Callable[[int], None]) -> Sized:
    """Decode the first frame of a DICOM file; raises what `read_sized` does."""
    frame = first_frame(data, reserve)
    if frame.coded:
        coded = read_sized(bytes(frame.data), reserve, (frame.coded,))
        return coded._replace(image=frame.recoloured(coded.image))
    if frame.size[0] * frame.size[1] <= EXACT_PIXELS:
        return Sized(frame.strip(0, frame.size[1]), frame.size)
    return Sized(_reduced(frame.size, frame.strip, lambda strip: strip), frame.size)


def _read_numbers(data: bytes, reserve: Callable[[int], None]) -> Sized:
    """Decode a TIFF of numbers that Pillow has no mode for; raises what `read_sized` does."""
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
    """Read what stands before the pixels; raises what `read_sized` does."""
    if data[:4] == b"RIFF":  # a WebP, for which the decoder takes its memory as it is opened
        pixels, most = webp_pixels(data), max_pixels("WEBP")
        if pixels > most:
            raise ImageTooLarge(megapixels=most // MEGA)
        reserve(_BYTES_PER_PIXEL["WEBP"] * pixels)
    error: ImageError = UnsupportedImage()
    for name in formats_of(data):
        if name in formats:
            # Not `Image.open`, which hides why a decoder refuses a file. They raise nearly anything
            # on spoiled bytes (OSError, ValueError, SyntaxError, struct.error, …).
            try:
                return Image.OPEN[name][0](io.BytesIO(data), "")
            except Exception as reason:
                error = _error_of(reason, name)
                error.__cause__ = reason
    raise error


def _error_of(error: Exception, image_format: str | None) -> ImageError:
    """What to say of an exception of a decoder: its words alone tell one cause from another."""
    if isinstance(error, ImageError):
        return error
    if isinstance(error, Image.DecompressionBombError):
        return ImageTooLarge(megapixels=MAX_PIXELS // MEGA)
    text = str(error)
    if isinstance(error, MemoryError) or "emory alloc" in text or "out of memory" in text.lower():
        return ImageTooCostly()
    if _UNSUPPORTED.search(text):
        name = NAMES.get(image_format or "", image_format)
        return UnsupportedVariant(kind=f"a variant of {name}")
    return DamagedImage()


# What Pillow, libheif and libavif say of what they do not read, however whole it may be.
_UNSUPPORTED = re.compile(
    r"(?i)unsupported|not (yet )?supported|cannot handle|not implemented|codec available"
    r"|unable to determine J2K"
)


# What decoding takes for each pixel, in bytes, at most: measured, and the kernel holds them to it
# (decoder.py). Pillow decodes every WebP as if it were animated, and holds it four times.
_BYTES_PER_PIXEL = {"HEIF": 5, "WEBP": 17}
_ANY_OTHER = 4


def _memory_of(image: Any, full_size: tuple[int, int], data: bytes) -> int:
    """Say how many bytes it takes to decode an opened image.

    Args:
        image: after what `_reduce_while_decoding` did.
        full_size: before it.
        data: its file.
    """
    pixels = image.width * image.height
    if image.format == "AVIF":  # what the decoder holds, then twice the colours, then the image
        return math.ceil(pixels * (2 + 2 * len(image.getbands()) + avif_plane_bytes(data)))
    if image.format == "JPEG2000":  # five for each sample of a tile, and the coded blocks
        return pixels * (4 + 5 * len(image.getbands())) + len(data)
    needed = pixels * _BYTES_PER_PIXEL.get(image.format or "", _ANY_OTHER)
    # Of several scans, two bytes for each coefficient are kept, however much is reduced.
    if image.info.get("progressive") or (image.format in _JPEGS and jpeg_scans(data) > 1):
        samples = [(across, down) for _, across, down, _ in image.layer]
        largest = max(across for across, _ in samples) * max(down for _, down in samples)
        share = sum(across * down for across, down in samples) / largest
        needed += math.ceil(2 * share * full_size[0] * full_size[1])
    return needed


def _reduce_while_decoding(image: ImageFile.ImageFile, data: bytes) -> None:
    """Have the decoder make a large image smaller, as far as its format lets it.

    `image.size` is then what comes of it; of any other format, nothing changes.
    """
    if image.format in _JPEGS:
        image.draft(None, (DRAFT_SIDE, DRAFT_SIDE))
    elif image.format == "JPEG2000" and image.tile:
        wished = int(math.log2(max(1, min(image.size) / DRAFT_SIDE)))
        size, halvings = jpeg2000_halved(data, wished)
        if halvings:
            # Not by the image's `reduce`: Pillow 13 rounds the size otherwise than the decoder
            # does, so that 1501 pixels could be halved once and not twice.
            codec, _, *others = cast(tuple[Any, ...], image.tile[0].args)
            image._size = size
            image.tile = [ImageFile._Tile("jpeg2k", (0, 0, *size), 0, (codec, halvings, *others))]


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
    finite = (rows[np.isfinite(rows)] for rows in _few_rows(image))
    ranges = [(float(rows.min()), float(rows.max())) for rows in finite if rows.size]
    if not ranges:  # there is nothing to see
        raise DamagedImage
    low, high = scale_of(min(low for low, _ in ranges), max(high for _, high in ranges))
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


def _check_contents(image: ImageFile.ImageFile, data: bytes) -> None:
    """Refuse what its decoder would work on for seconds, or would fill with black."""
    if _takes_too_long(image, data):
        raise ImageTooCostly
    if image.format == "JPEG2000" and not jpeg2000_is_whole(data):
        raise DamagedImage


def _takes_too_long(image: ImageFile.ImageFile, data: bytes) -> bool:
    """Whether a file has its pixels decoded over and over: seconds for each kilobyte of it."""
    if image.format in _JPEGS:
        return jpeg_scans(data) > MAX_SCANS
    boxes = filter(None, (extents for _, extents, *_ in image.tile))
    area = sum((right - left) * (lower - upper) for left, upper, right, lower in boxes)
    return area > 2 * image.width * image.height * len(image.getbands())


def _orientation(image: Image.Image) -> int | None:
    if image.format == "HEIF":  # whose decoder has turned it, by what the container says
        return None
    # Not ImageOps.exif_transpose: it writes all the EXIF anew, and so refuses a sound photograph
    # for the sake of any other tag that is wrong.
    try:
        return image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # EXIF that cannot be read turns nothing
        return None


def _upright(image: Image.Image, full_size: tuple[int, int], orientation: int | None) -> Sized:
    if orientation is None or orientation not in _UPRIGHT:
        return Sized(image, full_size)
    is_turned = orientation >= 5  # of the eight, those that exchange width and height
    return Sized(
        image.transpose(_UPRIGHT[orientation]), full_size[::-1] if is_turned else full_size
    )


def formats_of(data: bytes) -> list[str]:
    """The formats that a file begins as; its first `SIGNATURE` bytes are enough."""
    Image.init()
    tests = ((name, Image.OPEN[name][1]) for name in FORMATS)
    return [name for name, accepts in tests if accepts and accepts(data[:SIGNATURE]) is True]


def has_known_signature(data: bytes) -> bool:
    """Whether a file begins as an image does; its first `SIGNATURE` bytes are enough."""
    return bool(formats_of(data)) or is_dicom(data)


SIGNATURE = 132  # bytes
