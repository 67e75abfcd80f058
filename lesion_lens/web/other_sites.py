"""Pages of other sites: their forms are refused. The API answers those that a setting names (CORS).

Browsers say in `Sec-Fetch-Site` where a request comes from. Our own pages send `Origin: null`,
because of their Referrer-Policy, so the origin alone says nothing. Programs send neither.
"""

import re

from flask import Flask, current_app, request

from lesion_lens.model.errors import SettingError
from lesion_lens.web.problems import FromAnotherSite

# What other sites may ask for. The page that explains the API is not among it.
API_PATHS = ("/api/v1/predictions", "/api/v1/openapi.json")
_ORIGIN = re.compile(
    r"(https?)://(?:[a-z\d_-]+(?:\.[a-z\d_-]+)*|\[[\da-f:.]+\])(?::(\d{1,5}))?", re.ASCII
)
_DEFAULT_PORTS = {"http": "80", "https": "443"}
MAX_AGE = 600  # seconds for which a browser need not ask again whether it may


def allow_origins(app: Flask) -> None:
    """Refuse forms of other sites, but on the API those of the origins in `CORS_ORIGINS`.

    Raises:
        SettingError: one of them is no origin.
    """
    origins = [origin_of(text) for text in re.split(r"[,\s]+", app.config["CORS_ORIGINS"]) if text]
    app.extensions["allowed_origins"] = frozenset(origins)
    app.before_request(refuse_other_sites)
    if origins:
        from flask_cors import CORS

        # As patterns, of which each matches one origin: Flask-Cors would guess which text is one.
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
    """Write an origin of the setting as browsers do.

    Raises:
        SettingError: it is none, or stands for every site.
    """
    example = "such as https://example.org"
    if text in ("*", "null"):
        raise SettingError(
            f"CORS_ORIGINS holds {text!r}, which stands for any site: name each origin, {example}."
        )
    match = _ORIGIN.fullmatch(text.lower().removesuffix("/"))  # which address bars add
    if not match or int(match[2] or 0) > 65535:
        raise SettingError(
            f"CORS_ORIGINS holds {text!r}, which is not an origin: write scheme, host and perhaps "
            f"a port, {example}, with a comma between two."
        )
    scheme, port = match.groups()
    default = port is not None and port == _DEFAULT_PORTS[scheme]
    return match[0].removesuffix(f":{port}") if default else match[0]


def refuse_other_sites() -> None:
    """Refuse what a page of another site posts.

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
