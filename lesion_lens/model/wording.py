"""Numbers in words: the same on every page, card and console."""


def percent(share, decimals=0):
    """Write a probability, 0–1, as a percentage that never claims certainty."""
    step = 10**-decimals
    if 100 * share >= 100 - step / 2:
        return f"over {100 - step:.{decimals}f} %"
    if 100 * share <= step / 2:
        return f"under {step:.{decimals}f} %"
    return f"{100 * share:.{decimals}f} %"


def number(value, decimals=3):
    """Lay out a float, or None as '–'."""
    return "–" if value is None else f"{value:.{decimals}f}"


def interval(figure):
    """Lay out a figure, a dict of `value`, `low` and `high` or None, as '0.764 (0.742–0.786)'."""
    if figure is None or figure["value"] is None:
        return "–"
    return f"{number(figure['value'])} ({number(figure['low'])}–{number(figure['high'])})"


def about_in_100(share):
    """Write a share, 0–1, as a whole number of a hundred, and one that rounds to none as such."""
    return f"about {100 * share:.0f} in 100" if share > 0.005 else "fewer than 1 in 100"


def of_100(share):
    """Write a share, 0–1, as how many of a hundred, without claiming all or none."""
    if share >= 0.995:
        return "over 99"
    return "fewer than 1" if share <= 0.005 else f"{100 * share:.0f}"
