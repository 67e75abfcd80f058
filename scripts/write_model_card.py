"""Write docs/model_card.md: scripts/model_card.md.jinja, filled with the figures of metrics.json.

    python scripts/write_model_card.py

The template holds the text and no figure that training could change. A figure that is not known,
None in metrics.json, is printed as '–'.
"""

import json
import sys
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from calibration import clopper_pearson  # noqa: E402
from scores import interval, number  # noqa: E402
from skin_cancer_detection import CLASSES, CODES, SkinCancerDetectionError  # noqa: E402

METRICS = ROOT / "metrics.json"
CARD = ROOT / "docs" / "model_card.md"
TEMPLATE = "model_card.md.jinja"

SCORES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_auc": "macro AUC",
    "malignant_auc": "AUC of `akiec`, `bcc` or `mel` against benign",
    "melanoma_sensitivity_at_specificity_0.80": "melanoma: sensitivity at a specificity of 0.80",
}
GROUPS = {"sex": "sex", "age": "age in years", "site": "part of the body"}


class CardError(SkinCancerDetectionError):
    """A metrics.json from which the card cannot be written."""


# --- Figures ---------------------------------------------------------------------------------


def count(things):
    """Lay out an int as '1,497'."""
    return f"{things:,}"


def binomial(share, trials):
    """Lay out a share of so many lesions with its two-sided 95 % Clopper–Pearson interval."""
    if share is None:
        return "–"
    low, high = clopper_pearson(round(share * trials), trials)
    return interval({"value": share, "low": low, "high": high})


def in_100(share):
    """Lay out a share as a whole number of 100, or None as '–'."""
    return "–" if share is None else f"{100 * share:.0f}"


def misses(sensitivity):
    """Lay out a sensitivity, as in `interval`, as 'about 3 in 100 (1–6)' that are missed."""
    if sensitivity["value"] is None:
        return "–"
    missed = 1 - sensitivity["value"]
    rate = f"about {in_100(missed)}" if missed >= 0.005 else "fewer than 1"
    return f"{rate} in 100 ({in_100(1 - sensitivity['high'])}–{in_100(1 - sensitivity['low'])})"


def listed(codes):
    """Lay out codes as '`akiec`, `bcc` and `mel`'; at least one."""
    *others, last = (f"`{code}`" for code in codes)
    return f"{', '.join(others)} and {last}" if others else last


# --- Tables ----------------------------------------------------------------------------------


def table(header, rows):
    """Lay out rows of text, each as long as the header, as a table of Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def class_list(test):
    """What each code stands for, what it counts as, and how often it stands in the test part."""
    lesions = test["decisions"]["conformal"]["per_class"]
    return table(
        ["class", "name", "counts as", "test images", "test lesions"],
        [
            [
                f"`{lesion_class.code}`",
                lesion_class.name,
                lesion_class.risk,
                count(test["eight_views"]["per_class"][lesion_class.code]["images"]),
                count(lesions[lesion_class.code]["lesions"]),
            ]
            for lesion_class in CLASSES
        ],
    )


def overall_table(one, eight):
    """The scores of all classes together, of one view and of eight."""
    rows = [[name, interval(one[key]), interval(eight[key])] for key, name in SCORES.items()]
    rows += [
        [f"{name}, prior divided out", *(interval(x["prior_divided"][key]) for x in (one, eight))]
        for key, name in SCORES.items()
        if key in eight["prior_divided"]
    ]
    return table(["score", "one view", "eight views"], rows)


def class_table(scores):
    """The scores of each class against the rest."""
    names = ("sensitivity", "specificity", "precision", "auc")
    return table(
        ["class", "images", "sensitivity", "specificity", "precision", "AUC"],
        [
            [f"`{code}`", count(row["images"]), *(interval(row[name]) for name in names)]
            for code, row in scores["per_class"].items()
        ],
    )


def group_table(name, groups):
    """The scores of each group: of each sex, age band or part of the body."""

    def age_then_alphabet(group):  # 'under 30' before '30–44', 'unknown' after all
        return group == "unknown", not group.startswith("under"), group

    return table(
        [name, "images", "accuracy", "melanoma sensitivity", "AUC of malignant against benign"],
        [
            [
                group,
                count(groups[group]["images"]),
                interval(groups[group]["accuracy"]),
                interval(groups[group]["melanoma_sensitivity"]),
                interval(groups[group]["malignant_auc"]),
            ]
            for group in sorted(groups, key=age_then_alphabet)
        ],
    )


def calibration_table(one, eight):
    """How far the probabilities are from the truth, beside what chance alone would give."""
    views = (one, eight)
    simulated = [scores["simulated_calibration_error"] for scores in views]
    return table(
        ["score", "one view", "eight views"],
        [
            ["expected calibration error", *(interval(x["calibration_error"]) for x in views)],
            ["… of a perfectly calibrated model, mean", *(number(x["mean"]) for x in simulated)],
            [
                "… of a perfectly calibrated model, 95th percentile",
                *(number(x["percentile_95"]) for x in simulated),
            ],
            ["Brier score (0–2)", *(interval(x["brier_score"]) for x in views)],
            ["log loss", *(interval(x["log_loss"]) for x in views)],
        ],
    )


def low_risk_table(decisions):
    """What the threshold alone, and 'low risk' as it is said, find and cost."""
    low_risk, lesions = decisions["low_risk"], decisions["lesions"]
    ways = (low_risk["below_threshold"], low_risk["statement"])
    return table(
        ["", "the threshold alone", "‘low risk’ as it is said"],
        [
            ["malignant or pre-malignant lesions", *(count(way["malignant"]) for way in ways)],
            ["sensitivity", *(interval(way["sensitivity"]) for way in ways)],
            ["misses", *(misses(way["sensitivity"]) for way in ways)],
            [
                "specificity",
                *(binomial(way["specificity"], lesions - way["malignant"]) for way in ways),
            ],
            ["share called low risk", *(binomial(way["share"], lesions) for way in ways)],
        ],
    )


def coverage_table(decisions):
    """How often the conformal set holds the true class: of each class and of all together."""
    conformal, lesions = decisions["conformal"], decisions["lesions"]
    return table(
        ["class", "lesions", "coverage", "quantile"],
        [
            [
                f"`{code}`",
                count(row["lesions"]),
                binomial(row["coverage"], row["lesions"]),
                "pooled" if row["pooled"] else "its own",
            ]
            for code, row in conformal["per_class"].items()
        ]
        + [["all", count(lesions), binomial(conformal["coverage"], lesions), ""]],
    )


def share_table(decisions):
    """How often each of the other statements is made."""
    lesions, flagged = decisions["lesions"], decisions["flagged"]
    # Of nothing there is no share: then `right` is None, and so it is printed.
    flags = round((flagged["share"] or 0) * lesions)
    return table(
        ["statement", "share"],
        [
            ["inconclusive", binomial(decisions["inconclusive"], lesions)],
            ["the set is empty", binomial(decisions["conformal"]["empty"], lesions)],
            ["a class is flagged", binomial(flagged["share"], lesions)],
            ["… and is the true one, of those flagged", binomial(flagged["right"], flags)],
            ["warned of as unlike the training images", binomial(decisions["unlike"], lesions)],
        ],
    )


# --- The card --------------------------------------------------------------------------------


def read_metrics(path):
    """Read metrics.json.

    Returns:
        dict, as train.py writes it.

    Raises:
        CardError: it is missing, spoiled, of an older form, or not of HAM10000 split by lesion,
            which is what the card speaks of.
    """
    remedy = "write it anew with python train.py, or with --evaluate where the model is new."
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CardError(f"{path} is missing: {remedy}") from error
    except ValueError as error:
        raise CardError(f"{path} is not JSON: {remedy}") from error
    if not _is_of_this_form(metrics):
        raise CardError(f"{path} lacks what the card tells, as older ones do: {remedy}")
    if metrics["data"] != "HAM10000" or metrics["rows_may_share_lesions"]:
        raise CardError(
            f"{path} is not of HAM10000 split by lesion, of which the card speaks: train on "
            "Kaggle’s CSV and its metadata."
        )
    return metrics


def _is_of_this_form(metrics):
    try:
        test = metrics["test"]
        return (
            {"data", "rows_may_share_lesions", "recipe"} <= metrics.keys()
            and {"one_view", "eight_views", "decisions"} <= test.keys()
            and GROUPS.keys() <= test["subgroups"].keys()
        )
    except (AttributeError, LookupError, TypeError):
        return False


def model_card(metrics):
    """Fill the template with what `read_metrics` gave; returns the card's Markdown."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    test = metrics["test"]
    matrix, mel, nv = test["eight_views"]["confusion_matrix"], CODES.index("mel"), CODES.index("nv")
    conformal = test["decisions"]["conformal"]["per_class"]
    functions = (count, number, in_100, listed)
    tables = (
        class_list,
        overall_table,
        class_table,
        group_table,
        calibration_table,
        low_risk_table,
        coverage_table,
        share_table,
    )
    return environment.get_template(TEMPLATE).render(
        metrics,
        **test,
        **{function.__name__: function for function in (*functions, *tables)},
        GROUPS=GROUPS,
        melanomas={
            "images": sum(matrix[mel]),
            "share": sum(matrix[mel]) / test["eight_views"]["images"],
            "found": matrix[mel][mel],
            "taken_for_naevi": matrix[mel][nv],
        },
        malignant=[lesion_class.code for lesion_class in CLASSES if lesion_class.risk != "benign"],
        pooled=[code for code, row in conformal.items() if row["pooled"]],
    )


def main(source=METRICS, target=CARD):
    """Write the card; returns the exit code."""
    try:
        card = model_card(read_metrics(source))
    except CardError as error:
        print(error, file=sys.stderr)
        return 2
    target.write_text(card, encoding="utf-8", newline="\n")
    print(f"Wrote {target}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
