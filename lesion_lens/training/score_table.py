"""The scores as lines of text, for the console."""

from lesion_lens.model.wording import interval, number
from skin_cancer_detection import CODES

METRIC_NAMES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_auc": "macro AUC",
    "malignant_auc": "akiec, bcc or mel against benign, AUC",
    "melanoma_sensitivity_at_specificity_0.80": "melanoma sensitivity at specificity 0.80",
    "calibration_error": "expected calibration error",
    "brier_score": "Brier score",
    "log_loss": "log loss",
}


def score_table(metrics):
    """Lay out what metrics.json holds as lines of text, for the console."""
    test = metrics["test"]
    both = test["one_view"], test["eight_views"]

    def row(name, cells):
        return f"{name:44}" + "".join(f"{cell:22}" for cell in cells).rstrip()

    lines = [row("", ("one view", "eight views"))]
    lines += [
        row(name, [interval(scores[key]) for scores in both]) for key, name in METRIC_NAMES.items()
    ]
    lines.append(
        row(
            "  if perfectly calibrated: mean, 95 %",
            [
                f"{simulated['mean']:.3f}, {simulated['percentile_95']:.3f}"
                for simulated in (scores["simulated_calibration_error"] for scores in both)
            ],
        )
    )
    lines += [
        row(
            f"{METRIC_NAMES[key]}, prior divided out",
            [interval(s["prior_divided"][key]) for s in both],
        )
        for key in ("accuracy", "balanced_accuracy")
    ]
    for name, scores in zip(("one view", "eight views"), both, strict=True):
        keys = ("sensitivity", "specificity", "precision", "auc")
        lines += ["", f"{name:11}  images  " + "".join(f"{key:22}" for key in keys).rstrip()]
        for code, figures_of in scores["per_class"].items():
            cells = "".join(f"{interval(figures_of[key]):22}" for key in keys)
            lines.append(f"{code:11}  {figures_of['images']:6}  {cells.rstrip()}")
        lines += ["", f"{name}: rows are the true classes, columns the most likely ones"]
        lines.append("       " + "".join(f"{code:>7}" for code in CODES))
        for code, counts in zip(CODES, scores["confusion_matrix"], strict=True):
            lines.append(f"{code:7}" + "".join(f"{count:7}" for count in counts))
    decisions = test["decisions"]
    said, conformal = decisions["low_risk"]["statement"], decisions["conformal"]
    low, high = (100 * (1 - said["sensitivity"][end]) for end in ("high", "low"))
    low_risk = (
        f"‘low risk’ is said of {number(said['specificity'])} of the benign lesions, and misses "
        f"about {number(said['missed_per_100'], 1)} ({low:.1f}–{high:.1f}) in 100 of the others"
    )
    lines += [
        "",
        low_risk if said["share"] else "‘low risk’ is said of no test lesion",
        f"sets of classes that cannot be excluded: {number(conformal['coverage'])} hold the "
        f"true one, {number(conformal['mean_set_size'], 2)} classes on average",
        f"unlike the training images: {number(decisions['unlike'])} of the test lesions",
    ]
    return "\n".join(lines)
