"""Lowers libheif's limit on the pixels of an image, with ctypes.

The parts of a HEIC, such as the canvas of an overlay, may be larger than the size that the file
claims, and libheif's own limit is over a billion pixels. pillow_heif can only switch that
limit off, but a function of libheif gives the address of its limits.
"""

import ctypes

import _pillow_heif

from lesion_lens.model.limits import MAX_PIXELS

_DEFAULT = 32768**2  # libheif's own limit; any other value may mean a different layout in memory
# 10 % more, because HEVC codes whole blocks of up to 64 pixels a side.
_LOWERED = MAX_PIXELS * 11 // 10


def lower_the_limit() -> None:
    """Make libheif refuse a HEIC if any part of it has more pixels than an image may have.

    On Windows the limit does not change: names are looked up only in the file itself, not in the
    libraries that it is linked to.
    """
    library = ctypes.CDLL(_pillow_heif.__file__)
    try:
        limits_of = library.heif_get_global_security_limits
    except AttributeError:
        return
    limits_of.restype = ctypes.POINTER(ctypes.c_uint64)
    limits = limits_of()  # [0] is their version, [1] the limit on pixels (heif_security.h)
    if limits[1] == _DEFAULT:
        limits[1] = _LOWERED
