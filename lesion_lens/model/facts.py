"""Checks the facts of a model's training before pages and the model card show them.

A model file may come from anywhere, so its facts are checked here before they are shown.
metrics.json holds the same facts. A *form* is a function that says whether a value is valid. It
ignores keys that it does not name, because they are not shown. A share with denominator 0 is None.
"""

import math
import re
from collections.abc import Callable
from typing import Any

from lesion_lens.model.backends import BACKENDS
from skin_cancer_detection import CODES

Form = Callable[[Any], bool]

MOST_LESIONS = 1_000_000  # for more, the interval of a share takes minutes to compute
MOST_LETTERS = 60  # of a name
MOST_CLINICS = 20  # each has about thirty such intervals
MOST_LESIONS_OF_A_CLINIC = 100_000
_LARGEST = 2**63  # numbers must be smaller, to fit NumPy's integers


def is_number(value: Any) -> bool:
    """Whether a value is a finite number. Booleans do not count as numbers."""
    is_finite = isinstance(value, float) and math.isfinite(value)
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    return (is_finite or is_whole) and abs(value) < _LARGEST


def is_share(value: Any) -> bool:
    """Whether a value is a number from 0 to 1."""
    return is_number(value) and 0 <= value <= 1


def _is_amount(value: Any) -> bool:
    return is_number(value) and value >= 0


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and _is_amount(value)


def _is_lesion_count(value: Any) -> bool:
    return _is_count(value) and value <= MOST_LESIONS


def _is_positive_count(value: Any) -> bool:
    return _is_count(value) and value > 0


def _is_text(value: Any) -> bool:
    """Whether a value is a text without characters that have a meaning in Markdown."""
    return isinstance(value, str) and bool(re.fullmatch(r"[\w .,+–-]*", value))


def _is_name(value: Any) -> bool:
    """Whether a value is a name that the card can show once its punctuation is escaped."""
    return isinstance(value, str) and 0 < len(value.strip()) <= len(value) <= MOST_LETTERS


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _or_none(form: Form) -> Form:
    return lambda value: value is None or form(value)


def _fields(**forms: Form) -> Form:
    return lambda value: (
        isinstance(value, dict)
        and all(name in value and form(value[name]) for name, form in forms.items())
    )


def _by_class(form: Form) -> Form:
    return _fields(**dict.fromkeys(CODES, form))


def _groups(form: Form) -> Form:
    return lambda value: (
        isinstance(value, dict) and all(map(_is_text, value)) and all(map(form, value.values()))
    )


def _row_of(form: Form, length: int) -> Form:
    return lambda value: isinstance(value, list) and len(value) == length and all(map(form, value))


def _both(*forms: Form) -> Form:
    return lambda value: all(form(value) for form in forms)


_ANY_SHARE = _or_none(is_share)
_ESTIMATED_SHARE = _fields(value=_ANY_SHARE, low=_ANY_SHARE, high=_ANY_SHARE)
_ESTIMATED_AMOUNT = _fields(**dict.fromkeys(("value", "low", "high"), _or_none(_is_amount)))
_CONFUSION_MATRIX = _row_of(_row_of(_is_count, len(CODES)), len(CODES))
_LOW_RISK_SCORES = _fields(
    share=_ANY_SHARE,
    malignant=_is_count,
    sensitivity=_ESTIMATED_SHARE,
    specificity=_ANY_SHARE,
)
_ACCURACIES = {"accuracy": _ESTIMATED_SHARE, "balanced_accuracy": _ESTIMATED_SHARE}

# --- The scores with one view or with eight (training.evaluation.evaluate) -------------------

has_overall_scores: Form = _fields(
    **_ACCURACIES,
    macro_auc=_ESTIMATED_SHARE,
    malignant_auc=_ESTIMATED_SHARE,
    **{"melanoma_sensitivity_at_specificity_0.80": _ESTIMATED_SHARE},
    prior_divided=_fields(**_ACCURACIES),
)
has_class_scores: Form = _fields(
    per_class=_by_class(
        _fields(
            images=_is_count,
            sensitivity=_ESTIMATED_SHARE,
            specificity=_ESTIMATED_SHARE,
            precision=_ESTIMATED_SHARE,
            auc=_ESTIMATED_SHARE,
        )
    )
)
has_calibration: Form = _fields(
    calibration_error=_ESTIMATED_SHARE,
    simulated_calibration_error=_fields(mean=_ANY_SHARE, percentile_95=_ANY_SHARE),
    brier_score=_ESTIMATED_AMOUNT,
    log_loss=_ESTIMATED_AMOUNT,
)
_POINT = _fields(
    above=is_share,
    up_to=is_share,
    images=_is_positive_count,
    confidence=is_share,
    accuracy=_fields(value=is_share, low=is_share, high=is_share),
)
has_reliability: Form = _fields(
    reliability=lambda points: (
        isinstance(points, list) and len(points) > 0 and all(map(_POINT, points))
    )
)

# --- How accurate the statements are (training.evaluation.decision_scores) -------------------

_has_low_risk_scores = _fields(
    lesions=_is_lesion_count,
    low_risk=_fields(below_threshold=_LOW_RISK_SCORES, statement=_LOW_RISK_SCORES),
)


def has_low_risk(decisions: Any) -> bool:
    """Whether the decisions' scores hold those of 'low risk'."""
    return _has_low_risk_scores(decisions) and all(
        decisions["low_risk"][way]["malignant"] <= decisions["lesions"]
        for way in ("below_threshold", "statement")
    )


has_coverage: Form = _fields(
    lesions=_is_lesion_count,
    conformal=_fields(
        coverage=_ANY_SHARE,
        per_class=_by_class(
            _fields(lesions=_is_lesion_count, coverage=_ANY_SHARE, pooled=_is_flag)
        ),
    ),
)
STATEMENTS = (
    *("high", "raised", "low", "unknown"),
    *("familiar", "unfamiliar", "not_dermatoscopic", "proven", "below_threshold", "flagged"),
)
# The number of lesions for each statement, and how many of them were malignant or melanomas.
_STATEMENTS = _fields(
    **dict.fromkeys(
        STATEMENTS, _fields(lesions=_is_count, malignant=_is_count, melanomas=_is_count)
    )
)
_has_statement_counts = _fields(
    lesions=_is_lesion_count,
    malignant=_is_count,
    melanomas=_is_count,
    malignant_probability=_ANY_SHARE,
    statements=_STATEMENTS,
)


def has_statement_counts(scores: Any) -> bool:
    """Whether the scores of the test part's decisions, or of a clinic, hold valid counts."""
    return (
        _has_statement_counts(scores)
        and scores["melanomas"] <= scores["malignant"] <= scores["lesions"]
        and all(
            made["melanomas"] <= made["malignant"] <= made["lesions"]
            and all(made[name] <= scores[name] for name in ("lesions", "malignant", "melanomas"))
            for made in scores["statements"].values()
        )
    )


_has_other_shares = _fields(
    low_risk=_fields(threshold=_ANY_SHARE),
    conformal=_fields(mean_set_size=_or_none(_is_amount)),
    flagged=_fields(share=_ANY_SHARE, right=_ANY_SHARE),
)

# --- A clinic not used in training (training.clinics.score_clinic) ---------------------------

_has_clinic_scores = _both(
    _fields(
        images=_is_positive_count,
        accuracy=_ESTIMATED_SHARE,
        macro_auc=_or_none(_ESTIMATED_SHARE),
        classes=lambda codes: (
            isinstance(codes, list)
            and all(code in CODES for code in codes)
            and len(set(codes)) == len(codes)
        ),
        malignant_auc=_or_none(_ESTIMATED_SHARE),
        calibration_error=_ESTIMATED_SHARE,
        simulated_calibration_error=_fields(percentile_95=_ANY_SHARE),
        lesions=_is_positive_count,
        covered=_is_count,
    ),
    has_statement_counts,
    lambda scores: scores["covered"] <= scores["lesions"] <= MOST_LESIONS_OF_A_CLINIC,
)


def _by_clinic(form: Form) -> Form:
    return lambda clinics: (
        isinstance(clinics, dict)
        and 0 < len(clinics) <= MOST_CLINICS
        and all(map(_is_name, clinics))
        and all(map(form, clinics.values()))
    )


has_other_clinics: Form = _fields(other_clinics=_fields(clinics=_by_clinic(_has_clinic_scores)))
# What `pairs` in the web's card_tables needs. Older files have it, too.
has_unseen_aucs: Form = _fields(
    other_clinics=_fields(clinics=_by_clinic(_fields(malignant_auc=_or_none(_ESTIMATED_SHARE))))
)

# --- The facts of a file ---------------------------------------------------------------------

has_images: Form = _fields(
    images=_fields(training=_is_count, calibration=_is_count, test=_is_count)
)
# How many test images show a lesion that is also in another part. Only newer models have it.
has_shared_count: Form = _fields(test_images_sharing_lesions=_is_count)
_has_page_scores = _fields(
    eight_views=_fields(
        images=_is_count,
        accuracy=_fields(value=is_share),
        per_class=_by_class(
            _both(
                _fields(sensitivity=_fields(value=_ANY_SHARE), precision=_fields(value=_ANY_SHARE)),
                lambda scores: _is_count(scores.get("images", 0)),
            )
        ),
        confusion_matrix=_CONFUSION_MATRIX,
    ),
)


def can_serve_pages(facts: Any) -> bool:
    """Whether every page can show these facts. A dict without scores passes.

    Args:
        facts: the value of `training_facts` in a model file.
    """
    if not isinstance(facts, dict):
        return False
    return facts.get("test") is None or _has_page_scores(facts["test"])


def without_spoiled(facts: dict[str, Any]) -> dict[str, Any]:
    """The facts without those of the wrong type, as if the file did not have them.

    Args:
        facts: already checked by `can_serve_pages`.
    """
    types = {"data": str, "data_sha256": str, "rows_may_share_lesions": bool}
    return {
        name: value for name, value in facts.items() if isinstance(value, types.get(name, object))
    }


def _has_backend(versions: dict[str, Any]) -> bool:
    named = [versions[name] for name in BACKENDS if name in versions]
    return bool(named) and all(map(_is_text, named))


def is_checksum(value: Any) -> bool:
    """Whether a value is a SHA-256 in hexadecimal digits."""
    return isinstance(value, str) and bool(re.fullmatch("[0-9a-f]{64}", value))


_has_card_scores = _both(
    has_overall_scores,
    has_class_scores,
    has_calibration,
    _fields(images=_is_positive_count, lesions=_is_count, confusion_matrix=_CONFUSION_MATRIX),
)
_GROUP = _fields(
    images=_is_count,
    accuracy=_ESTIMATED_SHARE,
    melanoma_sensitivity=_or_none(_ESTIMATED_SHARE),
    malignant_auc=_or_none(_ESTIMATED_SHARE),
)
_has_groups = _groups(_GROUP)
has_clinic_groups: Form = _fields(clinic=_by_clinic(_GROUP))  # of the subgroups
_RECIPE = (
    *("teachers", "teacher_share", "temperature", "epochs", "batch_size", "weight_decay"),
    *("learning_rate", "warm_up_epochs", "dropout", "mixup", "weight_average"),
)
_VERSIONS = ("python", "numpy", "pillow", "keras")
_has_card_facts = _fields(
    data=_is_text,
    rows_may_share_lesions=_is_flag,
    data_sha256=_is_text,
    split_sha256=_is_text,
    lesions=_fields(training=_is_count, calibration=_is_count, test=_is_count),
    seed=is_number,
    recipe=_fields(**dict.fromkeys(_RECIPE, is_number)),
    versions=_both(_fields(**dict.fromkeys(_VERSIONS, _is_text)), _has_backend),
    test=_fields(
        one_view=_has_card_scores,
        eight_views=_has_card_scores,
        decisions=_both(has_low_risk, has_coverage, _has_other_shares, has_statement_counts),
        subgroups=_both(
            _fields(sex=_has_groups, age=_has_groups, site=_has_groups),
            lambda groups: "clinic" not in groups or has_clinic_groups(groups),
        ),
    ),
)


def can_fill_card(facts: Any) -> bool:
    """Whether the facts contain everything that the model card shows.

    Args:
        facts: the contents of metrics.json, or of `training_facts` in a model file.
    """
    if not (has_images(facts) and _has_card_facts(facts)):
        return False
    return has_other_clinics(facts) or "other_clinics" not in facts
