"""The sizes of hostile files."""

import math

MOST_BYTES = 20_000_000  # limit for all images of a request together
ROOM = MOST_BYTES - 100_000  # for the repeated part; the rest is for an image


def filled(part: bytes, size: float) -> bytes:
    """Repeat a part until it fills the share `size` of a request."""
    return part * max(1, int(size * ROOM / len(part)))


def side_of(full: int, size: float, step: int = 1) -> int:
    """The side of a square with the share `size` of the pixels, as a multiple of `step`."""
    return max(step, int(full * math.sqrt(size)) // step * step)
