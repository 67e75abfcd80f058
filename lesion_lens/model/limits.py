"""The limits on image files: their formats, their size, and the cost of decoding them."""

import importlib.util

# Pillow's names, in the order in which they are tried: AVIF before HEIF, the container of both.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF", "HEIF", "JPEG2000")
# The usual names, where they differ from Pillow's.
NAMES = {"WEBP": "WebP", "HEIF": "HEIC", "JPEG2000": "JPEG 2000", "MPO": "JPEG"}
# The names in upload forms.
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
# The suffixes of such files, in lower case.
SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".bmp", ".tif", ".tiff"),
    *(".gif", ".heic", ".heics", ".heif", ".heifs", ".hif", ".avif", ".avifs", ".jp2", ".j2k"),
    *(".jpc", ".jpf", ".jpx", ".j2c", ".dcm", ".dicom"),
)
HAS_DICOM = importlib.util.find_spec("pydicom") is not None  # it is optional
READABLE = "JPEG, PNG, WebP, BMP, TIFF, GIF, HEIC, AVIF"
READABLE += ", JPEG 2000 or DICOM" if HAS_DICOM else " or JPEG 2000"

MEGA = 1_000_000
# What fits into `DECODE_MEMORY`. A large JPEG is reduced while it is decoded, so a phone's 48
# megapixel photograph fits; a JPEG 2000 is reduced, too. A WebP takes 17 bytes for each pixel, an
# AVIF 9.5 to 18, most others at most 5 (`images._memory_of`).
MAX_PIXELS = 25 * MEGA
PIXEL_LIMITS = {
    "JPEG": 50 * MEGA,
    "MPO": 50 * MEGA,  # several JPEGs
    "WEBP": 8 * MEGA,
    "AVIF": 13 * MEGA,
}
MAX_SIDE = 20_000  # pixels; LANCZOS keeps a table of 48 bytes for each pixel of a side

MAX_DECODES = 3  # at once: one for each of two cores, and one so that short decodes need not wait
DECODE_MEMORY = 190 * MEGA  # bytes that all decodes of a process may take together
# The most that an image of up to `SMALL_IMAGE` bytes in memory takes, not counting its file.
OPENING_MEMORY = 24 * MEGA
SMALL_IMAGE = 6 * MEGA  # one and a half megapixels
# For one image, in seconds. The slowest photograph measured, a HEIC of 24 megapixels, takes one
# second; slower machines may take three times as long.
CPU_LIMIT = 3
WALL_LIMIT = 3
ANSWER_LIMIT = 4  # including the time spent waiting


def max_pixels(image_format: str | None) -> int:
    """The most pixels that an image in this format, by Pillow's name, may have."""
    return PIXEL_LIMITS.get(image_format or "", MAX_PIXELS)
