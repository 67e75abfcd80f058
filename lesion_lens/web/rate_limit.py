"""Limits how many uploads a visitor may send, for public instances; off without its setting.

Flask-Limiter counts them by the visitor's IP address, in this process's memory or in Redis.
"""

import ipaddress
import logging
import math
import time

from flask import Flask, current_app, request
from flask.logging import default_handler
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException

from lesion_lens.model.errors import SettingError
from lesion_lens.web.problems import TooManyRequests

EXAMPLE = '"30 per minute"'
REDIS_SCHEMES = ("redis://", "rediss://", "redis+unix://")
# Seconds; if Redis does not answer by then, each process counts on its own.
REDIS_TIMEOUTS: dict[str, str | int] = {"socket_connect_timeout": 1, "socket_timeout": 1}


def limit_rate(app: Flask) -> None:
    """Refuse uploads beyond `RATE_LIMIT`, counted in `RATE_LIMIT_REDIS_URL` if it is set.

    Raises:
        SettingError: one of them is invalid, or Redis's client is not installed.
    """
    limit = app.config["RATE_LIMIT"].strip()
    if not limit:
        return
    # Imported here, because it takes a fifth of a second and most instances do not need it.
    from flask_limiter import Limiter, RateLimitExceeded
    from limits import parse_many

    try:
        rates = parse_many(limit)
    except ValueError:
        rates = []
    if not rates or any(rate.amount < 1 for rate in rates):
        raise SettingError(
            f"RATE_LIMIT is {limit!r}, which is not a rate: set it to one such as {EXAMPLE}, or "
            "remove it."
        )
    redis_url = app.config["RATE_LIMIT_REDIS_URL"].strip()
    limiter = Limiter(
        visitor,
        application_limits=[limit],
        application_limits_exempt_when=is_no_upload,
        storage_uri=storage_of(redis_url),
        storage_options=REDIS_TIMEOUTS if redis_url else None,
        strategy="moving-window",
        in_memory_fallback_enabled=True,
    )
    # At a lower level it would log addresses. Its warnings about Redis belong in the log.
    limiter.logger.setLevel(logging.WARNING)
    limiter.logger.addHandler(default_handler)
    limiter.init_app(app)
    app.extensions["rate_limiter"] = limiter
    app.register_error_handler(RateLimitExceeded, show_limit)


def storage_of(url: str) -> str:
    """Return the address of the storage.

    Raises:
        SettingError: it is invalid, or Redis's client is not installed. The message does not repeat
            the address, which may contain a password.
    """
    if not url:
        return "memory://"
    if not url.startswith(REDIS_SCHEMES):
        raise SettingError(
            "RATE_LIMIT_REDIS_URL is not a Redis address: set it to one such as "
            "redis://localhost:6379, or remove it."
        )
    try:
        import redis
    except ImportError as error:
        raise SettingError(
            "RATE_LIMIT_REDIS_URL needs the package redis: add limits[redis] to requirements.in "
            "(for LiteRT: requirements-slim.in), run `make requirements` and install again, or "
            "remove the setting."
        ) from error
    try:
        redis.from_url(url.replace("redis+unix", "unix", 1))  # does not connect yet
    except ValueError as error:
        raise SettingError(
            "RATE_LIMIT_REDIS_URL cannot be read: set it to an address such as "
            "redis://localhost:6379, or remove it."
        ) from error
    return url


def is_no_upload() -> bool:
    """Whether a request is not counted: serving pages costs almost nothing."""
    return request.method != "POST"


def visitor() -> str:
    """Return what uploads are counted by: an IPv4 address, or the first half of an IPv6 address.

    `PROXY_HOPS` proxies report the address; Azure's adds a port, which is removed.
    """
    text = request.remote_addr or ""
    bare = text[1:].partition("]")[0] if text.startswith("[") else text
    if bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        return text or "unknown"
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address.packed, 64), strict=False))
    return str(address)


def show_limit(error: HTTPException) -> ResponseReturnValue:
    """Answer a request beyond the limit, with a page or an API problem."""
    reached = current_app.extensions["rate_limiter"].current_limit
    seconds = max(1, math.ceil(reached.window.reset_time - time.time()))
    return current_app.handle_user_exception(TooManyRequests(seconds))
