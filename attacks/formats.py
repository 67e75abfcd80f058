"""Writers for unusual image files, which combine the parts that the caller gives.

They follow the specifications: TIFF 6.0; PNG, W3C 2025; ITU-T T.81 (JPEG); GIF89a; RFC 9649 (WebP);
ISO 14496-12 and 23008-12 (HEIC, AVIF); DICOM, parts 5 and 10.
"""

import functools
import io
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pillow_heif
from PIL import Image

BROWN = (104, 62, 42)

pillow_heif.register_heif_opener()


def encode(image: Image.Image, image_format: str, **options: Any) -> bytes:
    """Write an image with Pillow."""
    file = io.BytesIO()
    image.save(file, image_format, **options)
    return file.getvalue()


def plain(mode: str, width: int, height: int) -> Image.Image:
    """An image of one colour, which compresses to very few bytes."""
    return Image.new(mode, (width, height))


# --- TIFF ------------------------------------------------------------------------------------

SHORT, LONG = "<u2", "<u4"
_TYPES = {SHORT: 3, LONG: 4}
WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 256, 257, 258, 259, 262
STRIP_OFFSETS, SAMPLES, ROWS_PER_STRIP, STRIP_SIZES = 273, 277, 278, 279
TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_SIZES = 322, 323, 324, 325
RAW, LZW, DEFLATE, LZMA, ZSTD = 1, 5, 8, 34925, 50000

Tags = dict[int, tuple[str, Any]]  # tag -> its type and one number or many


def tiff(tags: Tags, pixels: bytes, next_at: int = 0) -> bytes:
    """Write a TIFF with one directory.

    Args:
        tags: the contents of the directory.
        pixels: written at offset 8.
        next_at: the claimed offset of the next directory.
    """
    first = 8 + len(pixels)
    free = first + 2 + 12 * len(tags) + 4
    entries, behind = b"", b""
    for tag, (kind, values) in sorted(tags.items()):
        data = np.atleast_1d(values).astype(kind).tobytes()
        entries += struct.pack("<HHI", tag, _TYPES[kind], np.size(values))
        if len(data) > 4:
            entries += struct.pack("<I", free + len(behind))
            behind += data
        else:
            entries += data.ljust(4, b"\0")
    head = b"II*\0" + struct.pack("<I", first) + pixels
    return head + struct.pack("<H", len(tags)) + entries + struct.pack("<I", next_at) + behind


def picture_tags(width: int, height: int, samples: int = 1, compression: int = RAW) -> Tags:
    """The tags of an image of 8 bits."""
    return {
        WIDTH: (LONG, width),
        HEIGHT: (LONG, height),
        BITS: (SHORT, [8] * samples),
        COMPRESSION: (SHORT, compression),
        PHOTOMETRIC: (SHORT, 2 if samples == 3 else 1),
        SAMPLES: (SHORT, samples),
    }


def one_strip(tags: Tags, pixels: bytes) -> bytes:
    """Write a TIFF whose pixels are in one strip."""
    strip = {STRIP_OFFSETS: (LONG, 8), STRIP_SIZES: (LONG, len(pixels))}
    return tiff(tags | strip | {ROWS_PER_STRIP: (LONG, tags[HEIGHT][1])}, pixels)


# --- PNG -------------------------------------------------------------------------------------

GREY, RGB, RGBA = 0, 2, 6  # its colour types


def chunk(kind: bytes, data: bytes = b"") -> bytes:
    """Write a chunk of a PNG."""
    check = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)


def png(
    size: tuple[int, int],
    *chunks: bytes,
    colour: int = GREY,
    bits: int = 8,
    data: bytes | None = None,
    behind: bytes = b"",
) -> bytes:
    """Write a PNG.

    Args:
        size: (width, height) in pixels.
        chunks: between the header and the pixels.
        colour: the colour type.
        bits: per channel.
        data: the IDAT chunks; by default, zeros of the right length.
        behind: what follows the pixels.
    """
    head = struct.pack(">IIBBBBB", *size, bits, colour, 0, 0, 0)
    if data is None:
        channels = {GREY: 1, RGB: 3, RGBA: 4}[colour]
        row = bytes(1 + size[0] * channels * bits // 8)
        data = chunk(b"IDAT", zlib.compress(row * size[1], 1))
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head)
    return start + b"".join(chunks) + data + behind + chunk(b"IEND")


# --- JPEG ------------------------------------------------------------------------------------


def segment(marker: int, data: bytes = b"") -> bytes:
    """Write a segment of a JPEG."""
    return struct.pack(">BBH", 0xFF, marker, 2 + len(data)) + data


def jpeg_with(inserted: bytes, width: int = 60, height: int = 40, **options: Any) -> bytes:
    """Write a valid JPEG with extra bytes after its first marker."""
    data = encode(Image.new("RGB", (width, height), BROWN), "JPEG", **options)
    return data[:2] + inserted + data[2:]


# --- GIF -------------------------------------------------------------------------------------


def gif(size: tuple[int, int], *extensions: bytes, frame: tuple[int, int] | None = None) -> bytes:
    """Write a GIF with two colours.

    Args:
        size: (width, height) of the screen.
        extensions: before the frame.
        frame: (width, height) of the frame; by default, one pixel.
    """
    pixels = encode(plain("1", *(frame or (1, 1))), "GIF")
    start = 13 + 3 * 2 ** (pixels[10] % 8 + 1)  # after the header and the palette
    palette = bytes(3) + b"\xff" * 3
    head = b"GIF89a" + struct.pack("<HHBBB", *size, 0x80, 0, 0) + palette
    return head + b"".join(extensions) + pixels[start:]


# --- WebP ------------------------------------------------------------------------------------


def riff(kind: bytes, data: bytes) -> bytes:
    """Write a chunk of a WebP."""
    return kind + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)


def webp(size: tuple[int, int], *chunks: bytes, animated: bool = False) -> bytes:
    """Write an extended WebP with a canvas and the given chunks."""
    flags = bytes([2 if animated else 0, 0, 0, 0])
    canvas = b"".join((side - 1).to_bytes(3, "little") for side in size)
    body = b"WEBP" + riff(b"VP8X", flags + canvas) + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def webp_pixels(width: int, height: int) -> bytes:
    """The chunk with the pixels of a brown image."""
    return encode(Image.new("RGB", (width, height), BROWN), "WEBP", lossless=True, method=0)[12:]


# --- HEIC ------------------------------------------------------------------------------------


def box(kind: bytes, *parts: bytes) -> bytes:
    """Write a box."""
    data = b"".join(parts)
    return struct.pack(">I", 8 + len(data)) + kind + data


def full_box(kind: bytes, version: int, *parts: bytes, flags: int = 0) -> bytes:
    """Write a box with a version and flags."""
    return box(kind, struct.pack(">I", version << 24 | flags), *parts)


@dataclass(frozen=True)
class Item:
    """An item of a HEIC. The first item of a file is the primary one.

    Attributes:
        kind: `hvc1`, `grid`, `Exif`, …
        extents: (start, length) of its parts in the file's data.
        properties: positions in the file's list of properties, from 1.
        refers: a kind of reference, and the numbers of the referenced items, from 1.
        content: for a `mime` item, its type and a zero byte.
    """

    kind: bytes
    extents: Sequence[tuple[int, int]]
    properties: Sequence[int] = ()
    refers: tuple[bytes, Sequence[int]] | None = None
    content: bytes = b""


def heic(items: Sequence[Item], properties: Sequence[bytes], data: bytes) -> bytes:
    """Write a HEIC from items, properties and the data that the items' extents refer to."""
    start = box(b"ftyp", b"heic", bytes(4), b"mif1heic")
    length = len(_meta(items, properties, 0))
    return start + _meta(items, properties, len(start) + length + 8) + box(b"mdat", data)


def _meta(items: Sequence[Item], properties: Sequence[bytes], data_at: int) -> bytes:
    numbered = list(enumerate(items, 1))
    infos = [
        full_box(b"infe", 2, struct.pack(">HH", number, 0), item.kind, b"\0", item.content)
        for number, item in numbered
    ]
    places = b"".join(_location(number, item, data_at) for number, item in numbered)
    uses = b"".join(
        struct.pack(">HB", number, len(item.properties)) + bytes(item.properties)
        for number, item in numbered
    )
    references = b"".join(
        box(kind, struct.pack(f">HH{len(to)}H", number, len(to), *to))
        for number, item in numbered
        if item.refers
        for kind, to in [item.refers]
    )
    count = struct.pack(">H", len(items))
    return full_box(
        b"meta",
        0,
        full_box(b"hdlr", 0, bytes(4), b"pict", bytes(13)),
        full_box(b"pitm", 0, b"\0\1"),
        full_box(b"iloc", 0, b"\x44\0", count, places),
        full_box(b"iinf", 0, count, *infos),
        full_box(b"iref", 0, references) if references else b"",
        box(
            b"iprp",
            box(b"ipco", *properties),
            full_box(b"ipma", 0, struct.pack(">I", len(items)), uses),
        ),
    )


def _location(number: int, item: Item, data_at: int) -> bytes:
    extents = b"".join(struct.pack(">II", data_at + at, size) for at, size in item.extents)
    return struct.pack(">HHH", number, 0, len(item.extents)) + extents


def image_size(width: int, height: int) -> bytes:
    """Write the property with an item's size."""
    return full_box(b"ispe", 0, struct.pack(">II", width, height))


@functools.cache
def coded(side: int) -> tuple[bytes, bytes]:
    """Encode a square of one colour. A large one takes seconds.

    Returns:
        (the property hvcC, the coded data).
    """
    image = Image.new("RGB", (side, side), BROWN)
    data = encode(image, "HEIF", quality=1, enc_params={"preset": "ultrafast"})
    return _box_of(data, b"hvcC"), _box_of(data, b"mdat")[8:]


def _box_of(data: bytes, kind: bytes) -> bytes:
    start = data.index(kind) - 4
    return data[start : start + int.from_bytes(data[start : start + 4])]


# --- DICOM -----------------------------------------------------------------------------------

SYNTAX = "1.2.840.10008.1.2"  # the prefix of transfer syntaxes
EXPLICIT, BIG_ENDIAN, DEFLATED, RLE = (f"{SYNTAX}.{end}" for end in ("1", "2", "1.99", "5"))
JPEG_SYNTAX, JPEG2000_SYNTAX = f"{SYNTAX}.4.50", f"{SYNTAX}.4.90"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_LONG_LENGTHS = (b"OB", b"OW", b"SQ", b"UN")

Elements = dict[int, tuple[bytes, Any]]  # tag -> its representation and its value


def element(tag: int, vr: bytes, value: Any, syntax: str = EXPLICIT) -> bytes:
    """Write an element of a DICOM file that holds a number, a text or bytes."""
    order = ">" if syntax == BIG_ENDIAN else "<"
    if vr == b"US":
        value = struct.pack(f"{order}{np.size(value)}H", *np.atleast_1d(value))
    elif isinstance(value, str):
        value = value.encode()
    value += (b"\0" if vr in (b"UI", b"OB") else b" ") * (len(value) % 2)
    head = struct.pack(f"{order}HH", tag >> 16, tag & 0xFFFF)
    if syntax == SYNTAX:  # the implicit one
        return head + struct.pack("<I", len(value)) + value
    length = f"{order}2xI" if vr in _LONG_LENGTHS else f"{order}H"
    return head + vr + struct.pack(length, len(value)) + value


def pixel_elements(
    size: tuple[int, int], samples: int = 3, photometric: str = "RGB", bits: int = 8
) -> Elements:
    """The elements that describe the pixels of a photograph."""
    return {
        0x00280002: (b"US", samples),
        0x00280004: (b"CS", photometric),
        0x00280010: (b"US", size[1]),
        0x00280011: (b"US", size[0]),
        0x00280100: (b"US", 8 if bits <= 8 else 16),
        0x00280101: (b"US", bits),
        0x00280102: (b"US", bits - 1),
        0x00280103: (b"US", 0),
    } | ({0x00280006: (b"US", 0)} if samples > 1 else {})


def dicom(elements: Elements, pixels: bytes | Sequence[bytes], syntax: str = EXPLICIT) -> bytes:
    """Write a DICOM file.

    Args:
        elements: all except the file's header and the pixels.
        pixels: the bytes of all frames, or a sequence of coded frames.
        syntax: the transfer syntax.
    """
    head = element(0x00020002, b"UI", SECONDARY_CAPTURE) + element(0x00020010, b"UI", syntax)
    body = b"".join(element(tag, *one, syntax) for tag, one in sorted(elements.items()))
    if isinstance(pixels, bytes):
        body += element(0x7FE00010, b"OW", pixels, syntax)
    else:
        body += struct.pack("<HH2s2xI", 0x7FE0, 0x10, b"OB", 0xFFFFFFFF)
        for fragment in (b"", *pixels):  # the first is an empty table of offsets
            padded = fragment + bytes(len(fragment) % 2)
            body += struct.pack("<HHI", 0xFFFE, 0xE000, len(padded)) + padded
        body += struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    if syntax == DEFLATED:
        deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        body = deflater.compress(body) + deflater.flush()
    length = element(0x00020000, b"UL", struct.pack("<I", len(head)))
    return bytes(128) + b"DICM" + length + head + body
