"""Intervals by a bootstrap over lesions."""

import numpy as np

_AT_ONCE = 50  # replicates, so that their weights stay in the processor's cache


def bootstrap(metrics, images, lesion_ids, replicates=1000, seed=0):
    """Compute metrics with the 95 % percentile intervals of a bootstrap of whole lesions.

    Images of one lesion are alike, so drawing single images would make the intervals too narrow.
    As many lesions as there are are drawn with replacement, each with all its images: the cluster
    bootstrap of Davison & Hinkley, Bootstrap Methods and their Application (1997), section 3.8.

    Args:
        metrics: function of weights, int64 (R, N), that returns a dict of float (R,), or of such
            dicts.
        images: N.
        lesion_ids: str (N,); None where they are not known, and single images are drawn.
        replicates: how many times the lesions are drawn.
        seed: fixes the draws.

    Returns:
        dict like that of `metrics`, with {"value", "low", "high"} in the place of each array:
        floats, or None where the metric is not defined. A replicate in which it is not is left out
        of its interval.
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
        replicated.append(metrics(drawn[:, lesion_of]))
    return _with_intervals(metrics(np.ones((1, images), np.int64)), replicated)


def _with_intervals(values, replicated):
    if isinstance(values, dict):
        return {
            name: _with_intervals(value, [part[name] for part in replicated])
            for name, value in values.items()
        }
    numbers = np.concatenate(replicated)
    numbers = numbers[~np.isnan(numbers)]
    if np.isnan(values[0]) or not numbers.size:
        return {"value": None, "low": None, "high": None}
    low, high = np.percentile(numbers, [2.5, 97.5])
    return {"value": float(values[0]), "low": float(low), "high": float(high)}
