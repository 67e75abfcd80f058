"""The statements on an image in every case: one table for both Python and JavaScript."""

import json
from itertools import product

import numpy as np

from lesion_lens import ROOT
from lesion_lens.model.crops import Box, Crop
from lesion_lens.model.decisions import FAMILIARITIES, DecisionFacts, malignant_probability
from skin_cancer_detection import CODES

_FILE = json.loads((ROOT / "tests" / "decision_cases.json").read_text(encoding="utf-8"))
CASES, LEVEL_TABLE, COLUMNS = _FILE["cases"], _FILE["levels"], _FILE["columns"]
LEVEL_OF = {"H": "high", "R": "raised", "L": "low", "?": "unknown"}

FAMILIARITY = (*FAMILIARITIES, None)
PROVEN = (True, False, None)


def facts_of(case):
    """The decision facts of a case or of a row; None where it has none."""
    if case["facts"] is None:
        return None
    return DecisionFacts.from_dict(_FILE["facts"][case["facts"]] | case.get("changed", {}))


def probabilities_of(shares):
    """(7,) of the classes that are named; the others have 0."""
    return np.array([shares.get(code, 0.0) for code in CODES])


def crop_of(case):
    return case["crop"] and Crop(Box.from_text(case["crop"]))


# --- Every combination -----------------------------------------------------------------------

BENIGN_SIDE, MALIGNANT_SIDE = {"benign"}, {"malignant"}
# Which sides the classes of a conformal set are on.
SETS = {
    (): set(),
    ("nv",): BENIGN_SIDE,
    ("bkl", "nv"): BENIGN_SIDE,
    ("mel",): MALIGNANT_SIDE,
    ("akiec",): MALIGNANT_SIDE,
    ("akiec", "mel"): MALIGNANT_SIDE,
    ("nv", "mel"): BENIGN_SIDE | MALIGNANT_SIDE,
    ("akiec", "nv"): BENIGN_SIDE | MALIGNANT_SIDE,
}
NAMED = {"nv": BENIGN_SIDE, "mel": MALIGNANT_SIDE, "akiec": MALIGNANT_SIDE}
FLAGGED = (None, "bkl", "bcc", "akiec")
# Where the malignant probability lies; None: there is no threshold.
THRESHOLDS = ("below", "equal", "above", None)


def combinations():
    """Return all combinations of most likely class, flagged class, threshold and conformal set."""
    made = product(NAMED, FLAGGED, THRESHOLDS, SETS)
    return [(named, flagged, *rest) for named, flagged, *rest in made if flagged != named]


def made_for(named, flagged, threshold, in_set):
    """Return probabilities and facts that make this combination true."""
    probabilities = np.full(7, 0.1)
    probabilities[CODES.index(named)] = 0.4
    shares = probabilities.copy()
    shares[CODES.index(flagged or named)] /= 2  # a rarer class is flagged at a lower probability
    risk = malignant_probability(probabilities)
    thresholds = {"below": risk + 0.01, "equal": risk, "above": risk - 0.01, None: None}
    return probabilities, DecisionFacts(
        eight_view_temperature=1.0,
        class_shares=tuple(shares / shares.sum()),
        low_risk_threshold=thresholds[threshold],
        conformal_thresholds=tuple(0.1 if code in in_set else 0.5 for code in CODES),
        pooled_classes=(),
    )
