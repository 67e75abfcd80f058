"""The files of a request: kept in memory, counted and decoded.

Shared by the pages and the API.
"""

import contextlib
import io
import re
import time
from collections.abc import Iterator
from typing import IO, cast

from flask import Request, current_app, request
from werkzeug import formparser
from werkzeug.datastructures import FileStorage, Headers
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.sansio.multipart import MultipartDecoder

from lesion_lens.model.crops import Box, Crop
from lesion_lens.model.decoder import PREVIEW_SIDE, DecodedImage
from lesion_lens.model.decoding import Requester, decode
from lesion_lens.model.errors import Busy, ImageError, NotProcessed
from lesion_lens.web.limits import BATCH_LIMIT, MAX_IMAGES, MEGABYTE
from lesion_lens.web.problems import BadCrop, FormTooLarge, NoImage, RequestTooLarge, TooManyImages

# Set by the server in the environment of a request:
CLIENT_GONE = "lesion_lens.client_gone"  # an event that is set when the client leaves
NO_ROOM = "lesion_lens.no_room"  # whether the body was discarded for lack of room
WAITED = "lesion_lens.waited"  # seconds that the body waited for room


# The most bytes of the headers of one file in a form, and of all of them together. Parsing longer
# ones would take seconds.
LONGEST_PART_HEADER, ALL_PART_HEADERS = 8192, 65_536


class LenientDecoder(MultipartDecoder):
    """Accepts file names that are not UTF-8, for which Werkzeug silently drops the whole form.

    Also accepts non-ASCII names without quotation marks, which Werkzeug ignores.
    """

    _parsed = 0  # bytes of headers so far

    def _parse_headers(self, data: bytes | bytearray) -> Headers:
        self._parsed += len(data)
        if len(data) > LONGEST_PART_HEADER or self._parsed > ALL_PART_HEADERS:
            raise RequestEntityTooLarge
        data = re.sub(rb'(;\s*filename=)([^";\r\n]*[^";\r\n -~][^";\r\n]*)', rb'\1"\2"', data)
        return super()._parse_headers(data.decode(errors="replace").encode())


formparser.MultipartDecoder = LenientDecoder  # type: ignore[misc] # there is no other hook


class InMemoryRequest(Request):
    """A request whose uploads stay in memory: Werkzeug spools those above 500 kB to disk."""

    def _get_file_stream(
        self,
        total_content_length: int | None,
        content_type: str | None,
        filename: str | None = None,
        content_length: int | None = None,
    ) -> IO[bytes]:
        return io.BytesIO()


def refuse_without_room() -> None:
    """Refuse a request whose body found no room.

    Raises:
        Busy
    """
    if request.environ.get(NO_ROOM):
        raise Busy


def uploaded_images(field: str) -> list[FileStorage]:
    """Return the files of a form field, without the nameless ones that browsers send when empty.

    Returns:
        1 to `MAX_IMAGES` files.

    Raises:
        NoImage, TooManyImages
        werkzeug.exceptions.HTTPException: the form cannot be read, or is too large.
    """
    files = [file for file in request.files.getlist(field) if file.filename]
    if not files:
        raise NoImage
    if len(files) > MAX_IMAGES:
        raise TooManyImages
    return files


def uploaded_crop(images: int) -> Crop | None:
    """Read the crop that the browser reports in the form fields `crop` and `view`.

    Each is `left,top,right,bottom` in shares of the whole image, 0 to 1. `crop` is the frame that
    was sent; `view`, if the image has black borders, is the part inside them.

    Args:
        images: how many are in the form.

    Returns:
        None if the form has neither field, or nothing was cropped.

    Raises:
        BadCrop: they cannot be read, or the form has more than one image.
    """
    boxes = {field: request.form.getlist(field) for field in ("crop", "view")}
    if not any(boxes.values()):
        return None
    if images > 1:
        raise BadCrop(reason="crop was sent with more than one image.")
    if len(boxes["crop"]) != 1 or len(boxes["view"]) > 1:
        raise BadCrop(reason="crop must be sent once, and view at most once.")
    try:
        crop = Crop(*(Box.from_text(text) for texts in boxes.values() for text in texts))
    except ValueError as error:
        raise BadCrop(reason=str(error)) from error
    return None if crop.frame == Box() else crop


def decoded(
    files: list[FileStorage], with_preview: bool = False, preview_side: int = PREVIEW_SIDE
) -> Iterator[tuple[str, DecodedImage | ImageError]]:
    """Decode a request's files one after another, for up to `BATCH_LIMIT` seconds.

    Args:
        files: of the request.
        with_preview: whether to make a preview of each.
        preview_side: the longest side of the preview, up to `PREVIEW_SIDE` pixels.

    Yields:
        (name, image or the error of the file), in the order of the files.

    Raises:
        Busy: the server is too busy for the only file.
        ClientGone: the client no longer waits for the answer.
    """
    gone = request.environ.get(CLIENT_GONE)
    waited = request.environ.get(WAITED, 0)
    requester = Requester(waited=waited) if gone is None else Requester(gone.is_set, waited)
    end = time.monotonic() + BATCH_LIMIT
    for file in files:
        image: DecodedImage | ImageError = NotProcessed()
        if time.monotonic() < end:
            try:
                image = decode(bytes_of(file), with_preview, requester, preview_side)
            except ImageError as error:
                # A new error: the traceback of this one refers to the file in a cycle, which would
                # keep the file in memory until the next garbage collection.
                image = type(error)(**error.values)
            except Busy:
                if len(files) == 1:
                    raise
            requester.waited = 0  # only the first file waited
        yield file.filename or "", image


def bytes_of(file: FileStorage) -> bytes:
    """Take the bytes out of an uploaded file, so that they are in memory only once."""
    data = cast(io.BytesIO, file.stream).getvalue()  # unlike `read`, copies nothing
    file.close()
    return data


def max_megabytes() -> int:
    """Return the size limit of a request, in MB of a million bytes."""
    return _max_content_length() // MEGABYTE


def drain_oversized_body() -> RequestTooLarge:
    """Read and discard a body that is too large or has too many parts; return the problem."""
    if (request.content_length or 0) <= _max_content_length():
        # It has too many parts, is text, or did not declare its size: it has already been read.
        return FormTooLarge()
    drain()
    return RequestTooLarge(megabytes=max_megabytes())


def drain() -> None:
    """Read and discard the request's body, up to a limit.

    If a server answers and closes before the browser has sent everything, the connection breaks,
    and the browser shows an error instead of the page. Only for a body that has not been read yet:
    after its end, the server would wait for more.
    """
    stream = request.environ["wsgi.input"]
    left = min(request.content_length or 0, 8 * _max_content_length())
    with contextlib.suppress(OSError):  # the client is gone, or has stopped sending
        while left > 0 and (chunk := stream.read(min(left, 65536))):
            left -= len(chunk)


def _max_content_length() -> int:
    limit: int = current_app.config["MAX_CONTENT_LENGTH"]
    return limit
