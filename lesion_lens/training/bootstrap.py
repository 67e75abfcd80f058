"""The bootstrap over lesions: estimates, each a score with its 95 % interval."""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

# int (R, N) weights in; a dict of float (R,), or of such dicts, out.
WeightedScores: TypeAlias = Callable[[NDArray[np.int64]], dict[str, Any]]

_AT_ONCE = 50  # replicates, so that their weights stay in the processor's cache


def bootstrap(
    scores: WeightedScores,
    images: int,
    lesion_ids: NDArray[np.str_] | None,
    replicates: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Compute scores with the 95 % percentile intervals of a bootstrap of whole lesions.

    Images of one lesion are alike, so drawing single images would make the intervals too narrow.
    Each replicate draws whole lesions with replacement, as many as the data have: the cluster
    bootstrap of Davison & Hinkley, Bootstrap Methods and their Application (1997), section 3.8.

    Args:
        scores: function of the images' weights.
        images: N.
        lesion_ids: (N,); None if they are not known: then single images are drawn.
        replicates: how many times the lesions are drawn.
        seed: fixes the draws.

    Returns:
        The dict of `scores`, with an estimate {"value", "low", "high"} in place of each array:
        floats, or None where the score is undefined. The interval leaves out replicates in which
        the score is undefined.
    """
    lesion_of = np.arange(images)
    if lesion_ids is not None:
        lesion_of = np.unique(lesion_ids, return_inverse=True)[1]
    lesions = lesion_of.max() + 1
    rng = np.random.default_rng(seed)
    replicated = []
    for start in range(0, replicates, _AT_ONCE):
        rows = min(_AT_ONCE, replicates - start)
        drawn = rng.multinomial(lesions, np.full(lesions, 1 / lesions), size=rows)
        replicated.append(scores(drawn[:, lesion_of]))
    return _estimates(scores(np.ones((1, images), np.int64)), replicated)


def _estimates(values: dict[str, Any], replicated: list[dict[str, Any]]) -> dict[str, Any]:
    """Replace each array in `values`, which may be nested, with an estimate."""
    estimates = {}
    for name, value in values.items():
        replicates = [part[name] for part in replicated]
        nested = isinstance(value, dict)
        estimates[name] = _estimates(value, replicates) if nested else _estimate(value, replicates)
    return estimates


def _estimate(
    value: NDArray[np.float64], replicates: list[NDArray[np.float64]]
) -> dict[str, float | None]:
    numbers = np.concatenate(replicates)
    numbers = numbers[~np.isnan(numbers)]
    if np.isnan(value[0]) or not numbers.size:
        return {"value": None, "low": None, "high": None}
    low, high = np.percentile(numbers, [2.5, 97.5])
    return {"value": float(value[0]), "low": float(low), "high": float(high)}
