"""The model card: from the facts of a model's training to Markdown.

`model_card` fills templates/model_card.md.jinja with the facts of metrics.json, which a model file
holds as well. That template has the text and no number that training could change. A number that is
not known, None, is printed as '–'. The text speaks of HAM10000; what can be said of a model of
other data, or of an older one, is in templates/other_model_card.md.jinja. Knows no Flask.
"""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from lesion_lens import ROOT
from lesion_lens.model.errors import LesionLensError
from lesion_lens.model.facts import (
    Form,
    can_fill_card,
    has_calibration,
    has_class_scores,
    has_coverage,
    has_images,
    has_low_risk,
    has_overall_scores,
)
from lesion_lens.model.statistics import clopper_pearson
from lesion_lens.model.wording import Estimate, interval, number
from skin_cancer_detection import CLASSES, CODES

Facts = dict[str, Any]  # of a form that lesion_lens.model.facts has seen

CARD_METRICS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_auc": "macro AUC",
    "malignant_auc": "AUC of `akiec`, `bcc` or `mel` against benign",
    "melanoma_sensitivity_at_specificity_0.80": "melanoma: sensitivity at a specificity of 0.80",
}
GROUPS = {"sex": "sex", "age": "age in years", "site": "part of the body"}
_REMEDY = "write it anew with python train.py, or with --evaluate where the model is new."


class CardError(LesionLensError):
    """Facts from which the card cannot be written."""


# --- Numbers ---------------------------------------------------------------------------------


def count(things: int) -> str:
    """Write an int as '1,497'."""
    return f"{things:,}"


def binomial(share: float | None, trials: int) -> str:
    """Write a share of so many lesions with its two-sided 95 % Clopper–Pearson interval."""
    if share is None:
        return "–"
    low, high = clopper_pearson(round(share * trials), trials)
    return interval({"value": share, "low": low, "high": high})


def per_100(share: float | None) -> str:
    """Write a share as a whole number of 100, and None as '–'."""
    return "–" if share is None else f"{100 * share:.0f}"


def misses(sensitivity: Estimate) -> str:
    """Write a sensitivity as 'about 3 in 100 (1–6)' that are missed."""
    value, low, high = sensitivity["value"], sensitivity["low"], sensitivity["high"]
    if value is None or low is None or high is None:
        return "–"
    rate = f"about {per_100(1 - value)}" if 1 - value >= 0.005 else "fewer than 1"
    return f"{rate} in 100 ({per_100(1 - high)}–{per_100(1 - low)})"


def listed(codes: Sequence[str]) -> str:
    """Write codes as '`akiec`, `bcc` and `mel`'; at least one."""
    *others, last = (f"`{code}`" for code in codes)
    return f"{', '.join(others)} and {last}" if others else last


# --- Tables ----------------------------------------------------------------------------------


def table(header: list[str], rows: list[list[str]]) -> str:
    """Lay out rows of text, each as long as the header, as a table of Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def class_names() -> str:
    """What each code stands for, and what it counts as."""
    return table(
        ["class", "name", "counts as"],
        [[f"`{one.code}`", one.name, one.risk] for one in CLASSES],
    )


def class_list(test: Facts) -> str:
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


def overall_table(one: Facts, eight: Facts) -> str:
    """The scores of all classes together, of one view and of eight."""
    rows = [[name, interval(one[key]), interval(eight[key])] for key, name in CARD_METRICS.items()]
    rows += [
        [f"{name}, prior divided out", *(interval(x["prior_divided"][key]) for x in (one, eight))]
        for key, name in CARD_METRICS.items()
        if key in eight["prior_divided"]
    ]
    return table(["score", "one view", "eight views"], rows)


def class_table(scores: Facts) -> str:
    """The scores of each class against the rest."""
    names = ("sensitivity", "specificity", "precision", "auc")
    return table(
        ["class", "images", "sensitivity", "specificity", "precision", "AUC"],
        [
            [f"`{code}`", count(row["images"]), *(interval(row[name]) for name in names)]
            for code, row in ((code, scores["per_class"][code]) for code in CODES)
        ],
    )


def group_table(name: str, groups: Facts) -> str:
    """The scores of each group: of each sex, age band or part of the body."""

    def age_then_alphabet(group: str) -> tuple[bool, bool, str]:
        # 'under 30' before '30–44', 'unknown' after all
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


def calibration_table(one: Facts, eight: Facts) -> str:
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


def low_risk_table(decisions: Facts) -> str:
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


def coverage_table(decisions: Facts) -> str:
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


def share_table(decisions: Facts) -> str:
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
    autoescape=select_autoescape(["html"]),
    undefined=StrictUndefined,
    trim_blocks=True,
    keep_trailing_newline=True,
)
# What the template speaks of, besides the parts of `test`.
_FACTS = ("data_sha256", "split_sha256", "seed", "images", "lesions", "recipe", "versions", "test")
_FUNCTIONS = {
    function.__name__: function
    for function in (
        *(count, number, per_100, listed),
        *(class_list, overall_table, class_table, group_table),
        *(calibration_table, low_risk_table, coverage_table, share_table),
    )
}


def read_metrics(path: Path) -> Any:
    """Read metrics.json; `model_card` looks at the form of what it holds.

    Raises:
        CardError: it is missing or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CardError(f"{path} is missing: {_REMEDY}") from error
    except ValueError as error:
        raise CardError(f"{path} is not JSON: {_REMEDY}") from error


def model_card(facts: Any, source: str | Path = "the model file") -> str:
    """Write the card of a model that was trained on HAM10000.

    Args:
        facts: as training writes them to metrics.json and into the model file.
        source: where they come from, for an error's sentence.

    Returns:
        Markdown.

    Raises:
        CardError: they are spoiled, of an older form, or not of HAM10000 split by lesion, which is
            what the card speaks of.
    """
    known = facts if isinstance(facts, dict) else {}
    if known.get("data", "HAM10000") != "HAM10000" or known.get("rows_may_share_lesions"):
        raise CardError(
            f"{source} is not of HAM10000 split by lesion, of which the card speaks: train on "
            "Kaggle’s CSV and its metadata."
        )
    if not can_fill_card(facts):
        raise CardError(f"{source} lacks what the card tells, as older ones do: {_REMEDY}")
    test = facts["test"]
    matrix, mel, nv = test["eight_views"]["confusion_matrix"], CODES.index("mel"), CODES.index("nv")
    conformal = test["decisions"]["conformal"]["per_class"]
    return ENVIRONMENT.get_template("model_card.md.jinja").render(
        {name: facts[name] for name in _FACTS},
        **{name: test[name] for name in ("one_view", "eight_views", "decisions", "subgroups")},
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


def other_model_card(facts: Facts) -> str:
    """Write what can be said of any model: no more than its file holds.

    Args:
        facts: from `check_model_file`.

    Returns:
        Markdown.
    """
    test = facts.get("test")
    scored = test or {}
    views = [scored.get("one_view"), scored.get("eight_views")]
    eight, decisions = views[1:], [scored.get("decisions")]
    tables = {
        "Scores": _table_if(has_overall_scores, overall_table, views),
        "By class, eight views": _table_if(has_class_scores, class_table, eight),
        "Calibration": _table_if(has_calibration, calibration_table, views),
        "Low risk": _table_if(has_low_risk, low_risk_table, decisions),
        "What cannot be excluded": _table_if(has_coverage, coverage_table, decisions),
    }
    return ENVIRONMENT.get_template("other_model_card.md.jinja").render(
        data=facts.get("data"),
        escaped=escaped,
        may_share_lesions=facts.get("rows_may_share_lesions"),
        images=_table_if(has_images, part_table, [facts]),
        is_scored=test is not None,
        class_names=class_names,
        tables=tables,
        missing=[heading for heading, rows in tables.items() if rows is None],
    )


def part_table(facts: Facts) -> str:
    """The number of images in each part."""
    parts = ("training", "calibration", "test")
    return table(["part", "images"], [[part, count(facts["images"][part])] for part in parts])


def _table_if(form: Form, lay_out: Callable[..., str], values: list[Any]) -> str | None:
    """Lay out a table; None where one of the values has not the form that it takes."""
    return lay_out(*values) if all(map(form, values)) else None


def escaped(text: object) -> str:
    """Write a text so that Markdown takes it as it stands: all punctuation escaped, on one line."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", " ".join(str(text).split()))
