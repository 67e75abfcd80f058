"""BMP, WebP and other files that take time or memory."""

import random
import struct

from attacks.files.png import png_alpha_turned
from attacks.files.sizes import ROOM, filled, side_of
from attacks.formats import encode, plain, riff, webp, webp_pixels


def _bmp(side: int, compression: int, bits: int, pixels: bytes) -> bytes:
    palette = bytes(4 * 2**bits)
    start = 14 + 40 + len(palette)
    head = b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start)
    info = struct.pack("<IiiHHIIiiII", 40, side, side, 1, bits, compression, 0, 1, 1, 2**bits, 0)
    return head + info + palette + pixels


def bmp_ends_of_lines(size: float) -> bytes:
    """BMP of 25 million pixels in RLE8, with one coded pixel and an end of line in each line."""
    side = side_of(5000, size)
    return _bmp(side, 1, 8, b"\1\0\0\0" * side + b"\0\1")


def bmp_nibbles(size: float) -> bytes:
    """BMP of 25 million pixels in RLE4, with one coded run and an end of line in each line."""
    side = side_of(5000, size)
    return _bmp(side, 2, 4, b"\1\0\0\0" * side + b"\0\1")


def bmp_jumps(size: float) -> bytes:
    """BMP in RLE8 that skips all of its 25 million pixels in short jumps."""
    side = side_of(5000, size)
    leaps = (b"\0\2\xff\0" * (side // 255) + b"\0\0") * side
    return _bmp(side, 1, 8, leaps + b"\0\1")


def bmp_single_pixels(size: float) -> bytes:
    """BMP in RLE8 with nine million runs of one pixel."""
    side = side_of(3000, size)
    return _bmp(side, 1, 8, (b"\1\1" * side + b"\0\0") * side + b"\0\1")


def webp_canvas(size: float) -> bytes:
    """WebP with a canvas of 16384×16384 and one pixel on it."""
    return webp((16384, 16384), webp_pixels(1, 1))


def webp_frames(size: float) -> bytes:
    """WebP with 398,000 frames."""
    frame = riff(b"ANMF", bytes(6) + bytes(6) + b"\1\0\0\0" + webp_pixels(1, 1))
    return webp((100, 100), riff(b"ANIM", bytes(6)), filled(frame, size), animated=True)


def webp_unknown_chunks(size: float) -> bytes:
    """WebP with 2.4 million unknown chunks."""
    return webp((10, 10), filled(riff(b"anyb", b""), size), webp_pixels(10, 10))


def webp_bomb(size: float) -> bytes:
    """WebP of eight million pixels of one colour."""
    return encode(plain("RGBA", side_of(2828, size), side_of(2828, size)), "WEBP", lossless=True)


def webp_frames_of_eight_megapixels(size: float) -> bytes:
    """WebP with a hundred frames of eight million pixels."""
    side = side_of(2828, size)
    edges = (side - 1).to_bytes(3, "little") * 2
    frame = riff(b"ANMF", bytes(6) + edges + b"\1\0\0\0" + webp_pixels(side, side))
    return webp((side, side), riff(b"ANIM", bytes(6)), frame * 100, animated=True)


def icon(size: float) -> bytes:
    """Icon that holds a PNG of 25 million pixels."""
    inner = png_alpha_turned(size)
    return (
        struct.pack("<HHH", 0, 1, 1)
        + struct.pack("<BBBBHHII", 0, 0, 0, 0, 1, 32, len(inner), 22)
        + inner
    )


def noise(size: float) -> bytes:
    """20 MB of noise after the signature of a JPEG."""
    return b"\xff\xd8\xff" + random.Random(1).randbytes(int(ROOM * size))


def zeros(size: float) -> bytes:
    """20 MB of zeros."""
    return bytes(int(ROOM * size))
