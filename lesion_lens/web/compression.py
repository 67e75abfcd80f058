"""Sends text gzipped to clients that accept it, if no proxy in front does so.

Uses Python's own `zlib`: Flask-Compress needs brotli and backports.zstd, 2 MB of wheels that the
deployment's size limit has no room for, and it compresses each file of static/ again for each
request.

BREACH guesses a secret from the size of an answer that also contains input from the attacker.
Answers here contain no secrets: there are no accounts, cookies or tokens in pages. They contain
nothing from other visitors, and pages of other sites get no answers to uploads (other_sites.py).
"""

import functools
import zlib

from flask import Flask, Response, request

from lesion_lens.model.errors import SettingError

# The text types that the app and static/ serve; other images are compressed by their format.
TEXT = frozenset({
    "application/javascript", "application/json", "application/manifest+json",
    "application/problem+json", "image/svg+xml", "text/css", "text/csv", "text/html",
    "text/javascript", "text/plain",
})  # fmt: skip
LEAST = 1000  # bytes; a smaller answer fits into one packet anyway
# Levels of zlib, 1 to 9. At level 1, a result of 57 kB, most of it an image as text, becomes 39 kB
# in 1 to 2 ms. Level 6 takes half as long again and saves another 600 bytes.
ONCE, KEPT = 1, 9


def compress_text(app: Flask) -> None:
    """Make the app gzip text, unless `COMPRESSION` is `off`.

    Raises:
        SettingError: `COMPRESSION` is neither `on` nor `off`.
    """
    if is_compressing(app):
        app.after_request(compress)


def is_compressing(app: Flask) -> bool:
    """Whether the app compresses, rather than a proxy in front.

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
    """Gzip a response if it is text, large enough, and the client accepts gzip.

    The gzipped response has a different ETag, because Werkzeug accepts a weak one as equal in
    `If-Range`. The ETag is weak, because a different zlib may write different bytes (RFC 9110,
    section 8.8.1). A part of a file stays uncompressed.
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
        return response  # the client has the plain text, and sent its ETag
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
    """Whether the request accepts gzip, and prefers it at least as much as plain text."""
    accepted = request.accept_encodings
    # quality() is 0 for an encoding that is not named; `*` stands for all that are not named.
    return accepted.quality("gzip") > 0 and accepted.quality("gzip") >= accepted.quality("identity")


def _gzip(text: bytes, level: int) -> bytes:
    return zlib.compress(text, level, wbits=31)  # 31: gzip's header and trailer, without a time


@functools.lru_cache(maxsize=64)
def _kept_gzip(text: bytes) -> bytes:
    """Gzip and cache what has an ETag and so recurs: pages and the files of static/."""
    return _gzip(text, KEPT)
