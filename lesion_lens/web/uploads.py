"""What a request may bring: images in memory, their number and size.

The pages and the interface for programs share it.
"""

import contextlib
import io

from flask import Request, current_app, request

from lesion_lens.model.errors import LesionLensError

MEGABYTE = 1_000_000
MAX_IMAGES = 50  # of one request
RETRY_AFTER = 2  # seconds
SILENCE = 20  # seconds
MODEL_UNUSABLE = "The model cannot be used at the moment. Try again later."


class NoImage(LesionLensError):
    """A form that was sent without a file."""


class TooManyImages(LesionLensError):
    """A form with more than `MAX_IMAGES` files."""


class InMemoryRequest(Request):
    """A request whose uploads stay in memory: Werkzeug spools those above 500 kB to disk."""

    def _get_file_stream(
        self, total_content_length, content_type, filename=None, content_length=None
    ):
        return io.BytesIO()


def uploaded_images(field):
    """Give the files of a form's field, those without a name left out, as browsers send them.

    Returns:
        list of werkzeug.datastructures.FileStorage, 1 to `MAX_IMAGES`.

    Raises:
        NoImage, TooManyImages
        werkzeug.exceptions.HTTPException: the form cannot be read, or is too large.
    """
    files = [file for file in request.files.getlist(field) if file.filename]
    if not files:
        raise NoImage("No image was chosen. Choose one and send it again.")
    if len(files) > MAX_IMAGES:
        raise TooManyImages(f"More than {MAX_IMAGES} images were sent. Send fewer at once.")
    return files


def max_megabytes():
    """The largest request, in MB of a million bytes."""
    return current_app.config["MAX_CONTENT_LENGTH"] // MEGABYTE


def is_too_large():
    """Whether the request's body is larger than it may be, so that nothing of it was read."""
    return (request.content_length or 0) > current_app.config["MAX_CONTENT_LENGTH"]


def refuse_too_much():
    """Let a body go that is too large, or holds too much; returns the sentence that says so."""
    if not is_too_large():  # its parts are too many, or it is text, or its size was not said
        return "The form holds too much, or more than images. Send fewer or smaller images at once."
    drain()
    return f"More than {max_megabytes()} MB were sent. Send smaller images, or fewer at once."


def set_read_timeout():
    """Give up a client that sends nothing for `SILENCE`, so that it does not hold a thread."""
    connection = request.environ.get("gunicorn.socket")  # Flask's own server has none
    if connection is not None:
        connection.settimeout(SILENCE)


def drain():
    """Read away, up to a bound, a body that is too large, keeping none of it.

    A server that answers and closes before the browser has sent everything breaks the
    connection, and the browser shows that instead of the page. Only for a body of which nothing
    was read yet: at its end the server would wait for more.
    """
    stream = request.environ["wsgi.input"]
    left = min(request.content_length, 8 * current_app.config["MAX_CONTENT_LENGTH"])
    with contextlib.suppress(OSError):  # the client has gone, or sends no more
        while left > 0 and (chunk := stream.read(min(left, 65536))):
            left -= len(chunk)
