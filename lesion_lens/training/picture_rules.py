"""Fitting the rules for pictures that are stored in a model file."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lesion_lens.model.decisions import MALIGNANT, DecisionFacts, decide
from lesion_lens.model.familiarity import PictureRules
from lesion_lens.model.outliers import fit_outlier_detector
from lesion_lens.training.data import UNKNOWN, Dataset
from lesion_lens.training.other_pictures import fit_other_picture_detector
from lesion_lens.training.picture_groups import fit_picture_groups


def fit_picture_rules(
    training_part: Dataset,
    pixels: NDArray[np.uint8],
    probabilities: NDArray[np.float64],
    labels: NDArray[np.int64],
    facts: DecisionFacts,
) -> PictureRules:
    """Fit the rules that find unfamiliar and other pictures, and where 'low risk' proves right.

    Args:
        training_part: its images show what dermatoscopic images look like; its clinics, if known,
            how far the images of another clinic differ.
        pixels: (M, 28, 28, 3), RGB, 0–255; one image of each calibration lesion.
        probabilities: (M, 7), of these, from `combine_views`.
        labels: (M,), 0–6.
        facts: from `fit_decision_facts`.
    """
    print("Fitting the rules for pictures …", flush=True)
    clinics = training_part.groups.get("clinic", np.full(len(training_part.labels), UNKNOWN))
    outliers = fit_outlier_detector(training_part.pixels, training_part.labels, pixels)
    others = fit_other_picture_detector(training_part.pixels, clinics, pixels)
    familiarities = PictureRules(outliers, others, None).familiarities(pixels)
    low_risk = low_risk_if_proven(probabilities, familiarities, facts)
    groups = fit_picture_groups(training_part.pixels, pixels, low_risk, MALIGNANT[labels])
    return PictureRules(outliers, others, groups)


def low_risk_if_proven(
    probabilities: NDArray[np.float64], familiarities: Sequence[str | None], facts: DecisionFacts
) -> NDArray[np.bool_]:
    """Tell which images would be called low risk if that had proved right for all pictures.

    Args:
        probabilities: (N, 7), from `combine_views`.
        familiarities: N, from `PictureRules.familiarities`.
        facts: from the model file.

    Returns:
        (N,).
    """
    said = [
        decide(row, facts, familiarity, proven=True).low_risk
        for row, familiarity in zip(probabilities, familiarities, strict=True)
    ]
    return np.array(said, bool)
