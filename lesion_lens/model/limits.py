"""What an image file may be: its formats, its size, and what reading it may take."""

import importlib.util

# As Pillow names them, in the order in which they are tried: HEIC's container, HEIF, is AVIF's too.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF", "HEIF", "JPEG2000")
# As people do, where that is another name.
NAMES = {"WEBP": "WebP", "HEIF": "HEIC", "JPEG2000": "JPEG 2000", "MPO": "JPEG"}
# As upload forms do.
MIME_TYPES = (
    "image/jpeg",
    "image/png",
    "image/webp",
    "image/bmp",
    "image/tiff",
    "image/gif",
    "image/heic",
    "image/heif",
    "image/avif",
    "image/jp2",
    "application/dicom",
)
# How names of such files end, in small letters.
SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".bmp", ".tif", ".tiff"),
    *(".gif", ".heic", ".heics", ".heif", ".heifs", ".hif", ".avif", ".avifs", ".jp2", ".j2k"),
    *(".jpc", ".jpf", ".jpx", ".j2c", ".dcm", ".dicom"),
)
HAS_DICOM = importlib.util.find_spec("pydicom") is not None  # which is optional
READABLE = "JPEG, PNG, WebP, BMP, TIFF, GIF, HEIC, AVIF"
READABLE += ", JPEG 2000 or DICOM" if HAS_DICOM else " or JPEG 2000"

MEGA = 1_000_000
# What fits into `DECODE_MEMORY`. A large JPEG is reduced while it is decoded, so a phone's
# photograph of 48 megapixels passes, and so is a JPEG 2000. A WebP takes 17 bytes for each pixel,
# an AVIF 9.5 to 18, all others at most 5.
MAX_PIXELS = 25 * MEGA
PIXEL_LIMITS = {
    "JPEG": 50 * MEGA,
    "MPO": 50 * MEGA,  # several JPEGs
    "WEBP": 8 * MEGA,
    "AVIF": 13 * MEGA,
}
MAX_SIDE = 20_000  # pixels; LANCZOS keeps a table of 48 bytes for each pixel of a side

MAX_DECODES = 3  # at once: two cores, and one that makes a long decode wait for no short one
DECODE_MEMORY = 190 * MEGA  # bytes that all decodes of a process may take together
# Of these an image of up to `SMALL_IMAGE` bytes in memory takes no more than this, beside its file.
OPENING_MEMORY = 24 * MEGA
SMALL_IMAGE = 6 * MEGA  # one and a half megapixels
# Of one image, in seconds. The photograph that takes longest here, a HEIC of 24 megapixels, takes
# one; a slower machine has three times as long.
CPU_LIMIT = 3
WALL_LIMIT = 3
ANSWER_LIMIT = 4  # with all waiting


def max_pixels(image_format: str | None) -> int:
    """The most pixels that an image of one of Pillow's formats may have."""
    return PIXEL_LIMITS.get(image_format or "", MAX_PIXELS)
