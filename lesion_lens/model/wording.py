"""Numbers in words: the same on every page, card and console."""

from typing import TypedDict


class Estimate(TypedDict):
    """A number and the two ends of its 95 % interval; None where it is not defined."""

    value: float | None
    low: float | None
    high: float | None


def percent(share: float, decimals: int = 0) -> str:
    """Write a probability, 0–1, as a percentage that never claims certainty."""
    step = 10**-decimals
    if 100 * share >= 100 - step / 2:
        return f"over {100 - step:.{decimals}f} %"
    if 100 * share <= step / 2:
        return f"under {step:.{decimals}f} %"
    return f"{100 * share:.{decimals}f} %"


def number(value: float | None, decimals: int = 3) -> str:
    """Write a number, and None as '–'."""
    return "–" if value is None else f"{value:.{decimals}f}"


def interval(estimate: Estimate | None) -> str:
    """Write an estimate as '0.764 (0.742–0.786)', and one that is not known as '–'."""
    if estimate is None or estimate["value"] is None:
        return "–"
    return f"{number(estimate['value'])} ({number(estimate['low'])}–{number(estimate['high'])})"


def about_in_100(share: float) -> str:
    """Write a share, 0–1, as 'about 3 in 100'; one that rounds to none as 'fewer than 1 in 100'."""
    return f"about {100 * share:.0f} in 100" if share > 0.005 else "fewer than 1 in 100"


def of_100(share: float) -> str:
    """Write a share, 0–1, as how many of a hundred, without claiming all or none."""
    if share >= 0.995:
        return "over 99"
    return "fewer than 1" if share <= 0.005 else f"{100 * share:.0f}"


def shorten(name: str, longest: int = 36) -> str:
    """Write a file's name of more than `longest` characters without its middle.

    The end stays: it tells the photographs of one camera apart.
    """
    if len(name) <= longest:
        return name
    end = longest // 2
    return f"{name[: longest - end - 1].rstrip()}…{name[-end:].lstrip()}"
