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
