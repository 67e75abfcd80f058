"""What can be wrong with a request besides its images, and the list of all problems.

Each is an exception whose class holds all that is said of it; those of images are in
lesion_lens.model.errors.
"""

from collections.abc import Iterable
from typing import Any, ClassVar

from flask import current_app

from lesion_lens.model.errors import (
    Busy,
    DamagedImage,
    DicomNotRead,
    EmptyImage,
    ImageTooCostly,
    ImageTooLarge,
    ModelFileError,
    NotProcessed,
    Problem,
    UnsupportedImage,
    UnsupportedVariant,
)
from lesion_lens.web.limits import API_FIELD, EXPLAIN, MAX_IMAGES, MAX_MEGABYTES, RETRY_AFTER


class NoImage(Problem):
    """A form that was sent without a file."""

    name = "no-image"
    status = 400
    title = "No image was sent"
    meaning = f"The form has no file in the field `{API_FIELD}`, or breaks off before its first."
    sentence = "No image was chosen. Choose one, then send it."


class TooManyImages(Problem):
    """A form with more than `MAX_IMAGES` files."""

    name = "too-many-images"
    status = 400
    title = "Too many images"
    meaning = "Split the batch into several requests."
    sentence = f"More than {MAX_IMAGES} images were sent. Send fewer at once."


class NotAFile(Problem):
    """A part of the field `API_FIELD` without a file name, which makes it text."""

    name = "not-a-file"
    status = 400
    title = "Text in the place of a file"
    meaning = "A part of a form is a file only if it has a file name; any name will do."
    sentence = f"A part named {API_FIELD} has no file name. Send each image as a file."


class BadCrop(Problem):
    """A form that does not say rightly what was cut away; of the upload page alone."""

    name = "bad-crop"
    status = 400
    title = "The crop cannot be read"
    meaning = (
        "The fields `crop` and `view` are each `left,top,right,bottom`, shares of the whole "
        "picture from 0 to 1, of a single image."
    )
    sentence = (
        "The form does not say rightly what was cut away: {reason} Choose the image again, and "
        "send the whole picture."
    )
    example: ClassVar[dict[str, Any]] = {"reason": "crop was sent with more than one image."}


class UnknownField(Problem):
    """A form with a field other than `API_FIELD`."""

    name = "unknown-field"
    status = 400
    title = "Unknown field"
    meaning = "Whatever is not an image is refused, so that a misspelt field is noticed."
    sentence = (
        f"The form has a field {{field!r}}. Send images in the field {API_FIELD}, and nothing else."
    )
    example: ClassVar[dict[str, Any]] = {"field": "picture"}


class InvalidParameter(Problem):
    """A parameter with another value than it may have, or with several."""

    name = "invalid-parameter"
    status = 400
    title = "Invalid parameter"
    meaning = "A parameter has a value that it may not have, or stands in the address twice."
    sentence = f"The parameter {EXPLAIN} is {{value!r}}. Give it once, as 1 or as 0."
    example: ClassVar[dict[str, Any]] = {"value": "yes"}


class MalformedRequest(Problem):
    """A request that the app cannot make sense of."""

    name = "malformed-request"
    status = 400
    title = "Malformed request"
    meaning = "Something in the request is not as HTTP has it, and the sentence says what."
    sentence = "{reason} Correct it and send the request again."
    example: ClassVar[dict[str, Any]] = {"reason": "The Host header is not a name or an address."}


class FromAnotherSite(Problem):
    """A form that a page of another site sent, by what the browser says."""

    name = "from-another-site"
    status = 403
    title = "Sent by another site"
    meaning = (
        "A browser sent this for a page of another site (`Sec-Fetch-Site`), whose origin this "
        "server does not allow. Non-browser clients are unaffected."
    )
    sentence = "Another site sent this form. Open the upload page and send the image from there."


class NoSuchAddress(Problem):
    """An address of the API that leads nowhere."""

    name = "no-such-address"
    status = 404
    title = "No such address"
    meaning = "The API has no such address. It may be misspelt, or of another version."
    sentence = "There is nothing at {path}. Send images to {predictions}, and read {docs}."
    example: ClassVar[dict[str, Any]] = {
        "path": "/api/v1/prediction",
        "predictions": "/api/v1/predictions",
        "docs": "/api/v1/docs",
    }


class MethodNotAllowed(Problem):
    """An address of the API that is there, asked by a method that it does not take.

    Attributes:
        allowed: the methods that it takes.
    """

    name = "method-not-allowed"
    status = 405
    title = "Method not allowed"
    meaning = (
        "The address is there, but not for this method. The header `Allow` names those it takes."
    )
    sentence = "{path} does not take {method}. Use {methods}."
    example: ClassVar[dict[str, Any]] = {
        "path": "/api/v1/predictions",
        "method": "GET",
        "allowed": ("OPTIONS", "POST"),
    }

    def __init__(self, path: str, method: str, allowed: Iterable[str]) -> None:
        self.allowed = sorted(allowed)
        *others, last = self.allowed
        methods = f"{', '.join(others)} or {last}" if others else last
        super().__init__(path=path, method=method, methods=methods)


class RequestTooLarge(Problem):
    """More bytes than a request may have."""

    name = "request-too-large"
    status = 413
    title = "Too much was sent"
    meaning = "Nothing of the request was classified. Send smaller images, or fewer at once."
    sentence = "More than {megabytes} MB were sent. Send smaller images, or fewer at once."
    example: ClassVar[dict[str, Any]] = {"megabytes": MAX_MEGABYTES}


class FormTooLarge(RequestTooLarge):
    """More parts or text than a form may have, or a body that did not say its size."""

    sentence = "The form holds too much, or more than images. Send fewer or smaller images at once."


class WrongContentType(Problem):
    """A request that is neither a form with files nor an image."""

    name = "wrong-content-type"
    status = 415
    title = "Neither a form nor an image"
    meaning = (
        "The request’s `Content-Type` must be `multipart/form-data`, with its boundary, which most "
        "libraries set by themselves when they are given files. Or the body is one image, and its "
        "type is `image/jpeg` or whatever it is."
    )
    sentence = (
        "The request is neither multipart/form-data nor an image by its Content-Type. Send the "
        "images as files of a form, or one image as image/jpeg or whatever it is."
    )


class NoImageUsable(Problem):
    """A batch of which no image could be classified."""

    name = "no-image-usable"
    status = 422
    title = "No image of the batch can be used"
    meaning = (
        "Of several images, not one could be classified. The member `results` has the problem of "
        "each, in their order."
    )
    sentence = "None of the {count} images can be used. Each of the results says why."
    example: ClassVar[dict[str, Any]] = {"count": 2}


class TooManyRequests(Problem):
    """More uploads of one visitor than `RATE_LIMIT` allows.

    Attributes:
        seconds: after which the next may be sent.
    """

    name = "too-many-requests"
    status = 429
    title = "Too many requests"
    meaning = (
        "This server limits how many uploads one internet address may send in a time. No image of "
        "the request was classified. Send it again after as many seconds as `Retry-After` says."
    )
    sentence = "Too many uploads came from your internet address. Wait {seconds} s and try again."
    example: ClassVar[dict[str, Any]] = {"seconds": 60}

    def __init__(self, seconds: int) -> None:
        super().__init__(seconds=seconds)
        self.seconds = seconds


class ServerFailed(Problem):
    """A fault of the server's own."""

    name = "server-failed"
    status = 500
    title = "The server failed"
    meaning = "A fault of the server’s own, and its log says which."
    sentence = "The server failed. Nothing was wrong with the request."


class ModelUnusable(Problem):
    """A `ModelFileError`, as visitors are told of it: its own sentence is for the operator."""

    name = "model-unusable"
    status = 503
    title = "The model cannot be used"
    meaning = "Something is wrong with the server, and its log says what."
    sentence = "The model cannot be used at the moment. Try again later."


def hide_model_error(error: ModelFileError) -> ModelUnusable:
    """Write into the log what is wrong with the model file; returns what a visitor is told."""
    current_app.logger.error("%s", error)
    return ModelUnusable()


def retry_header(problem: Problem) -> dict[str, str]:
    """The header that says after how many seconds to try again, of problems that pass."""
    if isinstance(problem, TooManyRequests):
        return {"Retry-After": str(problem.seconds)}
    return {"Retry-After": str(RETRY_AFTER)} if problem.status == 503 else {}


# Of a request with one of these, nothing of the body was read.
UNREAD = (
    InvalidParameter,
    FromAnotherSite,
    NoSuchAddress,
    MethodNotAllowed,
    WrongContentType,
    TooManyRequests,
)

# In the order of their statuses, as the API's document and page list them.
PROBLEMS: tuple[type[Problem], ...] = (
    NoImage,
    TooManyImages,
    NotAFile,
    UnknownField,
    InvalidParameter,
    MalformedRequest,
    EmptyImage,
    FromAnotherSite,
    NoSuchAddress,
    MethodNotAllowed,
    RequestTooLarge,
    ImageTooLarge,
    WrongContentType,
    UnsupportedImage,
    UnsupportedVariant,
    DicomNotRead,
    DamagedImage,
    ImageTooCostly,
    NoImageUsable,
    TooManyRequests,
    ServerFailed,
    Busy,
    NotProcessed,
    ModelUnusable,
)
