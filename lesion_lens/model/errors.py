"""The errors, one family: the text of each is a sentence that names the thing and the remedy.

Only an edge turns one into a page, a JSON answer or an exit code: an error handler of the app, or a
command.
"""

from typing import Any, ClassVar

from lesion_lens.model.limits import MAX_PIXELS, MAX_SIDE, MEGA, READABLE, max_pixels


class LesionLensError(Exception):
    """Whatever a user can mend."""

    def at_the_command_line(self) -> str:
        """The sentence for somebody who can install packages."""
        return str(self)


class ModelFileError(LesionLensError):
    """A model file that is missing, truncated, foreign or reordered."""


class SettingError(LesionLensError):
    """A setting of the environment with an invalid value."""


class Problem(LesionLensError):
    """What can be wrong with a request. All that is ever said of it stands on its class.

    Attributes:
        name: the end of its `type` in RFC 9457, and its anchor on the API's page.
        status: of the HTTP answer.
        title: the same for every problem of the class.
        meaning: when it comes and what to do, for the API's document and page; CommonMark.
        sentence: the error's text; the constructor's keywords fill the fields in braces.
        example: such keywords, for the API's document.
    """

    name: ClassVar[str]
    status: ClassVar[int]
    title: ClassVar[str]
    meaning: ClassVar[str]
    sentence: ClassVar[str]
    example: ClassVar[dict[str, Any]] = {}

    def __init__(self, **values: Any) -> None:
        super().__init__(self.sentence.format(**values))
        self.values = values


class Busy(Problem):
    """More requests with images than may wait."""

    name = "busy"
    status = 503
    title = "Busy"
    meaning = (
        "Other requests are being worked on. Send the same again after as many seconds as "
        "`Retry-After` says."
    )
    sentence = "Too many images are waiting for their turn. Try again in a few seconds."


# --- An image that cannot be used ------------------------------------------------------------


class ImageError(Problem):
    """An uploaded file that cannot be used as an image."""


class EmptyImage(ImageError):
    """A file of no bytes."""

    name = "empty-image"
    status = 400
    title = "Empty file"
    meaning = "A file of no bytes."
    sentence = "The file is empty. Choose another image."


class UnsupportedImage(ImageError):
    """Not an image, or not in one of the formats of `limits.FORMATS`."""

    name = "unsupported-image"
    status = 415
    title = "Not an image that can be read"
    meaning = "No image at all, or one of another format."
    sentence = (
        f"The file is not an image that can be read here. Save it as {READABLE} and send it again."
    )


class UnsupportedVariant(ImageError):
    """An image that may be whole, in a form of its format that no decoder here knows."""

    name = "unsupported-variant"
    status = 415
    title = "A variant that cannot be read"
    meaning = (
        "The format is one of those that are read, but not this variant of it. The file need not "
        "be damaged."
    )
    sentence = (
        "The file is {kind}, which cannot be read here. Save it as an ordinary JPEG or PNG and "
        "send it again."
    )
    example: ClassVar[dict[str, Any]] = {"kind": "a variant of TIFF"}


class DicomNotRead(ImageError):
    """A DICOM file where pydicom, which is optional, is not installed."""

    name = "dicom-not-read"
    status = 415
    title = "DICOM is not read here"
    meaning = "Whoever runs the app can install pydicom, and then DICOM files are read."
    sentence = (
        "DICOM files are not read here. Export the image as JPEG or PNG, and send that instead."
    )

    def at_the_command_line(self) -> str:
        """Name the package."""
        return "To read DICOM files, install a package: pip install pydicom"


class DamagedImage(ImageError):
    """The right format, but truncated or spoiled."""

    name = "damaged-image"
    status = 422
    title = "Damaged image"
    meaning = "The right format, but broken off or spoiled."
    sentence = "The image is damaged or incomplete. Save or copy it again and retry."


class ImageTooLarge(ImageError):
    """More pixels than `limits.max_pixels`, or `limits.MAX_SIDE` on one side."""

    name = "image-too-large"
    status = 413
    title = "Too many pixels"
    meaning = "The model looks at 28 × 28 pixels, so a smaller copy loses hardly anything."
    sentence = (
        f"The image has more than {{megapixels}} million pixels, the most for its format, or more "
        f"than {MAX_SIDE:,} on one side. Save a smaller copy and send that: 2,000 pixels on a side "
        "are more than enough."
    )
    example: ClassVar[dict[str, Any]] = {"megapixels": MAX_PIXELS // MEGA}

    @classmethod
    def check(cls, size: tuple[int, int], image_format: str | None) -> None:
        """See that an image is no larger than its format may be.

        Args:
            size: (width, height) in pixels.
            image_format: as Pillow names it.

        Raises:
            ImageTooLarge
        """
        most = max_pixels(image_format)
        if size[0] * size[1] > most or max(size) > MAX_SIDE:
            raise cls(megapixels=most // MEGA)


class ImageTooCostly(ImageError):
    """An image whose decoding takes more time or memory than one image may."""

    name = "image-too-costly"
    status = 422
    title = "Too costly to read"
    meaning = (
        "Reading the image takes more time or memory than one image may take, because of its "
        "size, its format or what else is in the file. A smaller copy, or an ordinary JPEG (not "
        "a progressive one), takes less."
    )
    sentence = (
        "The image takes too long or too much memory to read. Make it smaller or save it as an "
        "ordinary JPEG, and send it again."
    )


class NotProcessed(ImageError):
    """An image of a batch for which there was no time."""

    name = "not-processed"
    status = 503
    title = "Not processed"
    meaning = (
        "The images before it took too long, or the server is busy. Send this one again, in a "
        "request of its own or a smaller batch."
    )
    sentence = "There was no time for this image. Send it again."
