"""Counting how often each statement is made, and what the lesions in question really are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lesion_lens.model.decisions import (
    FAMILIARITIES,
    LEVELS,
    MALIGNANT,
    DecisionFacts,
    Statements,
    decide,
    risk_level,
)
from lesion_lens.model.familiarity import PictureRules
from lesion_lens.model.statistics import clopper_pearson
from lesion_lens.model.wording import Estimate
from lesion_lens.training.metrics import MELANOMA


def decide_all(
    probabilities: NDArray[np.float64],
    pixels: NDArray[np.uint8],
    facts: DecisionFacts,
    rules: PictureRules,
) -> tuple[list[Statements], list[str | None], list[bool | None]]:
    """Decide on many images in the same way as on one.

    Args:
        probabilities: (N, 7), from `combine_views`.
        pixels: (N, 28, 28, 3), RGB, 0–255.
        facts, rules: from the model file.

    Returns:
        For each image: what may be said about it, how familiar the model is with its kind, and
        whether 'low risk' has proved right for that kind.
    """
    familiarities, proven = rules.familiarities(pixels), rules.proven(pixels)
    said = [
        decide(row, facts, familiarity, is_proven)
        for row, familiarity, is_proven in zip(probabilities, familiarities, proven, strict=True)
    ]
    return said, familiarities, proven


def count_statements(
    said: Sequence[Statements],
    labels: NDArray[np.int64],
    familiarities: Sequence[str | None],
    proven: Sequence[bool | None],
    facts: DecisionFacts,
) -> dict[str, Any]:
    """Count the lesions that each statement is made about, and what they are.

    Args:
        said: for each of N lesions, from `decide_all`.
        labels: (N,), 0–6, the truth.
        familiarities, proven: N, from `decide_all`.
        facts: the facts that the statements are based on.

    Returns:
        A JSON-serialisable dict from the statement's name to `lesions`, the number that it is made
        about; `malignant`, how many of these are malignant or pre-malignant; and `melanomas`. The
        statements are the risk levels (`LEVELS`); the kind of picture (`FAMILIARITIES`, with _ for
        a space); `proven`, whether 'low risk' may be said about its kind; `below_threshold`, from
        the threshold of 'low risk' alone; and `flagged`.
    """
    threshold = 0 if facts.low_risk_threshold is None else facts.low_risk_threshold
    levels = [risk_level(*pair) for pair in zip(said, familiarities, strict=True)]
    made: dict[str, ArrayLike] = {
        **{level: [one == level for one in levels] for level in LEVELS},
        **{
            name.replace(" ", "_"): [one == name for one in familiarities] for name in FAMILIARITIES
        },
        "proven": [one is True for one in proven],
        "below_threshold": [one.malignant_probability < threshold for one in said],
        "flagged": [one.flagged is not None for one in said],
    }
    counts = {}
    for name, rows in made.items():
        is_made = np.asarray(rows, bool)
        counts[name] = {
            "lesions": int(is_made.sum()),
            "malignant": int((is_made & MALIGNANT[labels]).sum()),
            "melanomas": int((is_made & (labels == MELANOMA)).sum()),
        }
    return counts


def level_shares(scores: dict[str, Any]) -> dict[str, Any]:
    """Compute what each risk level meant, with two-sided 95 % Clopper–Pearson intervals.

    Args:
        scores: `lesions`, `malignant` and `melanomas` overall, and `statements`, from
            `count_statements`.

    Returns:
        A JSON-serialisable dict. For each level, the estimates `share` (of all lesions, those with
        the level), `malignant` (of the lesions with the level, the malignant ones), `of_malignant`
        (of all malignant lesions, those with the level) and `of_melanomas` (likewise).
    """
    shares = {}
    for level in LEVELS:
        made = scores["statements"][level]
        shares[level] = {
            "share": _estimate(made["lesions"], scores["lesions"]),
            "malignant": _estimate(made["malignant"], made["lesions"]),
            "of_malignant": _estimate(made["malignant"], scores["malignant"]),
            "of_melanomas": _estimate(made["melanomas"], scores["melanomas"]),
        }
    return shares


def _estimate(part: int, whole: int) -> Estimate:
    if not whole:
        return {"value": None, "low": None, "high": None}
    low, high = clopper_pearson(part, whole)
    return {"value": part / whole, "low": low, "high": high}
