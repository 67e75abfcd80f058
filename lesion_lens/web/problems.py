"""What can be wrong with a request, and its status: the problem types of RFC 9457."""

from dataclasses import dataclass

from lesion_lens.model.errors import (
    Busy,
    DamagedImage,
    EmptyImage,
    ImageTooLarge,
    LesionLensError,
    ModelFileError,
    UnsupportedImage,
)
from lesion_lens.model.images import MAX_PIXELS, MAX_SIDE, READABLE
from lesion_lens.web.uploads import MAX_IMAGES, MODEL_UNUSABLE, NoImage, TooManyImages


class WrongContentType(LesionLensError):
    """A request that is not a form with files."""


class UnknownField(LesionLensError):
    """A form with a field other than `image`."""


class NotAFile(LesionLensError):
    """A part of the field `image` without a file name, which makes it text."""


class RequestTooLarge(LesionLensError):
    """More bytes, parts or text than a request may have."""


class NoImageUsable(LesionLensError):
    """A batch of which no image could be classified."""


class ServerFailed(LesionLensError):
    """A fault of the server's own."""


@dataclass(frozen=True)
class ProblemType:
    """A kind of problem.

    Attributes:
        name: the end of its `type`, and the anchor of its paragraph on the readable page.
        status: of the HTTP answer.
        title: the same for every problem of this type.
        meaning: when it comes and what to do, for the OpenAPI document and the page.
        example: a `detail` that such a problem has.
    """

    name: str
    status: int
    title: str
    meaning: str
    example: str


PROBLEM_TYPES = {
    NoImage: ProblemType(
        "no-image",
        400,
        "No image was sent",
        "The form has no file in the field `image`, or breaks off before its first.",
        "No image was chosen. Choose one and send it again.",
    ),
    TooManyImages: ProblemType(
        "too-many-images",
        400,
        "Too many images",
        "Split the batch into several requests.",
        f"More than {MAX_IMAGES} images were sent. Send fewer at once.",
    ),
    NotAFile: ProblemType(
        "not-a-file",
        400,
        "Text in the place of a file",
        "A part of a form is a file only if it has a file name; any name will do.",
        "A part named image has no file name. Send each image as a file.",
    ),
    UnknownField: ProblemType(
        "unknown-field",
        400,
        "Unknown field",
        "Whatever is not an image is refused, so that a misspelt field is noticed.",
        "The form has a field 'picture'. Send images in the field image, and nothing else.",
    ),
    EmptyImage: ProblemType(
        "empty-image",
        400,
        "Empty file",
        "A file of no bytes.",
        "The file is empty. Choose another image.",
    ),
    RequestTooLarge: ProblemType(
        "request-too-large",
        413,
        "Too much was sent",
        "Nothing of the request was classified. Send smaller images, or fewer at once.",
        "More than 20 MB were sent. Send smaller images, or fewer at once.",
    ),
    ImageTooLarge: ProblemType(
        "image-too-large",
        413,
        "Too many pixels",
        "The model looks at 28 × 28 pixels, so a smaller copy loses hardly anything.",
        f"The image has more than {MAX_PIXELS // 1_000_000} million pixels, or more than "
        f"{MAX_SIDE:,} on one side. Make it smaller and send it again.",
    ),
    WrongContentType: ProblemType(
        "wrong-content-type",
        415,
        "Not a form",
        "The request’s `Content-Type` must be `multipart/form-data`, with its boundary. Most "
        "libraries set it by themselves when they are given files.",
        "The request is not multipart/form-data. Send the images as files of a form.",
    ),
    UnsupportedImage: ProblemType(
        "unsupported-image",
        415,
        "Not an image that can be read",
        "No image at all, or one of another format.",
        f"The file is not an image that can be read here. Save it as {READABLE} and send it again.",
    ),
    DamagedImage: ProblemType(
        "damaged-image",
        422,
        "Damaged image",
        "The right format, but broken off or spoiled.",
        "The image is damaged or incomplete. Save or copy it again and retry.",
    ),
    NoImageUsable: ProblemType(
        "no-image-usable",
        422,
        "No image of the batch can be used",
        "Of several images, not one could be classified. The member `results` has the problem of "
        "each, in their order.",
        "None of the 2 images can be used. Each of the results says why.",
    ),
    ServerFailed: ProblemType(
        "server-failed",
        500,
        "The server failed",
        "A fault of the server’s own, and its log says which.",
        "The server failed. Nothing was wrong with the request.",
    ),
    Busy: ProblemType(
        "busy",
        503,
        "Busy",
        "Other requests are being worked on. Send the same again after as many seconds as "
        "`Retry-After` says.",
        "Too many images are waiting for their turn. Try again in a few seconds.",
    ),
    ModelFileError: ProblemType(
        "model-unusable",
        503,
        "The model cannot be used",
        "Something is wrong with the server, and its log says what.",
        MODEL_UNUSABLE,
    ),
}
