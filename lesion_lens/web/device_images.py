"""What a device needs to read an image as the server does: the limits and the error sentences."""

from typing import Any

from lesion_lens.model.decoder import PREVIEW_SIDE
from lesion_lens.model.errors import DamagedImage, EmptyImage, ImageTooLarge
from lesion_lens.model.limits import MAX_PIXELS, MAX_SIDE, max_pixels
from skin_cancer_detection import EXACT_PIXELS, REDUCING_GAP, SIDE

# A browser cannot tell a damaged file from a kind that only the server reads.
UNREADABLE = (
    "This browser cannot read the file. It may be damaged. Save it as a JPEG or PNG and choose it "
    "again. Some kinds of file can be read only by the server. That needs a connection, and ‘Keep "
    "my images on this device’ must be off."
)
HIDDEN = (
    "To protect your privacy, this browser does not let the page see the pixels of an image. Allow "
    "that for this page. Or let the server classify the image: that needs a connection, and ‘Keep "
    "my images on this device’ must be off."
)


def image_limits() -> dict[str, Any]:
    """Return the limits and sentences for `static/pixels.js`, ready for JSON.

    A JPEG may have as many pixels as on the server. Any other image may have `MAX_PIXELS`. For
    some formats the server allows fewer, but only because its own decoders take more memory.
    """
    jpeg_pixels = max_pixels("JPEG")
    return {
        "side": SIDE,
        "exact_pixels": EXACT_PIXELS,
        "reducing_gap": REDUCING_GAP,
        "preview_side": PREVIEW_SIDE,
        "max_side": MAX_SIDE,
        "max_pixels": MAX_PIXELS,
        "max_jpeg_pixels": jpeg_pixels,
        "sentences": {
            "empty": str(EmptyImage()),
            "damaged": str(DamagedImage()),
            "large": str(ImageTooLarge.of_area(MAX_PIXELS)),
            "large_jpeg": str(ImageTooLarge.of_area(jpeg_pixels)),
            "long": str(ImageTooLarge.of_side()),
            "unreadable": UNREADABLE,
            "hidden": HIDDEN,
        },
    }
