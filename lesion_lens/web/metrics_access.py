"""Who may read the metrics, and where; off unless a setting turns them on. Imports no Flask."""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lesion_lens.model.errors import SettingError
from lesion_lens.web.settings import MAX_PORT, whole_number

SETTINGS = ("METRICS_TOKEN", "METRICS_PORT", "METRICS_HOST")
HOST = "127.0.0.1"  # by default, only this machine reaches the port
LEAST_TOKEN = 16  # characters; if random, 96 bits in base64 or 64 in hexadecimal digits
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*", re.ASCII)  # RFC 6750, section 2.1


@dataclass(frozen=True)
class MetricsAccess:
    """How the metrics may be read.

    Attributes:
        token: required in `Authorization: Bearer`; "" if none is required.
        host: the address that the metrics port is bound to.
        port: the metrics port; None if the metrics are on the app's port.
    """

    token: str
    host: str
    port: int | None


def metrics_access(settings: Mapping[str, Any]) -> MetricsAccess | None:
    """Read `METRICS_TOKEN`, `METRICS_PORT` and `METRICS_HOST`; None if the metrics are off.

    Args:
        settings: the app's, or the environment.

    Raises:
        SettingError: one of them is invalid. The message does not repeat the token.
    """
    token, port, host = (str(settings.get(name, "")).strip() for name in SETTINGS)
    if not (token or port):
        return None
    if token and (len(token) < LEAST_TOKEN or not _TOKEN.fullmatch(token)):
        raise SettingError(
            f"METRICS_TOKEN is not a token of at least {LEAST_TOKEN} letters, digits and -._~+/: "
            "set it to what `openssl rand -hex 32` prints, or remove it."
        )
    number = whole_number(port, 1, MAX_PORT)
    if port and number is None:
        raise SettingError(
            f"METRICS_PORT is {port!r}, not a number from 1 to 65535: set it to one such as 9464, "
            "or remove it."
        )
    if host and not _is_address(host):
        raise SettingError(
            f"METRICS_HOST is {host!r}, not an IP address: set it to one of this machine, "
            f"such as {HOST}, or remove it."
        )
    return MetricsAccess(token, host or HOST, number)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
