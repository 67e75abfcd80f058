"""The files of a request: kept in memory, counted, and let go of where they are too many.

The pages and the API share it.
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

# What a server puts into the environment of a request: an event that is set when the client leaves;
CLIENT_GONE = "lesion_lens.client_gone"
# whether there was no room for the body, of which therefore nothing is left;
NO_ROOM = "lesion_lens.no_room"
# and for how many seconds it waited for room.
WAITED = "lesion_lens.waited"


# Bytes of what stands before a file in a form, and before all of them. To parse a longer one would
# take seconds.
LONGEST_PART_HEADER, ALL_PART_HEADERS = 8192, 65_536


class LenientDecoder(MultipartDecoder):
    """Reads a file's name that is not UTF-8: Werkzeug would give up the whole form, silently.

    It would also pass over a name beyond ASCII that has no quotation marks.
    """

    _parsed = 0  # bytes of headers until now

    def _parse_headers(self, data: bytes | bytearray) -> Headers:
        self._parsed += len(data)
        if len(data) > LONGEST_PART_HEADER or self._parsed > ALL_PART_HEADERS:
            raise RequestEntityTooLarge
        data = re.sub(rb'(;\s*filename=)([^";\r\n]*[^";\r\n -~][^";\r\n]*)', rb'\1"\2"', data)
        return super()._parse_headers(data.decode(errors="replace").encode())


formparser.MultipartDecoder = LenientDecoder  # type: ignore[misc] # there is no other way in


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
    """Turn away a request whose body there was no room for.

    Raises:
        Busy
    """
    if request.environ.get(NO_ROOM):
        raise Busy


def uploaded_images(field: str) -> list[FileStorage]:
    """Give the files of a form's field, those without a name left out, as browsers send them.

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
    """Read what the browser says it cut away: the form's fields `crop` and `view`.

    Each is `left,top,right,bottom` in shares of the whole picture, 0 to 1: the frame that was sent,
    and, where the picture has black borders, what these leave of it.

    Args:
        images: how many are in the form.

    Returns:
        None where the form has neither field, or nothing was cut away.

    Raises:
        BadCrop: they cannot be read, or there is not one image to which they could belong.
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
    """Decode a request's files one after the other, for `BATCH_LIMIT` seconds.

    Args:
        files: of the request.
        with_preview: whether to make a preview of each.
        preview_side: the longest side that it may have, up to `PREVIEW_SIDE` pixels.

    Yields:
        (name, image or what is wrong with the file), in the order of the files.

    Raises:
        Busy: the only file had no turn.
        ClientGone: nobody waits for the answer any more.
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
                # A new one, as the traceback of this one leads to the file, and in a circle: the
                # file would stay in memory until the garbage collector comes.
                image = type(error)(**error.values)
            except Busy:
                if len(files) == 1:
                    raise
            requester.waited = 0  # which was before the first alone
        yield file.filename or "", image


def bytes_of(file: FileStorage) -> bytes:
    """Take the bytes out of an uploaded file, so that they are in memory once."""
    data = cast(io.BytesIO, file.stream).getvalue()  # which copies nothing, as `read` would
    file.close()
    return data


def max_megabytes() -> int:
    """The largest request, in MB of a million bytes."""
    return _max_content_length() // MEGABYTE


def drain_oversized_body() -> RequestTooLarge:
    """Read away a body that is too large or holds too much; returns the problem that it is."""
    if (request.content_length or 0) <= _max_content_length():
        # Its parts are too many, or it is text, or its size was not said: it was read already.
        return FormTooLarge()
    drain()
    return RequestTooLarge(megabytes=max_megabytes())


def drain() -> None:
    """Read away, up to a bound, the request's body, keeping none of it.

    A server that answers and closes before the browser has sent everything breaks the
    connection, and the browser shows that instead of the page. Only for a body of which nothing
    was read yet: at its end the server would wait for more.
    """
    stream = request.environ["wsgi.input"]
    left = min(request.content_length or 0, 8 * _max_content_length())
    with contextlib.suppress(OSError):  # the client has gone, or sends no more
        while left > 0 and (chunk := stream.read(min(left, 65536))):
            left -= len(chunk)


def _max_content_length() -> int:
    limit: int = current_app.config["MAX_CONTENT_LENGTH"]
    return limit
