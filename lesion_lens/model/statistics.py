"""Confidence intervals for a binomial proportion, by Clopper & Pearson.

SciPy has them, but would exceed the deployment's size limit. The tests compare these with SciPy's.
"""

import functools
import math

import numpy as np


def clopper_pearson_lower(hits: int, trials: int, confidence: float = 0.90) -> float:
    """Return the one-sided lower confidence bound for a binomial proportion.

    This is the proportion at which this many hits or more have a probability of 1 - confidence. See
    Clopper & Pearson, Biometrika 26:404–413 (1934).

    Args:
        hits: 0 to trials.
        trials: 0 or more.
        confidence: above 0, below 1.

    Returns:
        0 to below 1; 0 where there are no hits.
    """
    if hits == 0:
        return 0.0
    counts = np.arange(hits, trials + 1)
    log_choices = np.array(
        [
            math.lgamma(trials + 1) - math.lgamma(k + 1) - math.lgamma(trials - k + 1)
            for k in counts.tolist()
        ]
    )
    low, high = 0.0, 1.0
    while low < (middle := (low + high) / 2) < high:  # until no float lies between them
        logs = log_choices + counts * math.log(middle) + (trials - counts) * math.log1p(-middle)
        if np.exp(logs).sum() < 1 - confidence:
            low = middle
        else:
            high = middle
    return low


@functools.lru_cache(maxsize=1024)  # a card has a few hundred, and pages need them again
def clopper_pearson(hits: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the two-sided Clopper–Pearson interval for a binomial proportion.

    Args:
        hits: 0 to trials.
        trials: 0 or more.
        confidence: above 0, below 1; half of the remainder lies on each side.

    Returns:
        (lower end, upper end), each 0–1.
    """
    one_sided = (1 + confidence) / 2
    return (
        clopper_pearson_lower(hits, trials, one_sided),
        1 - clopper_pearson_lower(trials - hits, trials, one_sided),
    )
