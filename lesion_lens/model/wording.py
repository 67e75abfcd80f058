"""Numbers in words: the same on every page, card and console.

Pages filled in the browser use `WORDS` too: static/wording.js writes numbers by the same rules.
"""

from collections.abc import Iterable
from datetime import date
from typing import TypedDict

MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)
# The phrases that the functions below choose from. A share of at least `ALL` is written as 'over
# 99', one of at most `NONE` as 'fewer than 1'.
WORDS = {
    "percent": "{share} %",
    "over_percent": "over {share} %",
    "under_percent": "under {share} %",
    "about_in_100": "about {count} in 100",
    "none_in_100": "fewer than 1 in 100",
    "all_of_100": "over 99",
    "none_of_100": "fewer than 1",
    "date": "{day} {month} {year}",
    "cut": "{start}…{end}",
}
# The index is the number.
NUMBERS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve"),
)
ALL, NONE = 0.995, 0.005
LONGEST_NAME = 36  # characters of a file's name


class Estimate(TypedDict):
    """A number and the ends of its 95 % interval; None where they are not defined."""

    value: float | None
    low: float | None
    high: float | None


def percent(share: float, decimals: int = 0) -> str:
    """Write a probability, 0–1, as a percentage that never claims certainty."""
    step = 10**-decimals
    if 100 * share >= 100 - step / 2:
        return WORDS["over_percent"].format(share=number(100 - step, decimals))
    if 100 * share <= step / 2:
        return WORDS["under_percent"].format(share=number(step, decimals))
    return WORDS["percent"].format(share=number(100 * share, decimals))


def number(value: float | None, decimals: int = 3) -> str:
    """Write a number, and None as '–'."""
    return "–" if value is None else f"{value:.{decimals}f}"


def interval(estimate: Estimate | None) -> str:
    """Write an estimate as '0.764 (0.742–0.786)', and an unknown one as '–'."""
    if estimate is None or estimate["value"] is None:
        return "–"
    return f"{number(estimate['value'])} ({number(estimate['low'])}–{number(estimate['high'])})"


def about_in_100(share: float) -> str:
    """Write a share, 0–1, as 'about 3 in 100', and up to `NONE` as 'fewer than 1 in 100'."""
    if share <= NONE:
        return WORDS["none_in_100"]
    return WORDS["about_in_100"].format(count=number(100 * share, 0))


def of_100(share: float) -> str:
    """Write a share, 0–1, as a number out of 100, without claiming all or none."""
    if share >= ALL:
        return WORDS["all_of_100"]
    return WORDS["none_of_100"] if share <= NONE else number(100 * share, 0)


def count(things: int) -> str:
    """Write an int as '1,497'."""
    return f"{things:,}"


def spelled(things: int) -> str:
    """Write an int as 'seven', and one above twelve in digits."""
    return NUMBERS[things] if things < len(NUMBERS) else str(things)


def series(names: Iterable[str], conjunction: str = "and") -> str:
    """Write one or more names as 'akiec, bcc and mel'."""
    *others, last = names
    return f"{', '.join(others)} {conjunction} {last}" if others else last


def in_words(day: date) -> str:
    """Write a day as '7 March 2026'."""
    return WORDS["date"].format(day=day.day, month=MONTHS[day.month - 1], year=day.year)


def shorten(name: str, longest: int = LONGEST_NAME) -> str:
    """Cut the middle out of a file name of more than `longest` characters.

    The end stays, because it tells the photographs of one camera apart.
    """
    if len(name) <= longest:
        return name
    end = longest // 2
    return WORDS["cut"].format(start=name[: longest - end - 1].rstrip(), end=name[-end:].lstrip())
