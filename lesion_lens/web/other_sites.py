"""Refuses forms from other sites. The API accepts those that a setting names (CORS).

Browsers say in `Sec-Fetch-Site` where a request comes from. Our own pages send `Origin: null`
because of their Referrer-Policy, so the origin alone is not enough. Other programs send neither.
"""

import re

from flask import Flask, current_app, request

from lesion_lens.model.errors import SettingError
from lesion_lens.web.problems import FromAnotherSite

# What other sites may request; this excludes the page that explains the API.
API_PATHS = ("/api/v1/predictions", "/api/v1/openapi.json")
_ORIGIN = re.compile(
    r"(https?)://(?:[a-z\d_-]+(?:\.[a-z\d_-]+)*|\[[\da-f:.]+\])(?::(\d{1,5}))?", re.ASCII
)
_DEFAULT_PORTS = {"http": "80", "https": "443"}
MAX_AGE = 600  # seconds for which a browser may cache the permission


def allow_origins(app: Flask) -> None:
    """Refuse forms from other sites, except on the API from the origins in `CORS_ORIGINS`.

    Raises:
        SettingError: one of these is not an origin.
    """
    origins = [origin_of(text) for text in re.split(r"[,\s]+", app.config["CORS_ORIGINS"]) if text]
    app.extensions["allowed_origins"] = frozenset(origins)
    app.before_request(refuse_other_sites)
    if origins:
        from flask_cors import CORS

        # Patterns that match exactly one origin each: Flask-Cors guesses whether text is a pattern.
        exact = [re.compile(rf"{re.escape(origin)}\Z") for origin in origins]
        CORS(
            app,
            resources=list(API_PATHS),
            origins=exact,
            methods=["GET", "POST"],
            expose_headers=["Retry-After"],
            max_age=MAX_AGE,
        )


def origin_of(text: str) -> str:
    """Write an origin from the setting as browsers do.

    Raises:
        SettingError: it is not an origin, or stands for every site.
    """
    example = "such as https://example.org"
    if text in ("*", "null"):
        raise SettingError(
            f"CORS_ORIGINS has {text!r}, which stands for any site: name each origin, {example}."
        )
    match = _ORIGIN.fullmatch(text.lower().removesuffix("/"))  # the slash that address bars add
    if not match or int(match[2] or 0) > 65535:
        raise SettingError(
            f"CORS_ORIGINS has {text!r}, which is not an origin: write scheme, host and any "
            f"port, {example}. Separate several with commas."
        )
    scheme, port = match.groups()
    default = port is not None and port == _DEFAULT_PORTS[scheme]
    return match[0].removesuffix(f":{port}") if default else match[0]


def refuse_other_sites() -> None:
    """Refuse requests that change something, such as a POST, from pages of other sites.

    Raises:
        FromAnotherSite
    """
    if request.method in ("GET", "HEAD", "OPTIONS"):
        return
    if request.headers.get("Sec-Fetch-Site", "none") in ("same-origin", "none"):
        return
    allowed = current_app.extensions["allowed_origins"]
    if request.path not in API_PATHS or request.headers.get("Origin") not in allowed:
        raise FromAnotherSite
