"""The errors of the package, one family: the text of each is a sentence for whoever can mend it."""


class LesionLensError(Exception):
    """Whatever a user can mend; its text is one sentence that names the thing and the remedy."""


class ImageError(LesionLensError):
    """An uploaded file that cannot be used as an image."""


class EmptyImage(ImageError):
    """A file of no bytes."""


class UnsupportedImage(ImageError):
    """Not an image, or not in one of the formats of `FORMATS`."""


class DamagedImage(ImageError):
    """The right format, but truncated or spoiled."""


class ImageTooLarge(ImageError):
    """More than `MAX_PIXELS` pixels, or `MAX_SIDE` on one side."""


class ModelFileError(LesionLensError):
    """A model file that is missing, truncated, foreign or reordered."""


class Busy(LesionLensError):
    """More requests with images than may wait."""
