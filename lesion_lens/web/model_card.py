"""The model card: from the facts of a model's training to Markdown, and to a page.

`model_card` fills templates/model_card.md.jinja with the facts of metrics.json, which a model file
holds as well. That template has the text and no figure that training could change. A figure that is
not known, None, is printed as '–'. The text speaks of HAM10000; what can be said of a model of
other data, or of an older one, is in templates/other_model_card.md.jinja. Knows no Flask.
"""

import json
import re

from jinja2 import Environment, FileSystemLoader, StrictUndefined, UndefinedError

from lesion_lens import ROOT
from lesion_lens.model.errors import LesionLensError
from lesion_lens.model.statistics import clopper_pearson
from lesion_lens.model.wording import interval, number
from skin_cancer_detection import CLASSES, CODES

CARD_METRICS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_auc": "macro AUC",
    "malignant_auc": "AUC of `akiec`, `bcc` or `mel` against benign",
    "melanoma_sensitivity_at_specificity_0.80": "melanoma: sensitivity at a specificity of 0.80",
}
GROUPS = {"sex": "sex", "age": "age in years", "site": "part of the body"}
MOST_TRIALS = 1_000_000  # of an interval; more is a spoiled figure and would take minutes
# What facts of another form make the tables and the template raise.
_SPOILED = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    UndefinedError,
    ValueError,
)
_REMEDY = "write it anew with python train.py, or with --evaluate where the model is new."


class CardError(LesionLensError):
    """Facts from which the card cannot be written."""


# --- Figures ---------------------------------------------------------------------------------


def count(things):
    """Lay out an int as '1,497'."""
    return f"{things:,}"


def binomial(share, trials):
    """Lay out a share of so many lesions with its two-sided 95 % Clopper–Pearson interval."""
    if share is None:
        return "–"
    if trials > MOST_TRIALS:
        raise ValueError("the number of lesions is spoiled")
    low, high = clopper_pearson(round(share * trials), trials)
    return interval({"value": share, "low": low, "high": high})


def per_100(share):
    """Lay out a share as a whole number of 100, or None as '–'."""
    return "–" if share is None else f"{100 * share:.0f}"


def misses(sensitivity):
    """Lay out a sensitivity, as in `interval`, as 'about 3 in 100 (1–6)' that are missed."""
    if sensitivity["value"] is None:
        return "–"
    missed = 1 - sensitivity["value"]
    rate = f"about {per_100(missed)}" if missed >= 0.005 else "fewer than 1"
    return f"{rate} in 100 ({per_100(1 - sensitivity['high'])}–{per_100(1 - sensitivity['low'])})"


def listed(codes):
    """Lay out codes as '`akiec`, `bcc` and `mel`'; at least one."""
    *others, last = (f"`{code}`" for code in codes)
    return f"{', '.join(others)} and {last}" if others else last


# --- Tables ----------------------------------------------------------------------------------


def table(header, rows):
    """Lay out rows of text, each as long as the header, as a table of Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def class_names():
    """What each code stands for, and what it counts as."""
    return table(
        ["class", "name", "counts as"],
        [[f"`{one.code}`", one.name, one.risk] for one in CLASSES],
    )


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
    rows = [[name, interval(one[key]), interval(eight[key])] for key, name in CARD_METRICS.items()]
    rows += [
        [f"{name}, prior divided out", *(interval(x["prior_divided"][key]) for x in (one, eight))]
        for key, name in CARD_METRICS.items()
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
            for code, row in ((code, scores["per_class"][code]) for code in CODES)
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
        ["figure", "the threshold alone", "‘low risk’ as it is said"],
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
            for code, row in ((code, conformal["per_class"][code]) for code in CODES)
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

ENVIRONMENT = Environment(
    loader=FileSystemLoader(ROOT / "templates"),
    autoescape=lambda name: name.endswith(".html"),
    undefined=StrictUndefined,
    trim_blocks=True,
    keep_trailing_newline=True,
)
_FUNCTIONS = {
    function.__name__: function
    for function in (
        *(count, number, per_100, listed),
        *(class_list, overall_table, class_table, group_table),
        *(calibration_table, low_risk_table, coverage_table, share_table),
    )
}


def read_metrics(path):
    """Read metrics.json.

    Returns:
        What it holds; `model_card` looks at its form.

    Raises:
        CardError: it is missing or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CardError(f"{path} is missing: {_REMEDY}") from error
    except ValueError as error:
        raise CardError(f"{path} is not JSON: {_REMEDY}") from error


def model_card(facts, source="the model file"):
    """Write the card of a model that was trained on HAM10000.

    Args:
        facts: dict, as train.py writes it to metrics.json and into the model file.
        source: where they come from, for an error's sentence.

    Returns:
        str, Markdown.

    Raises:
        CardError: they are spoiled, of an older form, or not of HAM10000 split by lesion, which is
            what the card speaks of.
    """
    try:
        if facts["data"] != "HAM10000" or facts["rows_may_share_lesions"]:
            raise CardError(
                f"{source} is not of HAM10000 split by lesion, of which the card speaks: train on "
                "Kaggle’s CSV and its metadata."
            )
        _check_texts(facts)
        return _fill_card(facts)
    except _SPOILED as error:
        raise CardError(
            f"{source} lacks what the card tells, as older ones do: {_REMEDY}"
        ) from error


def _fill_card(facts):
    test = facts["test"]
    matrix, mel, nv = test["eight_views"]["confusion_matrix"], CODES.index("mel"), CODES.index("nv")
    conformal = test["decisions"]["conformal"]["per_class"]
    return ENVIRONMENT.get_template("model_card.md.jinja").render(
        facts,
        **test,
        **_FUNCTIONS,
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


def other_model_card(facts):
    """Write what can be said of any model: no more than its file holds.

    Args:
        facts: dict, from `check_model_file`, which vouches for the scores, if there are any.

    Returns:
        str, Markdown.
    """
    test = facts.get("test")
    views = ("one_view", "eight_views")
    tables = {
        "Scores": _table_of(lambda: overall_table(*(test[view] for view in views))),
        "By class, eight views": _table_of(lambda: class_table(test["eight_views"])),
        "Calibration": _table_of(lambda: calibration_table(*(test[view] for view in views))),
        "Low risk": _table_of(lambda: low_risk_table(test["decisions"])),
        "What cannot be excluded": _table_of(lambda: coverage_table(test["decisions"])),
    }
    return ENVIRONMENT.get_template("other_model_card.md.jinja").render(
        data=facts.get("data"),
        escaped=escaped,
        may_share_lesions=facts.get("rows_may_share_lesions"),
        images=_table_of(lambda: part_table(facts)),
        is_scored=test is not None,
        class_names=class_names,
        tables=tables,
        missing=[heading for heading, table in tables.items() if table is None],
    )


def part_table(facts):
    """The number of images in each part."""
    parts = ("training", "calibration", "test")
    return table(["part", "images"], [[part, count(facts["images"][part])] for part in parts])


def _table_of(lay_out):
    """Lay out a table; None where the facts do not hold what it takes."""
    try:
        return lay_out()
    except _SPOILED:
        return None


def _check_texts(values):
    """Refuse facts with a text that Markdown would read as more than text.

    Raises:
        ValueError: there is one.
    """
    if isinstance(values, dict):
        _check_texts(list(values))
        _check_texts(list(values.values()))
    elif isinstance(values, list):
        for value in values:
            _check_texts(value)
    elif isinstance(values, str) and not re.fullmatch(r"[\w .,+–-]*", values):
        raise ValueError("a text among the facts is spoiled")


def escaped(text):
    """Write a text so that Markdown takes it as it stands: all punctuation escaped, on one line."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", " ".join(str(text).split()))
