"""How a model card shows the estimates of metrics.json."""

from lesion_lens.model.facts import STATEMENTS
from tests.support.models import made_counts


def shown(estimate):
    if estimate is None or estimate["value"] is None:
        return "–"
    return "{value:.3f} ({low:.3f}–{high:.3f})".format(**estimate)


def estimates_in(values):
    """Yield every {"value", "low", "high"} in nested dicts."""
    if isinstance(values, dict):
        if "value" in values:
            yield values
        else:
            for value in values.values():
                yield from estimates_in(value)


def estimate(value):
    return {"value": value, "low": value - 0.1, "high": value + 0.1}


def made_clinic(malignant_auc=0.75):
    """Make the scores of a source, in the form that scripts.leave_one_clinic_out writes."""
    counts = made_counts(80, 20, **dict.fromkeys(STATEMENTS, (30, 12, 6)))  # 10 are melanomas
    return counts | {
        "images": 120,
        "accuracy": estimate(0.6),
        "macro_auc": estimate(0.85),
        "classes": ["akiec", "nv", "mel"],
        "malignant_auc": None if malignant_auc is None else estimate(malignant_auc),
        "calibration_error": estimate(0.12),
        "simulated_calibration_error": {"mean": 0.01, "percentile_95": 0.02},
        "covered": 70,
    }


def with_sources(metrics):
    """Add made scores by source and of left-out sources to metrics that lack them.

    The committed metrics have them. Those of a model trained on Kaggle's two files alone do not.
    """
    groups = metrics["test"]["subgroups"]
    groups.setdefault("clinic", {"a": groups["sex"]["male"]})
    metrics.setdefault("other_clinics", {"clinics": {"a": made_clinic()}})
    return metrics
