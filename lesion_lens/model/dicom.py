"""From the untrusted bytes of a DICOM file to its first frame, and to nothing else of it.

pydicom, which is optional, finds the elements that describe the pixels. All others, and so what is
said of a patient, are passed over. A frame of JPEG or JPEG 2000 is left to Pillow's decoders, with
their limits; one that is not compressed, or in RLE, is made an image here, some rows at a time.

DICOM 2024: part 3, C.7.6.3 (the elements); part 5, 7.1, 8.2 and annexes A and G (the pixels); part
10, 7.1 (the file).
"""

import io
import logging
import struct
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from lesion_lens.model.errors import (
    DamagedImage,
    DicomNotRead,
    ImageError,
    ImageTooLarge,
    UnsupportedVariant,
)
from lesion_lens.model.hidden_modules import hidden
from lesion_lens.model.limits import HAS_DICOM, MEGA

_MAGIC_AT, _DATA_AT = 128, 132  # behind a preamble that means nothing
_PIXELS, _FIRST_OF_PIXELS = 0x7FE00010, 0x7FE00008  # the two between them are of floats
_UNDEFINED = 0xFFFFFFFF  # the length of pixels in a coding
_MOST_BEFORE_PIXELS = 4 * MEGA  # bytes that are inflated to learn how many more there are

_UID = "1.2.840.10008.1.2"  # of the transfer syntaxes: part 5, A.1 to A.5
_IMPLICIT, _EXPLICIT, _BIG_ENDIAN, _DEFLATED = _UID, f"{_UID}.1", f"{_UID}.2", f"{_UID}.1.99"
_UNCODED = (_IMPLICIT, _EXPLICIT, _BIG_ENDIAN, _DEFLATED)
_RLE = f"{_UID}.5"
_PILLOWS = {  # its format of a frame
    **dict.fromkeys([f"{_UID}.4.{number}" for number in (50, 51, 57, 70)], "JPEG"),
    **dict.fromkeys([f"{_UID}.4.{number}" for number in (90, 91)], "JPEG2000"),
}
_OTHERS = {
    **dict.fromkeys([f"{_UID}.4.{number}" for number in (80, 81)], "JPEG-LS"),
    **dict.fromkeys([f"{_UID}.4.{number}" for number in (201, 202, 203)], "HTJ2K"),
    **dict.fromkeys([f"{_UID}.4.{number}" for number in range(100, 109)], "the coding of a film"),
}
# Modalities whose images no light has made: part 3, C.7.3.1.1.1.
_NO_PHOTOGRAPHS = {
    **{"CT": "computed tomography", "MR": "magnetic resonance", "PT": "PET"},
    **{"NM": "nuclear medicine", "US": "ultrasound", "SEG": "segmentation"},
    **dict.fromkeys(("CR", "DX", "MG", "RF", "XA", "IO", "PX", "RG"), "X-rays"),
    **dict.fromkeys(("RTDOSE", "RTIMAGE"), "radiotherapy"),
}
_COLOURS = ("Red", "Green", "Blue")
_PHOTOMETRIC = "PhotometricInterpretation"
# The names of the elements that are read: part 6, 6.
_ELEMENTS = (
    *("Modality", "NumberOfFrames", "Rows", "Columns", "SamplesPerPixel", "BitsAllocated"),
    *("BitsStored", "HighBit", "PixelRepresentation", "PlanarConfiguration", _PHOTOMETRIC),
    *("RescaleSlope", "RescaleIntercept", "ModalityLUTSequence"),
    *(f"{colour}PaletteColorLookupTableDescriptor" for colour in _COLOURS),
    *(f"{colour}PaletteColorLookupTableData" for colour in _COLOURS),
    *("ExtendedOffsetTable", "ExtendedOffsetTableLengths"),
)
_SAMPLES = {"MONOCHROME1": 1, "MONOCHROME2": 1, "PALETTE COLOR": 1, "RGB": 3}
_SAMPLES |= dict.fromkeys(("YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"), 3)

_FEW = 200_000  # pixels that are reckoned with at a time


def is_dicom(data: bytes) -> bool:
    """Whether a file begins as DICOM does."""
    return data[_MAGIC_AT:_DATA_AT] == b"DICM"


def load_reader() -> None:
    """Import pydicom, and have it say nothing: its remarks quote what the file says.

    The process that forks decoders does so before it forks, as the import takes more memory than a
    decoder may.

    Raises:
        DicomNotRead: it is not installed.
    """
    if not HAS_DICOM:
        raise DicomNotRead
    with hidden(("requests",)):  # with which it would fetch files of examples
        import pydicom.config
        import pydicom.encaps
        import pydicom.filereader
    logging.getLogger("pydicom").disabled = True
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE


@dataclass(frozen=True)
class Frame:
    """The first frame of a DICOM file, not yet decoded.

    Attributes:
        size: (width, height) in pixels, as the file claims them.
        samples: of a pixel, 1 or 3.
        photometric: what they mean, a key of `_SAMPLES`.
        bits: (allocated, stored, place of the highest) of a sample.
        is_planar: whether all reds come before all greens.
        palette: the colours uint8 (entries, 3), and the value that means the first of them.
        order: of the bytes of 16 bits, as NumPy writes it.
        coded: Pillow's format of `data`; None if it is not compressed.
        data: the bytes of the frame.
    """

    size: tuple[int, int]
    samples: int
    photometric: str
    bits: tuple[int, int, int]
    is_planar: bool
    palette: tuple[NDArray[np.uint8], int] | None = None
    order: str = "<"
    coded: str | None = None
    data: bytes | memoryview = b""

    @property
    def bytes(self) -> int:
        """The length of the frame where it is not compressed."""
        samples = 2 if self._is_halved else self.samples
        return self.size[0] * self.size[1] * samples * self.bits[0] // 8

    @property
    def _is_halved(self) -> bool:
        return self.photometric == "YBR_FULL_422" and not self.is_planar

    def strip(self, top: int, bottom: int) -> Image.Image:
        """Rows of a frame that is not compressed, from a first to before a last, in "RGB"."""
        strip = Image.new("RGB", (self.size[0], bottom - top))
        step = max(1, _FEW // self.size[0])
        for row in range(top, bottom, step):
            values = self._values(row, min(row + step, bottom))
            strip.paste(self._colours(values), (0, row - top))
        return strip

    def _values(self, top: int, bottom: int) -> NDArray[Any]:
        """Some rows as (height, width, samples), of unsigned numbers."""
        width, height = self.size
        numbers = np.frombuffer(self.data, f"{self.order}u{self.bits[0] // 8}")
        if self._is_halved:  # of two pixels: Y Y Cb Cr
            rows = numbers.reshape(height, width // 2, 4)[top:bottom]
            return np.dstack(
                [rows[..., :2].reshape(-1, width), *rows[..., 2:].repeat(2, 1).transpose(2, 0, 1)]
            )
        if self.is_planar:
            planes = numbers.reshape(self.samples, height, width)[:, top:bottom]
            return planes.transpose(1, 2, 0)
        return numbers.reshape(height, width, self.samples)[top:bottom]

    def _colours(self, values: NDArray[Any]) -> Image.Image:
        _, stored, high = self.bits
        highest = 2**stored - 1
        values = values >> (high + 1 - stored) & highest
        if self.palette:
            colours, first = self.palette
            places = np.clip(values[..., 0].astype(np.int32) - first, 0, len(colours) - 1)
            return Image.fromarray(colours[places])
        levels = np.rint(values * np.float32(255 / highest)).astype(np.uint8)
        if self.samples == 1:
            return self.recoloured(Image.fromarray(levels[..., 0]).convert("RGB"))
        return self.recoloured(Image.fromarray(levels))

    def recoloured(self, image: Image.Image) -> Image.Image:
        """Make true colours of an image in "RGB" that has the samples of this frame."""
        if self.photometric == "MONOCHROME1":
            return ImageOps.invert(image)
        # Pillow makes RGB of what a JPEG or JPEG 2000 has transformed by itself.
        is_ybr = self.photometric in ("YBR_FULL", "YBR_FULL_422")
        if is_ybr and self.coded != "JPEG":
            return Image.merge("YCbCr", image.split()).convert("RGB")
        return image


def first_frame(data: bytes, reserve: Callable[[int], None]) -> Frame:
    """Find the first frame of a DICOM file, and what its samples mean.

    Args:
        data: the file.
        reserve: as `read_image` takes it; not called for a frame that Pillow decodes.

    Raises:
        DicomNotRead: pydicom is not installed.
        UnsupportedVariant: it holds no photograph, or in a coding that is not read.
        ImageTooLarge: by its claims.
        DamagedImage: it is spoiled, or shorter than it claims.
    """
    load_reader()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return _first_frame(data, reserve)
        except (ImageError, MemoryError):
            raise
        except Exception as error:  # pydicom raises nearly anything on spoiled bytes
            raise DamagedImage from error


def _first_frame(data: bytes, reserve: Callable[[int], None]) -> Frame:
    from pydicom.datadict import tag_for_keyword
    from pydicom.filereader import read_dataset

    file = io.BytesIO(data)
    file.seek(_DATA_AT)
    meta = read_dataset(file, False, True, stop_when=lambda tag, *_: tag >> 16 != 2)
    syntax = str(meta.get("TransferSyntaxUID", _EXPLICIT))
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    if syntax == _DEFLATED:
        data = inflater.decompress(memoryview(data)[file.tell() :], _MOST_BEFORE_PIXELS)
        file = io.BytesIO(data)
    elements = read_dataset(
        file,
        is_implicit_VR=syntax == _IMPLICIT,
        is_little_endian=syntax != _BIG_ENDIAN,
        stop_when=lambda tag, *_: tag >= _FIRST_OF_PIXELS,
        specific_tags=[tag for name in _ELEMENTS if (tag := tag_for_keyword(name))],
    )
    order = ">" if syntax == _BIG_ENDIAN else "<"
    start, is_of_words, length = _pixel_element(data, file.tell(), order)
    frame = replace(_described(elements), order=order)
    ImageTooLarge.check(frame.size, "DICOM")
    if length == _UNDEFINED:
        file.seek(start)
        return _coded(frame, syntax, file, elements, reserve)
    if syntax not in _UNCODED or frame.photometric in ("YBR_ICT", "YBR_RCT"):
        raise DamagedImage
    width, height = frame.size
    reserve(4 * width * height + (2 * frame.bytes if syntax == _DEFLATED else 0))
    missing = start + frame.bytes - len(data)
    if syntax == _DEFLATED and missing > 0:
        data += inflater.decompress(inflater.unconsumed_tail, missing)
    pixels: bytes | memoryview = memoryview(data)[start : start + frame.bytes]
    if order == ">" and is_of_words and frame.bits[0] == 8:  # two pixels are one word
        words = np.frombuffer(data, "u2", (frame.bytes + 1) // 2, start)
        pixels = words.byteswap().tobytes()[: frame.bytes]
    if len(pixels) < frame.bytes:
        raise DamagedImage
    return replace(frame, data=pixels)


def _pixel_element(data: bytes, place: int, order: str) -> tuple[int, bool, int]:
    """Where the pixels stand, whether they come as words, and their length in bytes."""
    tag = struct.pack(f"{order}HH", _PIXELS >> 16, _PIXELS & 0xFFFF)
    if place == len(data) or data[place : place + 4] != tag[: len(data) - place]:
        raise UnsupportedVariant(kind="a DICOM file without a photograph")  # but with a report, …
    vr = data[place + 4 : place + 6]
    if vr in (b"OB", b"OW", b"UN"):
        return place + 12, vr == b"OW", struct.unpack_from(f"{order}I", data, place + 8)[0]
    return place + 8, True, struct.unpack_from(f"{order}I", data, place + 4)[0]


def _described(elements: Any) -> Frame:
    """Read what the samples of a data set of pydicom mean.

    Raises:
        UnsupportedVariant: they are no colours or greys of light.
    """
    if made_by := _NO_PHOTOGRAPHS.get(str(elements.get("Modality"))):
        raise UnsupportedVariant(kind=f"a DICOM file that holds no photograph ({made_by})")
    slope, intercept = elements.get("RescaleSlope"), elements.get("RescaleIntercept")
    is_measured = float(slope or 1) != 1 or float(intercept or 0) != 0
    if is_measured or "ModalityLUTSequence" in elements or elements.get("PixelRepresentation"):
        raise UnsupportedVariant(kind="a DICOM file of measured values, which is no photograph")
    photometric = str(elements[_PHOTOMETRIC].value)
    samples, allocated = int(elements.SamplesPerPixel), int(elements.BitsAllocated)
    stored = int(elements.get("BitsStored") or allocated)
    high = int(elements.get("HighBit") or stored - 1)
    if _SAMPLES.get(photometric) != samples or allocated not in (8, 16):
        raise UnsupportedVariant(kind="a variant of DICOM")
    size = int(elements.Columns), int(elements.Rows)
    is_odd = photometric == "YBR_FULL_422" and size[0] % 2
    if not 0 < stored <= high + 1 <= allocated or min(size) < 1 or is_odd:
        raise DamagedImage
    return Frame(
        size=size,
        samples=samples,
        photometric=photometric,
        bits=(allocated, stored, high),
        is_planar=bool(elements.get("PlanarConfiguration")),
        palette=_palette(elements) if photometric == "PALETTE COLOR" else None,
    )


def _palette(elements: Any) -> tuple[NDArray[np.uint8], int]:
    """The colours (entries, 3), and the value of the first: part 3, C.7.6.3.1.5 and 6."""
    columns, first = [], 0
    for colour in _COLOURS:
        name = f"{colour}PaletteColorLookupTable"
        if f"{name}Data" not in elements:  # but segments of it
            raise UnsupportedVariant(kind="a variant of DICOM")
        entries, first, bits = (int(value) for value in elements[f"{name}Descriptor"].value)
        entries = entries or 2**16
        data = elements[f"{name}Data"].value
        if len(data) >= 2 * entries:  # also 8 bits may come in words
            order = "<" if elements.original_encoding[1] else ">"
            numbers = np.frombuffer(data, f"{order}u2", entries) >> (8 if bits == 16 else 0)
        else:
            numbers = np.frombuffer(data, np.uint8, entries)
        columns.append(numbers.astype(np.uint8))
    return np.stack(columns, axis=1), first


def _coded(
    frame: Frame, syntax: str, file: io.BytesIO, elements: Any, reserve: Callable[[int], None]
) -> Frame:
    """The first frame of pixels in a coding, from where they start in the file."""
    from pydicom.encaps import get_frame

    if syntax not in (*_PILLOWS, _RLE):
        name = _OTHERS.get(syntax, "a coding of another kind")
        raise UnsupportedVariant(kind=f"a DICOM file in {name}")
    offsets = elements.get("ExtendedOffsetTable"), elements.get("ExtendedOffsetTableLengths")
    frames = int(elements.get("NumberOfFrames") or 1)
    extended = offsets if all(offsets) else None
    data = get_frame(file, 0, number_of_frames=frames, extended_offsets=extended)
    if syntax == _RLE:
        reserve(4 * frame.size[0] * frame.size[1] + 3 * frame.bytes)
        frame = replace(frame, is_planar=True, order=">")
        return replace(frame, data=_unpacked(data, frame))
    if _PILLOWS[syntax] == "JPEG" and frame.photometric == "RGB":
        data = _of_red_green_and_blue(data)
    return replace(frame, coded=_PILLOWS[syntax], data=data)


def _unpacked(data: bytes, frame: Frame) -> bytes:
    """The samples of a frame in RLE, one colour after the other: part 5, annex G."""
    width, height = frame.size
    count, *offsets = struct.unpack_from("<16I", data)
    if count != frame.samples * frame.bits[0] // 8:
        raise DamagedImage
    ends = [*offsets[1:count], len(data)]
    planes = [  # the higher bytes of a sample before the lower ones
        Image.frombytes("L", (width * height, 1), data[start:end], "packbits", "L").tobytes()
        for start, end in zip(offsets[:count], ends, strict=True)
    ]
    if frame.bits[0] == 8:
        return b"".join(planes)
    pairs = zip(planes[::2], planes[1::2], strict=True)
    return b"".join(
        np.stack([np.frombuffer(high, np.uint8), np.frombuffer(low, np.uint8)], axis=1).tobytes()
        for high, low in pairs
    )


def _of_red_green_and_blue(data: bytes) -> bytes:
    """Have a JPEG of three colours say that they are red, green and blue, unless it says what.

    Without a marker of JFIF or Adobe, a decoder takes them for YCbCr.
    """
    says = data[2:4] == b"\xff\xe0" or b"\xff\xee\0\x0eAdobe" in data[:10_000]
    return data if says else data[:2] + b"\xff\xee\0\x0eAdobe\0\x64" + bytes(5) + data[2:]
