"""The security headers of every response, as OWASP's Secure Headers Project lists them.

Also ETags for unchanged answers, and request headers that Werkzeug cannot read.
"""

from flask import Response, request
from werkzeug.http import parse_date

# Allows nothing from other sites, no inline scripts or styles, and no framing. Images of a result
# use data:, the preview of an upload uses blob:.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; manifest-src 'self'; worker-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
# The features that Chromium lets a page switch off without a warning. The camera stays on for the
# form's own button.
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
    "X-Frame-Options": "DENY",  # for browsers without frame-ancestors
    "X-Permitted-Cross-Domain-Policies": "none",
}
# For answers given without the app.
ERROR_HEADERS = HEADERS | {"Cache-Control": "no-store"}
# Two years, for this host alone: the app cannot speak for other hosts of the domain.
STRICT_TRANSPORT_SECURITY = "max-age=63072000"


def drop_bad_dates() -> None:
    """Ignore dates that make Werkzeug fail, as RFC 9110 (13.1.3) requires for invalid ones."""
    for name in _DATES:
        try:
            parse_date(request.environ.get(name))
        except OverflowError:
            del request.environ[name]


_DATES = ("HTTP_DATE", "HTTP_IF_MODIFIED_SINCE", "HTTP_IF_RANGE", "HTTP_IF_UNMODIFIED_SINCE")


def add_validator(response: Response) -> Response:
    """Give an answer to GET or HEAD an ETag, the hash of its body; 304 if the client has that body.

    Most such answers depend only on files and settings. Files of static/ already have an ETag;
    errors, answers to uploads and answers that a view marks as no-store get none.
    """
    is_answer = request.method in ("GET", "HEAD") and response.status_code == 200
    is_passing = response.is_streamed or response.cache_control.no_store
    if is_answer and not is_passing and "ETag" not in response.headers:
        response.add_etag()
        response.make_conditional(request)
    return response


def add_headers(response: Response) -> Response:
    """Add the security headers, and say what browsers and proxies may store.

    They must not store answers to uploads, errors, or answers that a view marks as no-store. They
    revalidate everything else each time, which costs only the ETag if nothing has changed. This
    does not affect what the service worker stores.
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
