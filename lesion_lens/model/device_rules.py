"""The numbers and texts, as JSON, that let a device decide as the server does.

static/decisions.js, familiarity.js and pictures.js compute the same as `decisions`, `outliers`,
`other_pictures`, `picture_groups` and `pictures`. Thresholds and sentences come from here.
"""

from dataclasses import asdict
from typing import Any

from lesion_lens.model import decisions, other_pictures, outliers, pictures
from lesion_lens.model.classifier import Classifier
from lesion_lens.model.stored_arrays import StoredArrays
from skin_cancer_detection import CODES, SIDE


def rules_of(classifier: Classifier) -> dict[str, Any]:
    """Collect the fitted numbers of a model file, and the constants and texts of this package.

    Args:
        classifier: it need not be loaded.

    Returns:
        A dict that JSON can hold without losing precision. `decision_facts`, `outliers`, `others`
        and `groups` are None if the model file lacks them, as in `Classifier` and `PictureRules`.
    """
    facts, rules = classifier.decision_facts, classifier.picture_rules
    return {
        "codes": list(CODES),
        "malignant_codes": list(decisions.MALIGNANT_CODES),
        "levels": list(decisions.LEVELS),  # their order is that of urgency
        "next_steps": decisions.NEXT_STEPS,
        "high_risk": decisions.HIGH_RISK,
        "decision_facts": None if facts is None else _deciding(facts),
        "outliers": _numbers_of(rules.outliers),
        "others": _numbers_of(rules.others),
        "groups": _numbers_of(rules.groups),
        "picture_limits": {
            "side": SIDE,
            "colour_axes": pictures.COLOUR_AXES.tolist(),
            "lags": list(pictures.LAGS),
            "black": pictures.BLACK,
            "least_view": pictures.LEAST_VIEW,
            "least_contrast": pictures.LEAST_CONTRAST,
            "least_variance": pictures.LEAST_VARIANCE,
            "least_kurtosis": pictures.LEAST_KURTOSIS,
            "most_correlation": pictures.MOST_CORRELATION,
            "same_levels": pictures.SAME_LEVELS,
        },
        "outlier_limits": {
            "small_frame": outliers.SMALL_FRAME,
            "large_part": outliers.LARGE_PART,
            "column_groups": [
                {"columns": list(columns), "too_little": too_little, "too_much": too_much}
                for columns, (too_little, too_much) in outliers.COLUMN_GROUPS.items()
            ],
        },
        "other_limits": {
            "farthest": other_pictures.FARTHEST,
            "frame_discount": other_pictures.FRAME_DISCOUNT,
            "most_flat": other_pictures.MOST_FLAT,
        },
    }


def _deciding(facts: decisions.DecisionFacts) -> dict[str, Any]:
    """The facts that decisions need. The pooled classes are left out: the page only names them."""
    return {name: value for name, value in facts.to_dict().items() if name != "pooled_classes"}


def _numbers_of(rule: StoredArrays | None) -> dict[str, Any] | None:
    return None if rule is None else {name: value.tolist() for name, value in asdict(rule).items()}
