"""Who may read the metrics, and where; off unless a setting says so. Knows no Flask."""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lesion_lens.model.errors import SettingError

SETTINGS = ("METRICS_TOKEN", "METRICS_PORT", "METRICS_HOST")
HOST = "127.0.0.1"  # so that only this machine reaches the port, unless a setting says more
LEAST_TOKEN = 16  # characters; 96 bits, if they are drawn at random as `openssl rand` does
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*", re.ASCII)  # RFC 6750, section 2.1


@dataclass(frozen=True)
class MetricsAccess:
    """What a request for the metrics must bring.

    Attributes:
        token: in `Authorization: Bearer`; "" where none is asked for.
        host: the address that the port of their own is bound to.
        port: of their own; None where they are on the app's.
    """

    token: str
    host: str
    port: int | None


def metrics_access(settings: Mapping[str, Any]) -> MetricsAccess | None:
    """Read `METRICS_TOKEN`, `METRICS_PORT` and `METRICS_HOST`; None where the metrics are off.

    Args:
        settings: the app's, or the environment.

    Raises:
        SettingError: one of them is invalid. The token is not repeated.
    """
    token, port, host = (str(settings.get(name, "")).strip() for name in SETTINGS)
    if not (token or port):
        return None
    if token and (len(token) < LEAST_TOKEN or not _TOKEN.fullmatch(token)):
        raise SettingError(
            f"METRICS_TOKEN is not a token of at least {LEAST_TOKEN} letters, digits and -._~+/: "
            "set it to what `openssl rand -hex 32` prints, or remove it."
        )
    if port and not (port.isascii() and port.isdecimal() and 0 < int(port) <= 65535):
        raise SettingError(
            f"METRICS_PORT is {port!r}, not a number of 1 to 65535: set it to one such as 9100, or "
            "remove it."
        )
    if host and not _is_address(host):
        raise SettingError(
            f"METRICS_HOST is {host!r}, not an internet address: set it to one of this machine, "
            f"such as {HOST}, or remove it."
        )
    return MetricsAccess(token, host or HOST, int(port) if port else None)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
