"""How the estimates of metrics.json stand on a model card."""


def shown(estimate):
    if estimate is None or estimate["value"] is None:
        return "–"
    return "{value:.3f} ({low:.3f}–{high:.3f})".format(**estimate)


def estimates_in(values):
    """Every {"value", "low", "high"} in dicts within dicts."""
    if isinstance(values, dict):
        if "value" in values:
            yield values
        else:
            for value in values.values():
                yield from estimates_in(value)
