"""How often each statement is made of lesions, and what they are in truth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lesion_lens.model.decisions import (
    MALIGNANT,
    MALIGNANT_CODES,
    DecisionFacts,
    Statements,
)


def count_statements(
    said: Sequence[Statements],
    labels: NDArray[np.int64],
    unlike: NDArray[np.bool_],
    facts: DecisionFacts,
) -> dict[str, Any]:
    """Count of how many lesions each statement is made, and how many of these are malignant.

    Args:
        said: of each of N lesions, from `decide`.
        labels: (N,), 0–6, the truth.
        unlike: (N,), whether the image is called unlike the training images.
        facts: that the statements were made by.

    Returns:
        What JSON can hold: by the statement's name `lesions`, of how many it is made, and
        `malignant`, how many of these are malignant or pre-malignant. `low_risk` is what the page
        says, `below_threshold` its threshold alone.
    """
    threshold = 0 if facts.low_risk_threshold is None else facts.low_risk_threshold
    made: dict[str, ArrayLike] = {
        "unlike": unlike,
        "low_risk": [bool(one.low_risk) for one in said],
        "below_threshold": [one.malignant_probability < threshold for one in said],
        "inconclusive": [bool(one.inconclusive) for one in said],
        "flagged": [one.flagged is not None for one in said],
        "most_likely_malignant": [one.most_likely in MALIGNANT_CODES for one in said],
        "half_malignant": [one.malignant_probability >= 0.5 for one in said],
    }
    is_malignant = MALIGNANT[labels]
    counts = {}
    for name, rows in made.items():
        is_made = np.asarray(rows, bool)
        counts[name] = {
            "lesions": int(is_made.sum()),
            "malignant": int((is_made & is_malignant).sum()),
        }
    return counts
