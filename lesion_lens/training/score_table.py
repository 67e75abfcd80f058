"""The table of scores: the contents of metrics.json as text for the console."""

from typing import Any

from lesion_lens.model.decisions import LEVELS, MALIGNANT_CODES
from lesion_lens.model.facts import has_other_clinics
from lesion_lens.model.statistics import clopper_pearson
from lesion_lens.model.wording import interval, number, series
from lesion_lens.training.evaluation import SMALLEST_GROUP
from skin_cancer_detection import CODES

METRIC_NAMES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_auc": "macro AUC",
    "malignant_auc": f"{series(MALIGNANT_CODES, 'or')} against benign, AUC",
    "melanoma_sensitivity_at_specificity_0.80": "melanoma sensitivity at specificity 0.80",
    "calibration_error": "expected calibration error",
    "brier_score": "Brier score",
    "log_loss": "log loss",
}


HOME = "test part"
MOST_OTHERS = 0.05  # share of 'not dermatoscopic' lesions


def score_table(metrics: dict[str, Any]) -> str:
    """Lay out the contents of metrics.json: scores overall, by class, and of the decisions."""
    others = metrics["other_clinics"]["clinics"] if has_other_clinics(metrics) else {}
    return _table(metrics["test"], HOME, others)


def picture_warning(metrics: dict[str, Any]) -> str | None:
    """Warn if many test lesions count as 'not dermatoscopic'; None if at most `MOST_OTHERS` do."""
    decisions = metrics["test"]["decisions"]
    others, lesions = decisions["statements"]["not_dermatoscopic"]["lesions"], decisions["lesions"]
    if others <= MOST_OTHERS * lesions:
        return None
    return (
        f"{others:,} of {lesions:,} test lesions count as 'not dermatoscopic', so the app says "
        "nothing about their risk."
    )


def table_of_images(scores: dict[str, Any]) -> str:
    """Lay out the scores of the user's own images, from `score_images`, also by group."""
    lines = [_table(scores, "your images", {})]
    for name, groups in scores["subgroups"].items():
        lines += ["", *_groups(name, groups)]
    if scores["subgroups"]:
        lines += ["", f"Groups of fewer than {SMALLEST_GROUP} images are left out."]
    return "\n".join(lines)


def _table(test: dict[str, Any], name: str, others: dict[str, Any]) -> str:
    """Lay out the scores of some images; `name` heads their column beside the other clinics."""
    views = {"one view": test["one_view"], "eight views": test["eight_views"]}
    lines = _overall(list(views), list(views.values()))
    for view, scores in views.items():
        lines += ["", *_per_class(view, scores)]
        lines += ["", *_confusion_matrix(view, scores["confusion_matrix"])]
    lines += ["", *_decisions(test["decisions"]), ""]
    lines += _levels({name: test["decisions"]} | {f"without {x}": y for x, y in others.items()})
    return "\n".join(lines)


def _overall(names: list[str], both: list[dict[str, Any]]) -> list[str]:
    """Lay out the scores over all classes, with one column for each kind of view."""

    def row(name: str, cells: list[str]) -> str:
        return f"{name:44}" + "".join(f"{cell:22}" for cell in cells).rstrip()

    simulated = [scores["simulated_calibration_error"] for scores in both]
    lines = [row("", names)]
    for key, name in METRIC_NAMES.items():
        lines.append(row(name, [interval(scores[key]) for scores in both]))
        if key == "calibration_error":
            cells = [f"{errors['mean']:.3f}, {errors['percentile_95']:.3f}" for errors in simulated]
            lines.append(row("  if perfectly calibrated: mean, 95 %", cells))
    for key in ("accuracy", "balanced_accuracy"):
        cells = [interval(scores["prior_divided"][key]) for scores in both]
        lines.append(row(f"{METRIC_NAMES[key]}, prior divided out", cells))
    return lines


def _per_class(name: str, scores: dict[str, Any]) -> list[str]:
    """Lay out the scores of each class against the rest."""
    keys = ("sensitivity", "specificity", "precision", "auc")
    lines = [f"{name:11}  images  " + "".join(f"{key:22}" for key in keys).rstrip()]
    for code, of_class in scores["per_class"].items():
        cells = "".join(f"{interval(of_class[key]):22}" for key in keys)
        lines.append(f"{code:11}  {of_class['images']:6}  {cells.rstrip()}")
    return lines


def _confusion_matrix(name: str, matrix: list[list[int]]) -> list[str]:
    return [
        f"{name}: rows are the true classes, columns the most likely ones",
        "       " + "".join(f"{code:>7}" for code in CODES),
        *(
            f"{code:7}" + "".join(f"{count:7}" for count in counts)
            for code, counts in zip(CODES, matrix, strict=True)
        ),
    ]


def _decisions(decisions: dict[str, Any]) -> list[str]:
    """Lay out how well the page's statements do, one line for each."""
    low_risk, conformal = decisions["low_risk"]["statement"], decisions["conformal"]
    if low_risk["share"]:
        low = decisions["statements"]["low"]
        said = (
            f"‘low risk’: {low['lesions']:,} of {decisions['lesions']:,} lesions, including "
            f"{low['malignant']:,} of {decisions['malignant']:,} malignant ones"
        )
    else:
        said = "‘low risk’: no lesion"
    return [
        said,
        f"sets of classes that cannot be excluded: {number(conformal['coverage'])} hold the true "
        f"class; they have {number(conformal['mean_set_size'], 2)} classes on average",
    ]


def _groups(name: str, groups: dict[str, Any]) -> list[str]:
    """Lay out the scores of each group, with eight views."""
    keys = ("accuracy", "melanoma_sensitivity", "malignant_auc")
    titles = ("accuracy", "melanoma sensitivity", "malignant AUC")
    wide = max([18, *(len(group) + 2 for group in groups)])
    lines = [f"{name:{wide}}images  " + "".join(f"{title:22}" for title in titles).rstrip()]
    ordered = sorted(groups.items(), key=lambda item: not item[0].startswith("under"))
    for group, scores in ordered:  # 'under 30' before '30–44'
        cells = "".join(f"{interval(scores[key]) if scores[key] else '–':22}" for key in keys)
        lines.append(f"{group:{wide}}{scores['images']:6}  {cells.rstrip()}")
    return lines if groups else [f"{name}: no group is large enough"]


# For each risk level: how many of 100 lesions of which kind.
_QUESTIONS = (
    "how many of 100 lesions have the level",
    "how many of 100 lesions with the level are malignant or pre-malignant",
    "how many of 100 melanomas have the level",
)


def _levels(columns: dict[str, dict[str, Any]]) -> list[str]:
    """Lay out what each risk level means, with one column for each set of images."""
    lines = []
    for question, heading in enumerate(_QUESTIONS):
        lines += ["", f"{heading}, with the 95 % interval"]
        lines.append(" " * 18 + "".join(f"{name:24}" for name in columns).rstrip())
        for name in (*LEVELS, "unfamiliar", "not_dermatoscopic"):
            cells = "".join(f"{_of_100(x, name, question):24}" for x in columns.values())
            lines.append(f"{name.replace('_', ' '):18}{cells.rstrip()}")
    return lines[1:]


def _of_100(scores: dict[str, Any], name: str, question: int) -> str:
    made = scores["statements"][name]
    part, whole = (
        (made["lesions"], scores["lesions"]),
        (made["malignant"], made["lesions"]),
        (made["melanomas"], scores["melanomas"]),
    )[question]
    if not whole:
        return "–"
    low, high = clopper_pearson(part, whole)
    return f"{100 * part / whole:.1f} ({100 * low:.1f}–{100 * high:.1f})"
