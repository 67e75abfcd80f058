"""libheif's limit on the pixels of an image, which only ctypes reaches.

The parts that a HEIC is put together from, such as the canvas of an overlay, may be larger than the
size that the file claims, and libheif's own limit is a thousand million pixels. pillow_heif can
only switch that limit off, but libheif gives the address of all its limits.
"""

import ctypes

import _pillow_heif

from lesion_lens.model.limits import MAX_PIXELS

_DEFAULT = 32768**2  # libheif's own; with any other value the layout may be another
# HEVC codes whole blocks, of up to 64 pixels a side.
_LOWERED = MAX_PIXELS * 11 // 10


def lower_the_limit() -> None:
    """Have libheif refuse a HEIC any part of which is larger than an image may be.

    On Windows the limit stays: a name is looked up in that one file there, and not in the libraries
    that it is linked to.
    """
    library = ctypes.CDLL(_pillow_heif.__file__)
    try:
        limits_of = library.heif_get_global_security_limits
    except AttributeError:
        return
    limits_of.restype = ctypes.POINTER(ctypes.c_uint64)
    limits = limits_of()  # the first is their version, the second the pixels (heif_security.h)
    if limits[1] == _DEFAULT:
        limits[1] = _LOWERED
