"""How large a hostile file is made."""

import math

MOST_BYTES = 20_000_000  # what the images of a request may have together
ROOM = MOST_BYTES - 100_000  # for what is repeated, beside a picture


def filled(part: bytes, size: float) -> bytes:
    """Repeat a part until it fills that share of a request."""
    return part * max(1, int(size * ROOM / len(part)))


def side_of(full: int, size: float, step: int = 1) -> int:
    """The side of a square with that share of the pixels, a multiple of `step`."""
    return max(step, int(full * math.sqrt(size)) // step * step)
