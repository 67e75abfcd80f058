"""Reads TIFFs of numbers: floats of 16, 32 or 64 bits, colours of floats, 32-bit integers, …

Pillow has no mode for most of these. It reads some in the wrong byte order (Pillow 13: compressed
floats with the highest byte first), and takes separate 16-bit colour planes for 8-bit ones.

Pillow can still unpack them: we tell its decoder that each pixel is several grey pixels of 8 bits,
and the bytes that it gives are the numbers (TIFF 6.0; Adobe's technical note 3 on predictors).
"""

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, TiffImagePlugin
from PIL.ExifTags import Base

from lesion_lens.model.errors import DamagedImage, ImageTooLarge, UnsupportedVariant

Numbers = NDArray[Any]  # (height, width, bands), in the file's own type

_NONE, _PREDICTED = 1, (5, 8, 32946, 50000)  # LZW, deflate, its old number, Zstandard
_CODINGS = (_NONE, *_PREDICTED, 32773, 34925)  # PackBits, LZMA
_DIFFERENCES, _FLOATING = 2, 3  # the predictors
_PREDICTOR, _TILE_WIDTH, _TILE_HEIGHT, _EXTRA_SAMPLES, _SAMPLE_FORMAT = 317, 322, 323, 338, 339
_PLACES = {273: 279, 324: 325}  # tags: positions and sizes of strips, and of tiles
_COPIED = (257, 259, 273, 278, 279, 284, 323, 324, 325)  # tags that are copied unchanged
_KINDS = {1: "u", 2: "i", 3: "f"}
_TYPES = ("u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8")
_COLOUR, _WHITE_IS_ZERO, _SEPARATE = 2, 0, 2
_LONG = 4  # the type of a tag's numbers

_FEW = 100_000  # pixels that are computed at a time


def scale_of(low: float, high: float) -> tuple[float, float]:
    """The values for black and white in an image with numbers from `low` to `high`.

    Programs usually write numbers from 0 to 1 or from 0 to 255. There is no convention for other
    numbers, so their own range is used.
    """
    if low < 0:
        return low, high
    return next(((0, white) for white in (1, 255) if high <= white), (low, high))


@dataclass(frozen=True)
class NumbersImage:
    """An opened TIFF of numbers.

    Attributes:
        size: (width, height) in pixels.
        bytes: the memory that decoding takes.
        image: what Pillow decodes: the bytes of the numbers as grey pixels, or as a colour for
            each band if the bands are stored separately.
        orientation: the EXIF value.
    """

    size: tuple[int, int]
    bytes: int
    image: ImageFile.ImageFile
    orientation: int
    _type: np.dtype[Any]
    _bands: int
    _colours: int
    _alpha: int | None
    _predictor: int
    _row: int  # bytes that a predictor treats as a row
    _white_is_zero: bool

    def strips(self) -> Iterator[Numbers]:
        """Yield all rows, some at a time. `image` must be loaded."""
        step = max(1, _FEW // self.size[0])
        for top in range(0, self.size[1], step):
            yield self._numbers(top, min(top + step, self.size[1]))

    def scale(self) -> tuple[float, float]:
        """The values for black and white."""
        if self._type.kind == "u" and self._type.itemsize <= 2:
            return 0, 2 ** (8 * self._type.itemsize) - 1
        colours = (strip[..., : self._colours] for strip in self.strips())
        finite = [strip[np.isfinite(strip)] for strip in colours]
        seen = [strip for strip in finite if strip.size]
        if not seen:  # every number is NaN or infinite
            raise DamagedImage
        return scale_of(min(float(x.min()) for x in seen), max(float(x.max()) for x in seen))

    def strip(self, top: int, bottom: int, scale: tuple[float, float]) -> Image.Image:
        """The rows from `top` to before `bottom`, in mode "RGB", blended with white by alpha."""
        strip = Image.new("RGB", (self.size[0], bottom - top))
        step = max(1, _FEW // self.size[0])
        exact = np.promote_types(self._type, np.float32)
        for row in range(top, bottom, step):
            numbers = self._numbers(row, min(row + step, bottom)).astype(exact)
            low, high = scale
            with np.errstate(invalid="ignore", over="ignore"):
                shares = (np.clip(numbers[..., : self._colours], low, high) - low) / (
                    (high - low) or 1
                )
            shares = np.nan_to_num(shares)
            if self._white_is_zero:
                shares = 1 - shares
            if self._alpha is not None:
                opaque = self._opacity(numbers[..., self._alpha : self._alpha + 1])
                shares = shares * opaque + 1 - opaque
            levels = np.rint(shares * 255).astype(np.uint8)
            levels = levels if self._colours == 3 else levels[..., 0]
            strip.paste(Image.fromarray(levels).convert("RGB"), (0, row - top))
        return strip

    def _opacity(self, alpha: Numbers) -> Numbers:
        whole = 1 if self._type.kind == "f" else np.iinfo(self._type).max
        return np.nan_to_num(np.clip(alpha / whole, 0, 1))

    def _numbers(self, top: int, bottom: int) -> Numbers:
        found = np.asarray(self.image.crop((0, top, self.image.width, bottom)))
        if found.ndim == 3:  # the bands are stored separately
            bands = [
                self._of_bytes(np.ascontiguousarray(band), 1) for band in np.moveaxis(found, 2, 0)
            ]
            return np.concatenate(bands, axis=2)[:, : self.size[0]]
        return self._of_bytes(found, self._bands)[:, : self.size[0]]

    def _of_bytes(self, rows: NDArray[np.uint8], bands: int) -> Numbers:
        height, width = rows.shape
        size = self._type.itemsize
        rows = rows.reshape(height, width // self._row, self._row)
        numbers: Numbers
        if self._predictor == _FLOATING:
            rows = rows.reshape(*rows.shape[:2], -1, bands).cumsum(2, np.uint8)
            planes = rows.reshape(height, -1, size, self._row // size)  # the highest bytes first
            joined = np.ascontiguousarray(planes.swapaxes(2, 3))
            numbers = joined.view(self._type.newbyteorder(">"))
        elif self._predictor == _DIFFERENCES:
            whole = np.dtype(f"u{size}").newbyteorder(self._type.byteorder)
            steps = rows.view(whole).reshape(height, rows.shape[1], -1, bands)
            summed = steps.cumsum(2, whole.newbyteorder("="))
            numbers = summed.view(self._type.newbyteorder("="))
        else:
            numbers = rows.view(self._type)
        return numbers.reshape(height, -1, bands)


def is_of_numbers(image: Image.Image) -> bool:
    """Whether an opened TIFF is one that Pillow alone would read wrongly."""
    tags = getattr(image, "tag_v2", {})
    is_deep = max(tags.get(Base.BitsPerSample, (1,))) > 8
    is_apart = tags.get(Base.PlanarConfiguration) == _SEPARATE and len(image.getbands()) > 1
    return image.format == "TIFF" and (image.mode in ("I", "F") or (is_deep and is_apart))


def numbers_image(data: bytes) -> NumbersImage:
    """Open a TIFF that Pillow alone cannot read.

    Raises:
        UnsupportedVariant: it does not hold numbers of a supported kind.
        DamagedImage: it is damaged or truncated.
        ImageTooLarge
    """
    try:
        return _numbers_image(data)
    except (DamagedImage, UnsupportedVariant, ImageTooLarge, MemoryError):
        raise
    except Exception as error:  # Pillow raises nearly anything on a damaged directory
        raise DamagedImage from error


def _numbers_image(data: bytes) -> NumbersImage:
    tags = _directory(data)
    size = int(tags[Base.ImageWidth]), int(tags[Base.ImageLength])
    ImageTooLarge.check(size, "TIFF")
    for places, sizes in _PLACES.items():
        ends = map(sum, zip(tags.get(places, ()), tags.get(sizes, ()), strict=False))
        if max(ends, default=0) > len(data):
            raise DamagedImage
    bands = int(tags.get(Base.SamplesPerPixel, 1))
    bits = {*tags.get(Base.BitsPerSample, (1,))}
    kinds = {*tags.get(_SAMPLE_FORMAT, (1,))}
    coding, photometric = tags.get(Base.Compression, 1), tags.get(Base.PhotometricInterpretation)
    is_apart = bands > 1 and tags.get(Base.PlanarConfiguration) == _SEPARATE
    colours = 3 if photometric == _COLOUR else 1
    name = f"{_KINDS.get(min(kinds))}{min(bits) // 8}"
    if (
        len(bits) != 1
        or len(kinds) != 1
        or min(bits) % 8
        or name not in _TYPES
        or coding not in _CODINGS
        or photometric not in (0, 1, _COLOUR)
        or not colours <= bands <= 16
        or (is_apart and bands not in (3, 4))
    ):
        raise UnsupportedVariant(kind="a variant of TIFF")
    each = min(bits) // 8 * (1 if is_apart else bands)  # bytes per pixel in the image for Pillow
    tile = int(tags.get(_TILE_WIDTH, size[0]))
    width = -(-size[0] // tile) * tile * each
    image = TiffImagePlugin.TiffImageFile(
        io.BytesIO(_retold(data, tags, width, tile * each, bands if is_apart else 1))
    )
    extra = tags.get(_EXTRA_SAMPLES, ())
    has_alpha = bands > colours and extra[:1] in ((1,), (2,))
    # The image, and one decoded strip or tile.
    rows = min(size[1], int(tags.get(_TILE_HEIGHT) or tags.get(Base.RowsPerStrip) or size[1]))
    strip = rows * (tile * each if _TILE_WIDTH in tags else width)
    return NumbersImage(
        size=size,
        bytes=width * size[1] * (4 if is_apart else 1) + strip,
        image=image,
        orientation=int(tags.get(Base.Orientation, 1)),
        _type=np.dtype(name).newbyteorder(">" if data[:1] == b"M" else "<"),
        _bands=bands,
        _colours=colours,
        _alpha=colours if has_alpha else None,
        _predictor=int(tags.get(_PREDICTOR, 1)) if coding in _PREDICTED else 1,
        _row=tile * each,
        _white_is_zero=photometric == _WHITE_IS_ZERO,
    )


def _directory(data: bytes) -> Any:
    head = data[: 16 if data[2:4] in (b"\0+", b"+\0") else 8]  # 16: a BigTIFF
    tags = TiffImagePlugin.ImageFileDirectory_v2(head)
    file = io.BytesIO(data)
    file.seek(tags.next)
    tags.load(file)
    return tags


def _retold(data: bytes, tags: Any, width: int, tile: int, bands: int) -> bytes:
    """The file with a new directory that declares its numbers as bytes."""
    told = {tag: tags[tag] for tag in _COPIED if tag in tags}
    told |= {
        Base.ImageWidth: width,
        Base.SamplesPerPixel: bands,
        Base.BitsPerSample: (8,) * bands,
        Base.PhotometricInterpretation: 1 if bands == 1 else _COLOUR,
        Base.PlanarConfiguration: 1 if bands == 1 else _SEPARATE,
    }
    if _TILE_WIDTH in tags:
        told[_TILE_WIDTH] = tile
    order = "<" if data[:1] == b"I" else ">"
    start = len(data)
    behind = start + 2 + 12 * len(told) + 4
    entries, values = b"", b""
    for tag, value in sorted(told.items()):
        numbers = np.atleast_1d(value).astype(f"{order}u4").tobytes()
        entries += struct.pack(f"{order}HHI", tag, _LONG, len(numbers) // 4)
        if len(numbers) > 4:
            entries += struct.pack(f"{order}I", behind + len(values))
            values += numbers
        else:
            entries += numbers
    head = data[:2] + struct.pack(f"{order}HI", 42, start)
    count = struct.pack(f"{order}H", len(told))
    return head + data[8:] + count + entries + bytes(4) + values
