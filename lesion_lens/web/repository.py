"""The link to the source code, if a setting names it."""

import re
from urllib.parse import urlsplit

from flask import Flask

from lesion_lens.model.errors import SettingError


def check_repository(app: Flask) -> None:
    """Check that `REPOSITORY_URL` is an https address, or empty.

    Raises:
        SettingError: it is not. The message does not repeat it, as it may contain a password.
    """
    url = app.config["REPOSITORY_URL"] = app.config["REPOSITORY_URL"].strip()
    if url and not is_public_https(url):
        raise SettingError(
            "REPOSITORY_URL is not an https address, or has a user name or password: set it to one "
            "such as https://example.org/lesion-lens, or remove it."
        )


# A host name of letters, digits and inner hyphens (RFC 1123), or an IP address; a port may follow.
_HOST = re.compile(
    r"(?:(?:[a-z\d](?:[a-z\d-]{0,61}[a-z\d])?\.)*[a-z\d](?:[a-z\d-]{0,61}[a-z\d])?\.?"
    r"|\[[a-f\d:.]+\])(?::\d+)?",
    re.ASCII | re.IGNORECASE,
)


def is_public_https(url: str) -> bool:
    """Whether a text is an https address of printable ASCII without a user name or a password."""
    if not (url.isascii() and url.isprintable()) or set(url) & set(" \"'<>\\^`{|}"):
        return False
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises if it is not a number
    except ValueError:
        return False
    return parts.scheme == "https" and bool(_HOST.fullmatch(parts.netloc))
