"""What can be wrong with a request, apart from its images, and the list of all problems.

Each problem is an exception whose class holds all its texts. The problems of images are in
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
    meaning = f"The form has no file in the field `{API_FIELD}`, or ends before the first one."
    sentence = "No image was chosen. Choose one, then send it."


class TooManyImages(Problem):
    """A form with more than `MAX_IMAGES` files."""

    name = "too-many-images"
    status = 400
    title = "Too many images"
    meaning = "Split the batch into several requests."
    sentence = f"More than {MAX_IMAGES} images were sent. Send fewer at once."


class NotAFile(Problem):
    """A part of the form named `API_FIELD` without a file name, so it counts as text."""

    name = "not-a-file"
    status = 400
    title = "Text instead of a file"
    meaning = "A part of a form is a file only if it has a file name. Any name will do."
    sentence = f"A part named {API_FIELD} has no file name. Send each image as a file."


class BadCrop(Problem):
    """A form of the upload page with an invalid crop."""

    name = "bad-crop"
    status = 400
    title = "Invalid crop"
    meaning = (
        "For a single image, the fields `crop` and `view` are each `left,top,right,bottom`, as "
        "shares of the whole picture from 0 to 1."
    )
    sentence = (
        "The crop in the form is invalid: {reason} Choose the image again and send the whole "
        "picture."
    )
    example: ClassVar[dict[str, Any]] = {"reason": "crop was sent with more than one image."}


class UnknownField(Problem):
    """A form with a field other than `API_FIELD`."""

    name = "unknown-field"
    status = 400
    title = "Unknown field"
    meaning = "Other fields are refused, so that you notice a misspelt one."
    sentence = (
        f"The form has a field {{field!r}}. Send images in the field {API_FIELD} and nothing else."
    )
    example: ClassVar[dict[str, Any]] = {"field": "picture"}


class InvalidParameter(Problem):
    """A parameter with an invalid value, or with several values."""

    name = "invalid-parameter"
    status = 400
    title = "Invalid parameter"
    meaning = "A query parameter has an invalid value, or is given more than once."
    sentence = f"The parameter {EXPLAIN} is {{value!r}}. Give it once, as 1 or 0."
    example: ClassVar[dict[str, Any]] = {"value": "yes"}


class MalformedRequest(Problem):
    """A request that the app cannot understand."""

    name = "malformed-request"
    status = 400
    title = "Malformed request"
    meaning = "The request breaks the rules of HTTP. `detail` says how."
    sentence = "{reason} Correct it and send the request again."
    example: ClassVar[dict[str, Any]] = {"reason": "The Host header is not a name or an address."}


class FromAnotherSite(Problem):
    """A form sent by a page of another site, according to the browser."""

    name = "from-another-site"
    status = 403
    title = "Sent by another site"
    meaning = (
        "A browser sent this for a page of another site (`Sec-Fetch-Site`), whose origin this "
        "server does not allow. Clients other than browsers are not affected."
    )
    sentence = "Another site sent this form. Open the upload page and send the image from there."


class NoSuchAddress(Problem):
    """An address below the API that does not exist."""

    name = "no-such-address"
    status = 404
    title = "No such address"
    meaning = "The API has no such address. It may be misspelt or belong to another version."
    sentence = (
        "There is nothing at {path}. Send images to {predictions}. The API is explained at {docs}."
    )
    example: ClassVar[dict[str, Any]] = {
        "path": "/api/v1/prediction",
        "predictions": "/api/v1/predictions",
        "docs": "/api/v1/docs",
    }


class MethodNotAllowed(Problem):
    """An address of the API that does not accept the method.

    Attributes:
        allowed: the methods that it accepts.
    """

    name = "method-not-allowed"
    status = 405
    title = "Method not allowed"
    meaning = (
        "The address exists but does not accept this method. The header `Allow` lists the methods "
        "that it accepts."
    )
    sentence = "{path} does not accept {method}. Use {methods}."
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
    """A request with too many bytes."""

    name = "request-too-large"
    status = 413
    title = "Too much was sent"
    meaning = "No image of the request was classified. Send smaller images, or fewer at once."
    sentence = "More than {megabytes} MB were sent. Send smaller images, or fewer at once."
    example: ClassVar[dict[str, Any]] = {"megabytes": MAX_MEGABYTES}


class FormTooLarge(RequestTooLarge):
    """A form with too many parts or too much text, or a body that did not say its size."""

    sentence = (
        "The form is too large or contains something other than images. Send only images, and "
        "fewer or smaller ones."
    )


class WrongContentType(Problem):
    """A request that is neither a form with files nor an image."""

    name = "wrong-content-type"
    status = 415
    title = "Neither a form nor an image"
    meaning = (
        "The `Content-Type` of a form must be `multipart/form-data` with its boundary, which most "
        "libraries set when you give them files. The `Content-Type` of a single image must be that "
        "of an image, such as `image/jpeg`, or `application/octet-stream`."
    )
    sentence = (
        "The Content-Type is neither multipart/form-data nor that of an image. Send the images as "
        "files of a form, or one image with its own type, such as image/jpeg."
    )


class NoImageUsable(Problem):
    """A batch in which no image could be classified."""

    name = "no-image-usable"
    status = 422
    title = "No image of the batch can be used"
    meaning = (
        "Several images were sent, and none could be classified. The member `results` has the "
        "problem of each image, in the order of the request."
    )
    sentence = "None of the {count} images can be used. Each of the results says why."
    example: ClassVar[dict[str, Any]] = {"count": 2}


class TooManyRequests(Problem):
    """More uploads from one visitor than `RATE_LIMIT` allows.

    Attributes:
        seconds: to wait before the next upload.
    """

    name = "too-many-requests"
    status = 429
    title = "Too many requests"
    meaning = (
        "This server limits the rate of uploads from one internet address. No image of the request "
        "was classified. Send it again after the number of seconds in `Retry-After`."
    )
    sentence = "Too many uploads came from your internet address. Wait {seconds} s and try again."
    example: ClassVar[dict[str, Any]] = {"seconds": 60}

    def __init__(self, seconds: int) -> None:
        super().__init__(seconds=seconds)
        self.seconds = seconds


class ServerFailed(Problem):
    """An error in the server."""

    name = "server-failed"
    status = 500
    title = "The server failed"
    meaning = "An error in the server. Its log has the details."
    sentence = "The server failed. That is not your fault."


class ModelUnusable(Problem):
    """What visitors see of a `ModelFileError`, whose own sentence is for the operator."""

    name = "model-unusable"
    status = 503
    title = "The model cannot be used"
    meaning = "An error in the server. Its log has the details."
    sentence = "The model cannot be used at the moment. Try again later."


def hide_model_error(error: ModelFileError) -> ModelUnusable:
    """Log what is wrong with the model file; return what visitors see instead."""
    current_app.logger.error("%s", error)
    return ModelUnusable()


def retry_header(problem: Problem) -> dict[str, str]:
    """The header with the seconds to wait before trying again, for problems that pass."""
    if isinstance(problem, TooManyRequests):
        return {"Retry-After": str(problem.seconds)}
    return {"Retry-After": str(RETRY_AFTER)} if problem.status == 503 else {}


# If one of these is raised, the body of the request has not been read.
UNREAD = (
    InvalidParameter,
    FromAnotherSite,
    NoSuchAddress,
    MethodNotAllowed,
    WrongContentType,
    TooManyRequests,
)

# By status, in the order of the API's document and page.
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
