"""Reads the first frame of an untrusted DICOM file, and no other content.

pydicom, which is optional, finds the elements that describe the pixels. All other elements,
including those about the patient, are skipped. Pillow decodes frames in JPEG or JPEG 2000, with the
limits of those formats. This module converts uncompressed and RLE frames, some rows at a time.

See DICOM 2024: part 3, C.7.6.3 (the elements); part 5, 7.1, 8.2 and annexes A and G (the pixels);
part 10, 7.1 (the file).
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

_MAGIC_AT, _DATA_AT = 128, 132  # after a preamble that has no meaning
_PIXELS, _FIRST_OF_PIXELS = 0x7FE00010, 0x7FE00008  # tags 0x7FE00008 and 9 hold floats
_UNDEFINED = 0xFFFFFFFF  # the length of compressed pixels
_MOST_BEFORE_PIXELS = 4 * MEGA  # bytes that are inflated to find the length of the pixels

_UID = "1.2.840.10008.1.2"  # of the transfer syntaxes: part 5, A.1 to A.5
_IMPLICIT, _EXPLICIT, _BIG_ENDIAN, _DEFLATED = _UID, f"{_UID}.1", f"{_UID}.2", f"{_UID}.1.99"
_UNCODED = (_IMPLICIT, _EXPLICIT, _BIG_ENDIAN, _DEFLATED)
_RLE = f"{_UID}.5"
_PILLOWS = {  # Pillow's format for a frame, by transfer syntax
    **dict.fromkeys([f"{_UID}.4.{number}" for number in (50, 51, 57, 70)], "JPEG"),
    **dict.fromkeys([f"{_UID}.4.{number}" for number in (90, 91)], "JPEG2000"),
}
_OTHERS = {
    **dict.fromkeys([f"{_UID}.4.{number}" for number in (80, 81)], "JPEG-LS"),
    **dict.fromkeys([f"{_UID}.4.{number}" for number in (201, 202, 203)], "HTJ2K"),
    **dict.fromkeys([f"{_UID}.4.{number}" for number in range(100, 109)], "a video encoding"),
}
# Modalities whose images are not made with light: part 3, C.7.3.1.1.1.
_NO_PHOTOGRAPHS = {
    **{"CT": "computed tomography", "MR": "magnetic resonance", "PT": "PET"},
    **{"NM": "nuclear medicine", "US": "ultrasound", "SEG": "segmentation"},
    **dict.fromkeys(("CR", "DX", "MG", "RF", "XA", "IO", "PX", "RG"), "X-rays"),
    **dict.fromkeys(("RTDOSE", "RTIMAGE"), "radiotherapy"),
}
_COLOURS = ("Red", "Green", "Blue")
_PHOTOMETRIC = "PhotometricInterpretation"
# The names of the elements that we read: part 6, 6.
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

_FEW = 200_000  # pixels that are computed at a time


def is_dicom(data: bytes) -> bool:
    """Whether a file begins like a DICOM file."""
    return data[_MAGIC_AT:_DATA_AT] == b"DICM"


def load_reader() -> None:
    """Import pydicom and silence its log, which would quote the file's contents.

    The process that forks decoders calls this before it forks, because the import takes more memory
    than a decoder may use.

    Raises:
        DicomNotRead: pydicom is not installed.
    """
    if not HAS_DICOM:
        raise DicomNotRead
    with hidden(("requests",)):  # pydicom would use it to fetch example files
        import pydicom.config
        import pydicom.encaps
        import pydicom.filereader
    logging.getLogger("pydicom").disabled = True
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE


@dataclass(frozen=True)
class Frame:
    """The first frame of a DICOM file, not yet decoded.

    Attributes:
        size: (width, height) in pixels, as the file claims.
        samples: per pixel, 1 or 3.
        photometric: what the samples mean, a key of `_SAMPLES`.
        bits: (bits allocated, bits stored, position of the highest bit) of a sample.
        is_planar: whether all reds come before all greens.
        palette: the colours, uint8 (entries, 3), and the value that stands for the first one.
        order: the byte order of 16-bit samples, in NumPy's notation.
        coded: Pillow's format of `data`; None if the frame is not compressed.
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
        """The length of the frame without compression."""
        samples = 2 if self._is_halved else self.samples
        return self.size[0] * self.size[1] * samples * self.bits[0] // 8

    @property
    def _is_halved(self) -> bool:
        return self.photometric == "YBR_FULL_422" and not self.is_planar

    def strip(self, top: int, bottom: int) -> Image.Image:
        """The rows from `top` to before `bottom` of an uncompressed frame, in mode "RGB"."""
        strip = Image.new("RGB", (self.size[0], bottom - top))
        step = max(1, _FEW // self.size[0])
        for row in range(top, bottom, step):
            values = self._values(row, min(row + step, bottom))
            strip.paste(self._colours(values), (0, row - top))
        return strip

    def _values(self, top: int, bottom: int) -> NDArray[Any]:
        """Some rows as unsigned integers (height, width, samples)."""
        width, height = self.size
        numbers = np.frombuffer(self.data, f"{self.order}u{self.bits[0] // 8}")
        if self._is_halved:  # Y Y Cb Cr for each two pixels
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
        """Convert this frame's samples, in an image of mode "RGB", to true colours."""
        if self.photometric == "MONOCHROME1":
            return ImageOps.invert(image)
        # Pillow itself undoes the colour transforms of JPEG and JPEG 2000.
        is_ybr = self.photometric in ("YBR_FULL", "YBR_FULL_422")
        if is_ybr and self.coded != "JPEG":
            return Image.merge("YCbCr", image.split()).convert("RGB")
        return image


def first_frame(data: bytes, reserve: Callable[[int], None]) -> Frame:
    """Find the first frame of a DICOM file, and what its samples mean.

    Args:
        data: the file.
        reserve: as in `read_image`; not called for a frame that Pillow decodes.

    Raises:
        DicomNotRead: pydicom is not installed.
        UnsupportedVariant: the file does not hold a photograph, or uses an unsupported coding.
        ImageTooLarge: the size that the file claims is too large.
        DamagedImage: the file is damaged, or shorter than it claims.
    """
    load_reader()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return _first_frame(data, reserve)
        except (ImageError, MemoryError):
            raise
        except Exception as error:  # pydicom raises nearly anything on damaged bytes
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
    """The start of the pixels, whether they are stored as words, and their length in bytes."""
    tag = struct.pack(f"{order}HH", _PIXELS >> 16, _PIXELS & 0xFFFF)
    if place == len(data) or data[place : place + 4] != tag[: len(data) - place]:
        raise UnsupportedVariant(kind="a DICOM file without a photograph")  # such as a report
    vr = data[place + 4 : place + 6]
    if vr in (b"OB", b"OW", b"UN"):
        return place + 12, vr == b"OW", struct.unpack_from(f"{order}I", data, place + 8)[0]
    return place + 8, True, struct.unpack_from(f"{order}I", data, place + 4)[0]


def _described(elements: Any) -> Frame:
    """Read from a pydicom data set what its samples mean.

    Raises:
        UnsupportedVariant: they are not the colours or greys of a photograph.
    """
    if made_by := _NO_PHOTOGRAPHS.get(str(elements.get("Modality"))):
        raise UnsupportedVariant(kind=f"a DICOM file that holds no photograph ({made_by})")
    slope, intercept = elements.get("RescaleSlope"), elements.get("RescaleIntercept")
    is_measured = float(slope or 1) != 1 or float(intercept or 0) != 0
    if is_measured or "ModalityLUTSequence" in elements or elements.get("PixelRepresentation"):
        raise UnsupportedVariant(kind="a DICOM file of measured values instead of a photograph")
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
    """The colours (entries, 3) and the value of the first one: part 3, C.7.6.3.1.5 and 6."""
    columns, first = [], 0
    for colour in _COLOURS:
        name = f"{colour}PaletteColorLookupTable"
        if f"{name}Data" not in elements:  # the table is in segments
            raise UnsupportedVariant(kind="a variant of DICOM")
        entries, first, bits = (int(value) for value in elements[f"{name}Descriptor"].value)
        entries = entries or 2**16
        data = elements[f"{name}Data"].value
        if len(data) >= 2 * entries:  # 8-bit entries may be stored as words, too
            order = "<" if elements.original_encoding[1] else ">"
            numbers = np.frombuffer(data, f"{order}u2", entries) >> (8 if bits == 16 else 0)
        else:
            numbers = np.frombuffer(data, np.uint8, entries)
        columns.append(numbers.astype(np.uint8))
    return np.stack(columns, axis=1), first


def _coded(
    frame: Frame, syntax: str, file: io.BytesIO, elements: Any, reserve: Callable[[int], None]
) -> Frame:
    """The first frame of compressed pixels, which start at the file's current position."""
    from pydicom.encaps import get_frame

    if syntax not in (*_PILLOWS, _RLE):
        name = _OTHERS.get(syntax, "an unsupported encoding")
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
    """The samples of an RLE frame, one colour after another: part 5, annex G."""
    width, height = frame.size
    count, *offsets = struct.unpack_from("<16I", data)
    if count != frame.samples * frame.bits[0] // 8:
        raise DamagedImage
    ends = [*offsets[1:count], len(data)]
    planes = [  # the high bytes of the samples before the low ones
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
    """Mark a JPEG's three colours as red, green and blue if the JPEG does not say what they are.

    Without a JFIF or Adobe marker, a decoder would take them for YCbCr.
    """
    says = data[2:4] == b"\xff\xe0" or b"\xff\xee\0\x0eAdobe" in data[:10_000]
    return data if says else data[:2] + b"\xff\xee\0\x0eAdobe\0\x64" + bytes(5) + data[2:]
