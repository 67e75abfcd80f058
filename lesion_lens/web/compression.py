"""Text is sent gzipped to clients that take it, where no proxy in front does so.

With `zlib` of Python's own: Flask-Compress needs brotli and backports.zstd, 2 MB of wheels, for
which a deployment has no room, and it compresses each file of static/ anew for each request.

BREACH guesses a secret from the size of an answer that also holds something of the attacker's. No
answer here holds a secret: there is no account, no cookie and no token in a page. Nothing of
another visitor is in it, and a page of another site can have no upload answered (other_sites.py).
"""

import functools
import zlib

from flask import Flask, Response, request

from lesion_lens.model.errors import SettingError

# As the app and static/ serve them; other images are compressed by their format.
TEXT = frozenset({
    "application/javascript", "application/json", "application/manifest+json",
    "application/problem+json", "image/svg+xml", "text/css", "text/csv", "text/html",
    "text/javascript", "text/plain",
})  # fmt: skip
LEAST = 1000  # bytes; a smaller answer fits into one packet either way
# Levels of zlib, 1 to 9. A result of 57 kB, most of it an image as text, becomes 39 kB in 1 to 2 ms
# at level 1; level 6 takes half as long again and saves another 600 bytes.
ONCE, KEPT = 1, 9


def compress_text(app: Flask) -> None:
    """Have the app gzip text, unless `COMPRESSION` is `off`.

    Raises:
        SettingError: `COMPRESSION` is neither `on` nor `off`.
    """
    if is_compressing(app):
        app.after_request(compress)


def is_compressing(app: Flask) -> bool:
    """Whether the app compresses, and no proxy in front.

    Raises:
        SettingError: `COMPRESSION` is neither `on` nor `off`.
    """
    setting = app.config["COMPRESSION"].strip().lower() or "on"
    if setting not in ("on", "off"):
        raise SettingError(
            f"COMPRESSION is {setting!r}: set it to on or off, or remove it, which means on."
        )
    return bool(setting == "on")


def compress(response: Response) -> Response:
    """Gzip a response that is text, large enough and wanted so.

    Its ETag is another one, because Werkzeug takes a weak one for the same in `If-Range`; and it is
    weak, as another zlib may write other bytes (RFC 9110, section 8.8.1). A part of a file stays
    as it is.
    """
    if response.mimetype not in TEXT or (response.is_streamed and not response.direct_passthrough):
        return response
    response.vary.add("Accept-Encoding")
    length = response.content_length or response.calculate_content_length() or 0
    if (
        length < LEAST
        or response.status_code == 206
        or "Content-Encoding" in response.headers
        or not wants_gzip()
    ):
        return response
    etag, _ = response.get_etag()
    if response.status_code == 304 and request.if_none_match:
        return response  # the client has the text as it is, and named its ETag
    if etag is not None:
        response.set_etag(f"{etag}-gzip", weak=True)
        response.make_conditional(request)
    if response.status_code == 304:
        return response
    response.direct_passthrough = False
    text = response.get_data()
    response.set_data(_kept_gzip(text) if etag is not None else _gzip(text, ONCE))
    response.headers["Content-Encoding"] = "gzip"
    response.headers.pop("Accept-Ranges", None)
    return response


def wants_gzip() -> bool:
    """Whether the request accepts gzip, and likes it no less than text as it is."""
    accepted = request.accept_encodings
    # quality() is 0 for what is not named; `*` names all that no other entry does.
    return accepted.quality("gzip") > 0 and accepted.quality("gzip") >= accepted.quality("identity")


def _gzip(text: bytes, level: int) -> bytes:
    return zlib.compress(text, level, wbits=31)  # 31: gzip's head and tail, with no time in it


@functools.lru_cache(maxsize=64)
def _kept_gzip(text: bytes) -> bytes:
    """Gzip what has an ETag, so is asked for again: pages and files of static/, some 30 of them."""
    return _gzip(text, KEPT)
