"""Reads facts about a coded image from the bytes of its file before decoding.

Decoding time and memory depend on them, and Pillow does not report them.
"""

import re
import struct
from collections.abc import Iterator

# --- JPEG (ITU-T T.81, annex B) --------------------------------------------------------------


def jpeg_scans(data: bytes) -> int:
    """Count the scans of a JPEG up to its end. Fast if there is only one."""
    if data.count(b"\xff\xda") <= 1:  # every scan begins with these two bytes
        return data.count(b"\xff\xda")
    return sum(marker == 0xDA for marker, _ in jpeg_segments(data))


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield (marker, position of the length) for each segment of a JPEG that has a length."""
    place = 2
    while (found := _MARKER.search(data, place)) and found[0] != b"\xff\xd9":
        yield found[0][1], found.end()
        place = found.end() + int.from_bytes(data[found.end() : found.end() + 2])


_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")  # with a length, or the end marker


# --- WebP (RFC 9649, sections 2.5 to 2.7) ----------------------------------------------------


def webp_pixels(data: bytes) -> int:
    """The number of pixels of a WebP's canvas, from its first chunk."""
    head = int.from_bytes(data[20:30], "little")
    if data[12:16] == b"VP8X":
        return (1 + (head >> 32) % 2**24) * (1 + (head >> 56) % 2**24)
    if data[12:16] == b"VP8L":
        return (1 + (head >> 8) % 2**14) * (1 + (head >> 22) % 2**14)
    return ((head >> 48) % 2**14) * ((head >> 64) % 2**14)  # VP8, or none of the three


# --- JPEG 2000 (ITU-T T.800, annex A) --------------------------------------------------------


def jpeg2000_halved(data: bytes, times: int) -> tuple[tuple[int, int], int]:
    """How often a JPEG 2000 can be halved while it is decoded, and its size after that.

    Args:
        data: the file; only its first codestream counts.
        times: the most halvings.

    Returns:
        ((width, height) in pixels, number of halvings); ((0, 0), 0) if the file does not say.
    """
    start = data.find(b"\xff\x4f\xff\x51") + 2
    if start < 2 or len(data) < start + 22:
        return (0, 0), 0
    right, lower, left, upper = struct.unpack_from(">IIII", data, start + 6)  # SIZ
    halvings = min(times, _wavelet_levels(data, start))
    corners = (-(-edge // 2**halvings) for edge in (right, lower, left, upper))
    right, lower, left, upper = corners
    return (right - left, lower - upper), halvings


def jpeg2000_is_whole(data: bytes) -> bool:
    """Whether a JPEG 2000 has all its tiles in full. The decoder leaves missing parts black."""
    start = data.find(b"\xff\x4f\xff\x51") + 2
    if start < 2 or len(data) < start + 38:
        return False
    right, lower, _, _, width, height, left, upper = struct.unpack_from(">8I", data, start + 6)
    if not width or not height:
        return False
    *_, place = _header_segments(data, start)
    found = set()
    while data[place : place + 2] == b"\xff\x90" and len(data) >= place + 12:  # SOT
        tile, length = struct.unpack_from(">HI", data, place + 4)
        found.add(tile)
        place = place + length if length else len(data)  # 0: up to the end
    tiles = -(-(right - left) // width) * -(-(lower - upper) // height)
    return len(found) >= tiles and place <= len(data)


def _wavelet_levels(data: bytes, start: int) -> int:
    for place in _header_segments(data, start):
        if data[place : place + 2] == b"\xff\x52" and len(data) > place + 9:  # COD
            return data[place + 9]
    return 0


def _header_segments(data: bytes, place: int) -> Iterator[int]:
    """Yield the start of each segment of the main header, then the start of the first tile."""
    for _ in range(_MOST_SEGMENTS):
        yield place
        if data[place : place + 1] != b"\xff" or data[place : place + 2] == b"\xff\x90":
            return
        place += 2 + max(2, int.from_bytes(data[place + 2 : place + 4]))


_MOST_SEGMENTS = 1000  # encoders write about ten


# --- AVIF (AV1-ISOBMFF 1.3, section 2.3) -----------------------------------------------------


def avif_plane_bytes(data: bytes) -> float:
    """The most bytes that a pixel takes in the decoded planes of an AVIF, 1–8.

    Each image in the file, such as the colours or the alpha, has a box `av1C` that says so.
    """
    needed = [0.0]
    for found in _AV1C.finditer(data):
        flags = found[1][0]
        channels = 1.0
        if not flags & 0x10:  # it is not grey
            across, down = 1 + bool(flags & 8), 1 + bool(flags & 4)
            channels += 2 / (across * down)
        needed.append(channels * (2 if flags & 0x40 else 1))
    greys = [size for size in needed if size in (1, 2)]
    return max(needed) + max(greys, default=0)


_AV1C = re.compile(rb"(?s)av1C\x81.(.)")
