"""The tables of the model card, as Markdown, and how numbers stand on it.

A number that is not known, None, is written as '–'. Every function takes facts of a form that
lesion_lens.model.facts has seen.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from lesion_lens.model.decisions import LEVELS
from lesion_lens.model.facts import (
    has_clinic_groups,
    has_other_clinics,
    has_statement_counts,
    has_unseen_aucs,
)
from lesion_lens.model.statistics import clopper_pearson
from lesion_lens.model.wording import count, interval, number
from skin_cancer_detection import CLASSES, CODES

Facts = dict[str, Any]

CARD_METRICS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_auc": "macro AUC",
    "malignant_auc": "AUC of `akiec`, `bcc` or `mel` against benign",
    "melanoma_sensitivity_at_specificity_0.80": "melanoma: sensitivity at a specificity of 0.80",
}
GROUPS = {"sex": "sex", "age": "age in years", "site": "part of the body"}
HOME = "test part"
QUESTIONS = {
    "share": "Share of lesions with each statement",
    "malignant": "Malignant share of those lesions",
    "sensitivity": "Share of malignant lesions with each statement",
    "melanomas": "Share of melanomas with each statement",
}
STATEMENT_NAMES = {
    "high": "level ‘high’",
    "raised": "level ‘raised’",
    "low": "level ‘low’",
    "unknown": "level ‘unknown’",
    "unfamiliar": "unfamiliar",
    "not_dermatoscopic": "not dermatoscopic",
    "proven": "in a group where ‘low risk’ may be said",
    "below_threshold": "below the threshold of ‘low risk’",
    "flagged": "a class is flagged",
}
FEWEST_LESIONS = 20  # of which a share is told in a sentence

# --- Numbers ---------------------------------------------------------------------------------


def binomial(share: float | None, trials: int) -> str:
    """Write a share of so many lesions with its two-sided 95 % Clopper–Pearson interval."""
    if share is None:
        return "–"
    low, high = clopper_pearson(round(share * trials), trials)
    return interval({"value": share, "low": low, "high": high})


def per_100(share: float | None) -> str:
    """Write a share as a whole number of 100, and None as '–'."""
    return "–" if share is None else f"{100 * share:.0f}"


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


def part_table(facts: Facts) -> str:
    """The number of images in each part."""
    parts = ("training", "calibration", "test")
    return table(["part", "images"], [[part, count(facts["images"][part])] for part in parts])


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
    """The scores of each group: of each sex, age band, part of the body or source."""

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


def level_table(decisions: Facts) -> str:
    """What each risk level means on the test lesions."""
    rows = []
    for level in LEVELS:
        made = decisions["statements"][level]
        shares = (
            share_of(made["lesions"], decisions["lesions"]),
            share_of(made["malignant"], made["lesions"]),
            share_of(made["malignant"], decisions["malignant"]),
            share_of(made["melanomas"], decisions["melanomas"]),
        )
        rows.append([f"`{level}`", count(made["lesions"]), *shares])
    header = ["level", "lesions", "share of all", "malignant among them"]
    return table([*header, "share of all malignant", "share of all melanomas"], rows)


def share_table(decisions: Facts) -> str:
    """How often each of the other statements is made."""
    lesions, flagged, made = decisions["lesions"], decisions["flagged"], decisions["statements"]
    # Of nothing there is no share: then `right` is None, and so it is printed.
    flags = round((flagged["share"] or 0) * lesions)
    return table(
        ["statement", "share"],
        [
            ["a class is flagged", binomial(flagged["share"], lesions)],
            ["… and is the true one, of those flagged", binomial(flagged["right"], flags)],
            ["unfamiliar", share_of(made["unfamiliar"]["lesions"], lesions)],
            ["not dermatoscopic", share_of(made["not_dermatoscopic"]["lesions"], lesions)],
        ],
    )


# --- Clinics that the network had never seen -------------------------------------------------


def source_name(name: str) -> str:
    """Write the name of a source so that Markdown takes it as it stands."""
    return f"`{name}`" if re.fullmatch(r"[\w .,+–-]+", name) else escaped(name)


def source_table(groups: Facts) -> str:
    """The scores of the test images of each source, all of which the model knows."""
    return group_table("source", {source_name(name): row for name, row in groups.items()})


def clinic_columns(test: Facts | None, clinics: Facts) -> Facts:
    """The scores of each source that was left out, by its column's name.

    Args:
        test: of the facts; None where it has not the form that the card takes.
        clinics: of the facts, by name.

    Returns:
        Where `test` is known, its own scores come first, and each source's have as `known` those
        that this model has on its test images of the source, if there are any.
    """
    columns = {source_name(name): scores | {"known": None} for name, scores in clinics.items()}
    if test is None:
        return columns
    known = test["subgroups"].get("clinic", {})
    for name in clinics:
        columns[source_name(name)]["known"] = known.get(name)
    decisions = test["decisions"]
    covered = round((decisions["conformal"]["coverage"] or 0) * decisions["lesions"])
    home = test["eight_views"] | {"classes": CODES, "covered": covered, "known": None}
    counts = ("lesions", "malignant", "melanomas", "malignant_probability", "statements")
    return {HOME: home | {name: decisions[name] for name in counts}} | columns


def clinic_table(columns: Facts) -> str:
    """The scores of the test part, and of each source by a network that had never seen it."""

    def known(scores: Facts, name: str) -> str:
        return interval(scores["known"][name]) if scores["known"] else "–"

    def low_risk_sensitivity(scores: Facts) -> str:
        said = scores["statements"]["low"]
        if not said["lesions"]:  # of a statement that is never made
            return "–"
        return share_of(scores["malignant"] - said["malignant"], scores["malignant"])

    rows: list[tuple[str, Callable[[Facts], str]]] = [
        ("images", lambda x: count(x["images"])),
        ("AUC of malignant against benign", lambda x: interval(x["malignant_auc"])),
        ("… by this model, which knows the source", lambda x: known(x, "malignant_auc")),
        ("macro AUC", lambda x: interval(x["macro_auc"])),
        ("… classes that it counts", lambda x: count(len(x["classes"]))),
        ("accuracy", lambda x: interval(x["accuracy"])),
        ("… by this model, which knows the source", lambda x: known(x, "accuracy")),
        ("expected calibration error", lambda x: interval(x["calibration_error"])),
        (
            "… of a perfectly calibrated model, 95th percentile",
            lambda x: number(x["simulated_calibration_error"]["percentile_95"]),
        ),
        ("lesions", lambda x: count(x["lesions"])),
        ("share of malignant lesions", lambda x: share_of(x["malignant"], x["lesions"])),
        ("mean malignant probability", lambda x: number(x["malignant_probability"])),
        ("‘low risk’: sensitivity", low_risk_sensitivity),
        ("coverage of what cannot be excluded", lambda x: share_of(x["covered"], x["lesions"])),
    ]
    return table(
        ["score", *columns],
        [[name, *map(cell, columns.values())] for name, cell in rows],
    )


def statement_table(columns: Facts, question: str) -> str:
    """What each statement means on the test part, and for each source.

    Args:
        columns: from `clinic_columns`.
        question: of `QUESTIONS`.
    """

    def cell(scores: Facts, name: str) -> str:
        made = scores["statements"][name]
        if question == "share":
            return share_of(made["lesions"], scores["lesions"])
        if question == "malignant":
            return share_of(made["malignant"], made["lesions"])
        if question == "melanomas":
            return share_of(made["melanomas"], scores["melanomas"])
        return share_of(made["malignant"], scores["malignant"])

    return table(
        ["statement", *columns],
        [
            [words, *(cell(scores, name) for scores in columns.values())]
            for name, words in STATEMENT_NAMES.items()
        ],
    )


def share_of(part: int, whole: int) -> str:
    """Write a part of a whole as `binomial` does, and of nothing as '–'."""
    return binomial(part / whole if whole else None, whole)


def pairs(facts: Facts) -> dict[str, tuple[float, float]] | None:
    """Give the AUC of malignant against benign within sources that are known, and unseen.

    An AUC within a source: that of all sources together is higher, as malignant lesions are more
    frequent in some of them, and a network can tell the sources apart.

    Args:
        facts: of a model.

    Returns:
        `known`, of this model on its test images, and `unseen`, of the networks that had never seen
        the source: each the smallest and the largest of the sources of which both are known. None
        where there are none.
    """
    groups: Any = (facts.get("test") or {}).get("subgroups")
    if not (has_unseen_aucs(facts) and has_clinic_groups(groups)):
        return None
    known, unseen = [], []
    for name, scores in facts["other_clinics"]["clinics"].items():
        row = groups["clinic"].get(name)
        estimates = [row and row["malignant_auc"], scores["malignant_auc"]]
        if all(one and one["value"] is not None for one in estimates):
            known.append(estimates[0]["value"])
            unseen.append(estimates[1]["value"])
    if not known:
        return None
    return {"known": (min(known), max(known)), "unseen": (min(unseen), max(unseen))}


class Meaning(NamedTuple):
    """What a risk level meant for lesions whose truth is known.

    Attributes:
        malignant: share of the lesions with this level that were malignant or pre-malignant, 0–1.
        of_all: the same of all lesions of the part or clinic; for `low`, of all whose pictures are
            of a kind for which 'low risk' may be said.
        melanomas: share of all melanomas that had this level.
        is_unseen: whether they come from a clinic that the network had never seen.
    """

    malignant: float
    of_all: float
    melanomas: float | None
    is_unseen: bool


def meaning(facts: Facts, level: str, familiarity: str | None) -> Meaning | None:
    """Say what a level meant on the test lesions, or for an unfamiliar picture elsewhere.

    Args:
        facts: of a model.
        level: of `LEVELS`.
        familiarity: of `FAMILIARITIES`; 'unfamiliar' asks for the unseen clinic where the most of
            the lesions with this level were malignant.

    Returns:
        None where the facts do not say it, for `unknown`, or of fewer than 20 lesions.
    """
    if level == "unknown":
        return None
    if familiarity == "unfamiliar":
        known = has_other_clinics(facts)
        scores = list(facts["other_clinics"]["clinics"].values()) if known else []
    else:
        decisions = (facts.get("test") or {}).get("decisions")
        scores = [decisions] if has_statement_counts(decisions) else []
    found = []
    for one in scores:
        made, melanomas = one["statements"][level], one["melanomas"]
        of_all = one["statements"]["proven"] if level == "low" else one
        if made["lesions"] >= FEWEST_LESIONS:
            found.append(
                Meaning(
                    made["malignant"] / made["lesions"],
                    of_all["malignant"] / of_all["lesions"],
                    made["melanomas"] / melanomas if melanomas else None,
                    familiarity == "unfamiliar",
                )
            )
    return max(found, key=lambda one: one.malignant, default=None)


def auc_range(aucs: tuple[float, float]) -> str:
    """Write the smallest and the largest of several AUCs as '0.73–0.77'."""
    return "–".join(dict.fromkeys(f"{auc:.2f}" for auc in aucs))


def escaped(text: object) -> str:
    """Write a text so that Markdown takes it as it stands: all punctuation escaped, on one line."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", " ".join(str(text).split()))
