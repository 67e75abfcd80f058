"""Small valid images in many formats and modes, from which fuzzing starts, and their mutants."""

import functools
import random
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from attacks.files import HOSTILE
from attacks.formats import encode
from tests.support.drawings import draw_lesion

_LESION = draw_lesion((60, 40))
_EXIF = Image.Exif()
_EXIF[274] = 6
_MODES = {
    "JPEG": ("RGB", "L", "CMYK"),
    "PNG": ("RGB", "RGBA", "L", "LA", "P", "1", "I;16"),
    "WEBP": ("RGB", "RGBA"),
    "BMP": ("RGB", "L", "P", "1"),
    "TIFF": ("RGB", "RGBA", "L", "P", "1", "CMYK", "YCbCr", "LAB", "I", "F", "I;16"),
    "GIF": ("P", "L"),
    "HEIF": ("RGB", "RGBA", "L"),
    "AVIF": ("RGB", "RGBA"),
    "JPEG2000": ("RGB", "RGBA", "L", "I;16"),
}
_OPTIONS: list[tuple[str, dict[str, Any]]] = [
    ("JPEG", {"progressive": True, "exif": _EXIF, "comment": b"drawn"}),
    ("JPEG", {"subsampling": 0, "restart_marker_blocks": 1}),
    ("PNG", {"exif": _EXIF, "bits": 2}),
    ("WEBP", {"lossless": True, "exif": _EXIF}),
    ("WEBP", {"save_all": True, "append_images": [_LESION.rotate(9)]}),
    ("GIF", {"save_all": True, "append_images": [_LESION.rotate(9)], "comment": b"drawn"}),
    ("MPO", {"save_all": True, "append_images": [_LESION.rotate(9)]}),
    ("HEIF", {"save_all": True, "append_images": [_LESION.rotate(9)], "exif": _EXIF.tobytes()}),
    *(
        ("TIFF", {"compression": compression, "exif": _EXIF})
        for compression in ("tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits", "lzma", "zstd")
    ),
]
_INTERESTING = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)
HOSTILE_SIZE = 1e-4  # of the hostile files that serve as seeds


def _in_mode(mode: str) -> Image.Image:
    if mode == "I;16":
        return Image.fromarray(np.asarray(_LESION.convert("L")).astype(np.uint16) * 257)
    if mode == "LAB":
        return Image.merge("LAB", _LESION.split())
    return _LESION.convert(mode)


@functools.cache
def seeds() -> list[bytes]:
    """All seeds: drawn images, and small versions of the hostile files."""
    drawn = [
        encode(_in_mode(mode), image_format)
        for image_format, modes in _MODES.items()
        for mode in modes
    ]
    drawn += [encode(_LESION, image_format, **options) for image_format, options in _OPTIONS]
    hostile = [make(HOSTILE_SIZE) for make in HOSTILE.values()]
    return drawn + [data for data in hostile if len(data) < 20_000]


# --- Mutation --------------------------------------------------------------------------------


def mutant(number: int) -> bytes:
    """The mutant with this number. The same number always gives the same bytes."""
    rng = random.Random(number)
    data = bytearray(rng.choice(seeds()))
    for _ in range(rng.choice((1, 1, 2, 3, 6, 12))):
        if data:
            rng.choice(_CHANGES)(data, rng)
    return bytes(data)


def _span(data: bytearray, rng: random.Random, most: int = 64) -> slice:
    start = rng.randrange(len(data))
    return slice(start, start + rng.randint(1, most))


def _spoil_bytes(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.randint(1, 16)):
        data[rng.randrange(len(data))] = rng.randrange(256)


def _spoil_the_head(data: bytearray, rng: random.Random) -> None:
    data[rng.randrange(min(len(data), 200))] = rng.randrange(256)


def _flip_a_bit(data: bytearray, rng: random.Random) -> None:
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _put_a_number(data: bytearray, rng: random.Random) -> None:
    width = rng.choice((1, 2, 4))
    number = rng.choice(_INTERESTING) % 256**width
    start = rng.randrange(len(data))
    data[start : start + width] = number.to_bytes(width, rng.choice(("big", "little")))


def _cut_off(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data)) :]


def _cut_out(data: bytearray, rng: random.Random) -> None:
    del data[_span(data, rng)]


def _repeat(data: bytearray, rng: random.Random) -> None:
    span = _span(data, rng)
    data[span.start : span.start] = data[span] * rng.choice((1, 2, 100))


def _copy(data: bytearray, rng: random.Random) -> None:
    span = _span(data, rng)
    to = rng.randrange(len(data))
    data[to : to + len(data[span])] = data[span]


def _splice(data: bytearray, rng: random.Random) -> None:
    other = rng.choice(seeds())
    data[rng.randrange(len(data)) :] = other[rng.randrange(len(other)) :]


_CHANGES: tuple[Callable[[bytearray, random.Random], None], ...] = (
    _spoil_bytes,
    _spoil_the_head,
    _flip_a_bit,
    _put_a_number,
    _put_a_number,
    _cut_off,
    _cut_out,
    _repeat,
    _copy,
    _splice,
)
