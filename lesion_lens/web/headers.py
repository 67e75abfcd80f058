"""The security headers of every response."""

from flask import Response, request

# Nothing is fetched from elsewhere, no script or style stands in a page, and no page in a frame.
# data: are the images of a result, blob: the preview of an upload.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; manifest-src 'self'; worker-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)


def add_headers(response: Response) -> Response:
    """Add them, and forbid browsers to keep the response to an upload."""
    response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["X-Frame-Options"] = "DENY"  # for browsers that know no frame-ancestors
    response.headers["Referrer-Policy"] = "no-referrer"
    if request.method == "POST":
        response.headers["Cache-Control"] = "no-store"
    return response
