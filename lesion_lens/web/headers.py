"""The security headers of every response: those that OWASP's Secure Headers Project lists.

Also the ETag of what does not change, and headers of requests that Werkzeug cannot read.
"""

from flask import Response, request
from werkzeug.http import parse_date

# Nothing is fetched from elsewhere, no script or style stands in a page, and no page in a frame.
# data: are the images of a result, blob: the preview of an upload.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; manifest-src 'self'; worker-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
# All features that Chromium lets a page switch off and that it does not warn of. The camera is for
# the form's own button.
SWITCHED_OFF = (
    "accelerometer", "autoplay", "clipboard-read", "clipboard-write",
    "display-capture", "encrypted-media", "fullscreen", "gamepad", "geolocation", "gyroscope",
    "hid", "idle-detection", "keyboard-map", "local-fonts", "magnetometer", "microphone", "midi",
    "otp-credentials", "payment", "picture-in-picture", "publickey-credentials-create",
    "publickey-credentials-get", "screen-wake-lock", "serial", "storage-access", "sync-xhr", "usb",
    "window-management", "xr-spatial-tracking",
)  # fmt: skip
PERMISSIONS_POLICY = ", ".join(["camera=(self)", *(f"{name}=()" for name in SWITCHED_OFF)])

HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": PERMISSIONS_POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-DNS-Prefetch-Control": "off",
    "X-Frame-Options": "DENY",  # for browsers that know no frame-ancestors
    "X-Permitted-Cross-Domain-Policies": "none",
}
# Of answers that never reach the app.
ERROR_HEADERS = HEADERS | {"Cache-Control": "no-store"}
# Two years, for this host alone: the app cannot speak for other hosts of the domain.
STRICT_TRANSPORT_SECURITY = "max-age=63072000"


def drop_bad_dates() -> None:
    """Ignore dates that Werkzeug fails on, as RFC 9110 (13.1.3) wants of invalid ones."""
    for name in _DATES:
        try:
            parse_date(request.environ.get(name))
        except OverflowError:
            del request.environ[name]


_DATES = ("HTTP_DATE", "HTTP_IF_MODIFIED_SINCE", "HTTP_IF_RANGE", "HTTP_IF_UNMODIFIED_SINCE")


def add_validator(response: Response) -> Response:
    """Give an answer to GET or HEAD the hash of its body as ETag, or 304 to whoever has that body.

    Most such answers depend on files and settings only. Files of static/ have an ETag already, and
    errors, answers to an upload and what a view says is not to be stored get none.
    """
    is_answer = request.method in ("GET", "HEAD") and response.status_code == 200
    is_passing = response.is_streamed or response.cache_control.no_store
    if is_answer and not is_passing and "ETag" not in response.headers:
        response.add_etag()
        response.make_conditional(request)
    return response


def add_headers(response: Response) -> Response:
    """Add them, and say what browsers and proxies may keep.

    Nothing is kept of an answer to an upload, nor of an error, nor where a view has said so. All
    else is asked for anew each time; what has not changed then costs no more than its ETag. What a
    service worker stores does not go by this.
    """
    response.headers.update(HEADERS)
    if request.is_secure:
        response.headers["Strict-Transport-Security"] = STRICT_TRANSPORT_SECURITY
    is_said = response.cache_control.no_store
    if is_said or request.method == "POST" or response.status_code >= 400:
        response.headers["Cache-Control"] = "no-store"
    else:
        response.headers["Cache-Control"] = "no-cache"
    return response
