"""One family of errors. The text of each names what is wrong and how to fix it.

Only the edges turn an error into a page, a JSON answer or an exit code: the app's error handlers
and the commands.
"""

from typing import Any, ClassVar

from lesion_lens.model.limits import MAX_PIXELS, MAX_SIDE, MEGA, READABLE, max_pixels


class LesionLensError(Exception):
    """An error that a user can fix."""

    def at_the_command_line(self) -> str:
        """The text for a reader who can install packages."""
        return str(self)


class ModelFileError(LesionLensError):
    """A model file is missing, truncated, of another kind, or has other classes or weights."""


class SettingError(LesionLensError):
    """An environment variable with an invalid value."""


class Problem(LesionLensError):
    """A problem with a request. Its class holds every text about it.

    Attributes:
        name: the end of its `type` (RFC 9457) and its anchor on the API page.
        status: the HTTP status of the answer.
        title: the same for every problem of the class.
        meaning: when it occurs and what to do, for the API's document and page; CommonMark.
        sentence: the error's text; the constructor's keywords fill the fields in braces.
        example: sample keywords for the API's document.
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
    """More requests with images are waiting than the server allows."""

    name = "busy"
    status = 503
    title = "Busy"
    meaning = (
        "The server is busy with other requests. Send the request again after the number of "
        "seconds in `Retry-After`."
    )
    sentence = "Too many images are waiting. Try again in a few seconds."


# --- An image that cannot be used ------------------------------------------------------------


class ImageError(Problem):
    """An uploaded file that cannot be used as an image."""


class EmptyImage(ImageError):
    """A file without content."""

    name = "empty-image"
    status = 400
    title = "Empty file"
    meaning = "The file has no content."
    sentence = "The file is empty. Choose another image."


class UnsupportedImage(ImageError):
    """Not an image, or not in a format of `limits.FORMATS`."""

    name = "unsupported-image"
    status = 415
    title = "Not a readable image"
    meaning = "The file is not an image, or its format is not supported."
    sentence = (
        f"The file is not an image that can be read here. Save it as {READABLE} and send it again."
    )


class UnsupportedVariant(ImageError):
    """A variant of a known format that no decoder here reads; the image may be intact."""

    name = "unsupported-variant"
    status = 415
    title = "Unsupported variant"
    meaning = (
        "The format is supported, but this variant of it is not. The file is not necessarily "
        "damaged."
    )
    sentence = (
        "The file is {kind}, which cannot be read here. Save it as an ordinary JPEG or PNG and "
        "send it again."
    )
    example: ClassVar[dict[str, Any]] = {"kind": "a variant of TIFF"}


class DicomNotRead(ImageError):
    """A DICOM file, on a server without the optional package pydicom."""

    name = "dicom-not-read"
    status = 415
    title = "DICOM files cannot be read"
    meaning = (
        "This server cannot read DICOM files. Its operator can install pydicom to enable them."
    )
    sentence = (
        "DICOM files cannot be read here. Export the image as JPEG or PNG and send that instead."
    )

    def at_the_command_line(self) -> str:
        """Name the package."""
        return "To read DICOM files, install a package: pip install pydicom"


class DamagedImage(ImageError):
    """A known format, but truncated or corrupted."""

    name = "damaged-image"
    status = 422
    title = "Damaged image"
    meaning = "The format is supported, but the file is truncated or corrupted."
    sentence = "The image is damaged or incomplete. Save or copy it again and retry."


class ImageTooLarge(ImageError):
    """More pixels than `limits.max_pixels`, or `limits.MAX_SIDE` on one side."""

    name = "image-too-large"
    status = 413
    title = "Too many pixels"
    meaning = "The model looks at 28 × 28 pixels, so a smaller copy loses hardly anything."
    sentence = (
        "The image has more than {limit}. Send a smaller copy: 2,000 pixels on a side are more "
        "than enough."
    )
    example: ClassVar[dict[str, Any]] = {
        "limit": f"{MAX_PIXELS // MEGA} million pixels, the limit for its format"
    }

    @classmethod
    def of_area(cls, most: int) -> "ImageTooLarge":
        """The error of an image with more than `most` pixels."""
        return cls(limit=f"{most // MEGA} million pixels, the limit for its format")

    @classmethod
    def of_side(cls) -> "ImageTooLarge":
        """The error of an image with a side longer than `limits.MAX_SIDE`."""
        return cls(limit=f"{MAX_SIDE:,} pixels on one side")

    @classmethod
    def check(cls, size: tuple[int, int], image_format: str | None) -> None:
        """Check that an image is no larger than its format allows.

        Args:
            size: (width, height) in pixels.
            image_format: Pillow's name for it.

        Raises:
            ImageTooLarge
        """
        most = max_pixels(image_format)
        if size[0] * size[1] > most:
            raise cls.of_area(most)
        if max(size) > MAX_SIDE:
            raise cls.of_side()


class ImageTooCostly(ImageError):
    """An image whose decoding takes more time or memory than one image is allowed."""

    name = "image-too-costly"
    status = 422
    title = "Too costly to read"
    meaning = (
        "Reading the image takes more time or memory than one image is allowed, because of its "
        "size, its format or other content of the file. A smaller copy, or an ordinary JPEG (not "
        "a progressive one), takes less."
    )
    sentence = (
        "Reading the image takes too much time or memory. Make it smaller or save it as an "
        "ordinary JPEG, and send it again."
    )


class NotProcessed(ImageError):
    """An image of a batch for which no time was left."""

    name = "not-processed"
    status = 503
    title = "Not processed"
    meaning = (
        "The images before it took too long, or the server is busy. Send this one again, alone or "
        "in a smaller batch."
    )
    sentence = "No time was left for this image. Send it again."
