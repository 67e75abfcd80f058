"""The client's address and the app's own, behind proxies: headers, Host and path prefix.

A client can send the same headers as a proxy. So they are trusted only if a setting gives the
number of proxies, or a platform's own variable shows that there is one.
"""

import os
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from flask import Flask, abort, request
from werkzeug.middleware.proxy_fix import ProxyFix

from lesion_lens.model.errors import SettingError
from lesion_lens.web.settings import whole_number

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

MAX_HOPS = 10
# Letters, digits and the other characters of container names; or an IPv6 address; then a port.
_HOST = re.compile(
    r"(?:([\w.-]{1,253})|\[[\da-f:.]{2,45}\])(?::\d{1,5})?", re.ASCII | re.IGNORECASE
)
# No second slash at the start, which would make it another host, and no dot segments.
_PREFIX = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[\w.~-]+)*", re.ASCII)
_BAD_HOST = "lesion_lens.bad_host"


def trust_proxies(app: Flask) -> None:
    """Take address, scheme, host and prefix from `PROXY_HOPS` proxies, and check them.

    Without the setting, one proxy is assumed on Heroku and Azure. Both leave the true host in
    `Host` and pass on a client's own `X-Forwarded-Host`, so the latter is not trusted there.

    Raises:
        SettingError: `PROXY_HOPS` is not a number from 0 to `MAX_HOPS`.
    """
    on_platform = bool(os.environ.get("DYNO") or os.environ.get("WEBSITE_SITE_NAME"))
    given = str(app.config["PROXY_HOPS"]).strip()
    setting = given or ("1" if on_platform else "0")
    hops = whole_number(setting, 0, MAX_HOPS)
    if hops is None:
        raise SettingError(
            f"PROXY_HOPS is {setting!r}, not a number from 0 to {MAX_HOPS}: set it to the number "
            "of proxies between visitors and the app."
        )
    app.wsgi_app = CheckedAddresses(app.wsgi_app)  # type: ignore[assignment]
    if hops:
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
            app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops if given else 0, x_prefix=hops
        )
    app.before_request(refuse_bad_host)


class CheckedAddresses:
    """Replaces a Host, prefix or scheme from which no valid address can be made.

    Flask builds a page's addresses from these three. Some values make it fail before it can show a
    page, and others would lead to another host.
    """

    def __init__(self, app: "WSGIApplication") -> None:
        self.app = app

    def __call__(
        self, asked: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Check the request, then pass it to the app."""
        host = asked.get("HTTP_HOST", "")
        if host and not is_host(host):
            asked.update(HTTP_HOST="", SERVER_NAME="localhost", SERVER_PORT="80")
            asked[_BAD_HOST] = True
        prefix = asked.get("SCRIPT_NAME", "").rstrip("/")
        asked["SCRIPT_NAME"] = prefix if _PREFIX.fullmatch(prefix) else ""
        if asked["wsgi.url_scheme"] not in ("http", "https"):
            asked["wsgi.url_scheme"] = "http"
        return self.app(asked, start_response)


def is_host(text: str) -> bool:
    """Whether a Host header is a name or an address, perhaps with a port."""
    if not (match := _HOST.fullmatch(text)):
        return False
    try:
        (match[1] or "").encode().decode("idna").encode("idna")
    except UnicodeError:  # a label that is empty, too long, or invalid Punycode
        return False
    return True


def refuse_bad_host() -> None:
    """Answer 400 to a request with an invalid Host (RFC 9112, section 3.2)."""
    if _BAD_HOST in request.environ:
        abort(400, "The Host header is not a name or an address.")
