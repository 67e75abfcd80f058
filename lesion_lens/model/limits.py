"""What an image file may be: its formats and its size."""

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "HEIF")  # the last is HEIC's container
# The same as upload forms name them.
MIME_TYPES = (
    "image/jpeg",
    "image/png",
    "image/webp",
    "image/bmp",
    "image/tiff",
    "image/gif",
    "image/heic",
    "image/heif",
)
READABLE = "JPEG, PNG, WebP, BMP, TIFF, GIF or HEIC"

# A phone's 24-megapixel photograph passes. Pillow holds 4 bytes a pixel, so the largest image takes
# about 100 MB while it is decoded, and twice that where it must be converted or turned, as does
# a HEIC.
MAX_PIXELS = 25_000_000
MAX_SIDE = 20_000  # pixels; LANCZOS keeps a table of 48 bytes for each pixel of a side
