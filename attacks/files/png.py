"""PNG files that take time or memory."""

import random
import zlib

from PIL import Image

from attacks.files.sizes import filled, side_of
from attacks.formats import GREY, RGB, RGBA, chunk, png


def png_unknown_chunks(size: float) -> bytes:
    """PNG with 1.6 million unknown chunks."""
    return png((10, 10), filled(chunk(b"anYb"), size))


def png_profiles(size: float) -> bytes:
    """PNG with 10,000 colour profiles that each inflate to 1 MB."""
    bomb = chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(1_000_000), 9))
    return png((10, 10), bomb * max(1, int(10_000 * size)))


def png_compressed_texts(size: float) -> bytes:
    """PNG with 10,000 compressed texts that each inflate to 1 MB."""
    bomb = chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(1_000_000), 9))
    return png((10, 10), bomb * max(1, int(10_000 * size)))


def png_international_texts(size: float) -> bytes:
    """PNG with 10,000 iTXt chunks after its pixels that each inflate to 1 MB."""
    bomb = chunk(b"iTXt", b"x\0\1\0\0\0" + zlib.compress(bytes(1_000_000), 9))
    return png((10, 10), behind=bomb * max(1, int(10_000 * size)))


def png_texts(size: float) -> bytes:
    """PNG with 1.3 million texts."""
    return png((10, 10), filled(chunk(b"tEXt", b"a\0b"), size))


def png_of_single_bytes(size: float) -> bytes:
    """PNG whose pixels are split into 1.5 million chunks of one byte."""
    pixels = random.Random(1).randbytes(int(1_500_000 * size))
    packed = zlib.compress(b"".join(b"\0" + bytes([value]) for value in pixels), 0)
    chunks = [chunk(b"IDAT", bytes([value])) for value in range(256)]
    data = b"".join(chunks[value] for value in packed[: len(pixels)])
    side = side_of(1200, size)
    return png((side, side), data=data)


def png_of_nothing(size: float) -> bytes:
    """PNG with 1.6 million empty chunks instead of pixels."""
    return png((10, 10), data=filled(chunk(b"IDAT"), size))


def png_alpha_turned(size: float) -> bytes:
    """PNG of 25 million pixels with alpha, rotated by EXIF."""
    side = side_of(5000, size)
    return png((side, side), _turned(), colour=RGBA)


def png_sixteen_bits_turned(size: float) -> bytes:
    """PNG of 25 million 16-bit pixels, rotated by EXIF."""
    side = side_of(5000, size)
    return png((side, side), _turned(), colour=GREY, bits=16)


def png_sixteen_bits_of_colour(size: float) -> bytes:
    """PNG of 25 million 16-bit RGB pixels."""
    side = side_of(5000, size)
    return png((side, side), colour=RGB, bits=16)


def png_too_large(size: float) -> bytes:
    """PNG that claims to be 2 billion pixels wide and high."""
    data = chunk(b"IDAT", zlib.compress(bytes(int(20_000_000 * size)), 9))
    return png((2**31 - 1, 2**31 - 1), data=data)


def _turned() -> bytes:
    exif = Image.Exif()
    exif[274] = 6
    return chunk(b"eXIf", exif.tobytes()[6:])
