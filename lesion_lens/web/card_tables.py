"""The tables of the model card as Markdown, and the format of its numbers.

An unknown number (None) is written as '–'. The functions expect facts that lesion_lens.model.facts
has checked.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from lesion_lens.model.decisions import LEVELS, MALIGNANT_CODES
from lesion_lens.model.facts import (
    has_clinic_groups,
    has_other_clinics,
    has_statement_counts,
    has_unseen_aucs,
)
from lesion_lens.model.statistics import clopper_pearson
from lesion_lens.model.wording import count, interval, number, series
from skin_cancer_detection import CLASSES, CODES

Facts = dict[str, Any]

CARD_METRICS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_auc": "macro AUC",
    "malignant_auc": f"AUC of {series(map('`{}`'.format, MALIGNANT_CODES), 'or')} against benign",
    "melanoma_sensitivity_at_specificity_0.80": "melanoma: sensitivity at a specificity of 0.80",
}
GROUPS = {"sex": "sex", "age": "age in years", "site": "part of the body"}
HOME = "test part"
QUESTIONS = {
    "share": "Share of all lesions with each statement",
    "malignant": "Share of lesions with each statement that are malignant",
    "sensitivity": "Share of all malignant lesions with each statement",
    "melanomas": "Share of all melanomas with each statement",
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
FEWEST_LESIONS = 20  # for a share to be stated in a sentence

# --- Numbers ---------------------------------------------------------------------------------


def binomial(share: float | None, trials: int) -> str:
    """Write a share of `trials` with its two-sided 95 % Clopper–Pearson interval."""
    if share is None:
        return "–"
    low, high = clopper_pearson(round(share * trials), trials)
    return interval({"value": share, "low": low, "high": high})


def per_100(share: float | None) -> str:
    """Write a share as a whole number of 100, and None as '–'."""
    return "–" if share is None else f"{100 * share:.0f}"


def listed(codes: Sequence[str]) -> str:
    """Write one or more codes as '`akiec`, `bcc` and `mel`'."""
    return series(f"`{code}`" for code in codes)


# --- Tables ----------------------------------------------------------------------------------


def table(header: list[str], rows: list[list[str]]) -> str:
    """Lay out rows, each as long as the header, as a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def class_names() -> str:
    """The name of each class, and what it counts as."""
    return table(
        ["class", "name", "counts as"],
        [[f"`{one.code}`", one.name, one.risk] for one in CLASSES],
    )


def class_list(test: Facts) -> str:
    """The name of each class, what it counts as, and its images and lesions in the test part."""
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
    """The overall scores, for one view and for eight."""
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
        # 'under 30' comes before '30–44', and 'unknown' comes last
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
    """The calibration scores, with the error that a calibrated model would have by chance."""
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
    """Sensitivity and specificity: of the threshold alone, and of all conditions together."""
    low_risk, lesions = decisions["low_risk"], decisions["lesions"]
    ways = (low_risk["below_threshold"], low_risk["statement"])
    return table(
        ["figure", "threshold alone", "all conditions for ‘low risk’"],
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
    """How often the conformal set includes the true class, for each class and for all."""
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
    """How many test lesions, malignant lesions and melanomas have each risk level."""
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
    # If nothing is flagged, `right` is None, which is written as '–'.
    flags = round((flagged["share"] or 0) * lesions)
    return table(
        ["statement", "share"],
        [
            ["a class is flagged", binomial(flagged["share"], lesions)],
            [
                "… of these lesions, the flagged class is the true one",
                binomial(flagged["right"], flags),
            ],
            ["unfamiliar", share_of(made["unfamiliar"]["lesions"], lesions)],
            ["not dermatoscopic", share_of(made["not_dermatoscopic"]["lesions"], lesions)],
        ],
    )


# --- Sources that the network had never seen -------------------------------------------------


def source_name(name: str) -> str:
    """Write the name of a source so that Markdown shows it as it is."""
    return f"`{name}`" if re.fullmatch(r"[\w .,+–-]+", name) else escaped(name)


def source_table(groups: Facts) -> str:
    """The scores on the test images of each source. The model was trained on all of them."""
    return group_table("source", {source_name(name): row for name, row in groups.items()})


def clinic_columns(test: Facts | None, clinics: Facts) -> Facts:
    """The scores on each source that was left out, by the name of its column.

    Args:
        test: of the facts; None if it does not have the form that the card needs.
        clinics: of the facts, by name.

    Returns:
        If `test` is given, the scores on the test part come first. `known` of a source then holds
        this model's scores on the source's test images, or None.
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
    """The scores on the test part, and on each source by a network that had never seen it."""

    def known(scores: Facts, name: str) -> str:
        return interval(scores["known"][name]) if scores["known"] else "–"

    def low_risk_sensitivity(scores: Facts) -> str:
        said = scores["statements"]["low"]
        if not said["lesions"]:  # the statement is never made
            return "–"
        return share_of(scores["malignant"] - said["malignant"], scores["malignant"])

    rows: list[tuple[str, Callable[[Facts], str]]] = [
        ("images", lambda x: count(x["images"])),
        ("AUC of malignant against benign", lambda x: interval(x["malignant_auc"])),
        ("… by this model, which knows the source", lambda x: known(x, "malignant_auc")),
        ("macro AUC", lambda x: interval(x["macro_auc"])),
        ("… number of classes counted", lambda x: count(len(x["classes"]))),
        ("accuracy", lambda x: interval(x["accuracy"])),
        ("… by this model, which knows the source", lambda x: known(x, "accuracy")),
        ("expected calibration error", lambda x: interval(x["calibration_error"])),
        (
            "… of a perfectly calibrated model, 95th percentile",
            lambda x: number(x["simulated_calibration_error"]["percentile_95"]),
        ),
        ("lesions", lambda x: count(x["lesions"])),
        ("share of malignant lesions", lambda x: share_of(x["malignant"], x["lesions"])),
        ("mean probability of the malignant classes", lambda x: number(x["malignant_probability"])),
        ("sensitivity of ‘low risk’", low_risk_sensitivity),
        (
            "coverage of the classes that cannot be excluded",
            lambda x: share_of(x["covered"], x["lesions"]),
        ),
    ]
    return table(
        ["score", *columns],
        [[name, *map(cell, columns.values())] for name, cell in rows],
    )


def statement_table(columns: Facts, question: str) -> str:
    """Answer a question about each statement, for the test part and for each source.

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
    """Write a part of a whole as `binomial` does; '–' if the whole is 0."""
    return binomial(part / whole if whole else None, whole)


def pairs(facts: Facts) -> dict[str, tuple[float, float]] | None:
    """Compare the AUC of malignant against benign within known and within unseen sources.

    The AUC on all sources together can be higher, because some sources have more malignant lesions
    and a network can recognise the source.

    Args:
        facts: of a model.

    Returns:
        `known`: this model's AUCs on its test images. `unseen`: the AUCs of the networks that had
        never seen the source. Each is the smallest and the largest over the sources for which both
        are known. None if there are no such sources.
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
    """What a risk level meant for lesions with a known diagnosis.

    Attributes:
        malignant: share of the lesions with this level that were malignant or pre-malignant, 0–1.
        of_all: the same share among all lesions of the part or clinic; for `low`, among those in a
            group where 'low risk' may be said.
        melanomas: share of all melanomas that had this level.
        is_unseen: whether the lesions come from a clinic that the network had never seen.
    """

    malignant: float
    of_all: float
    melanomas: float | None
    is_unseen: bool


def meaning(facts: Facts, level: str, familiarity: str | None) -> Meaning | None:
    """Say what a level meant on the test lesions or, if the image is unfamiliar, on unseen clinics.

    Args:
        facts: of a model.
        level: of `LEVELS`.
        familiarity: of `FAMILIARITIES`. For 'unfamiliar', the result is that of the unseen clinic
            with the largest share of malignant lesions at this level.

    Returns:
        None if the facts lack it, for `unknown`, or for fewer than 20 lesions.
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
    """Escape all punctuation, so that Markdown shows a text as it is, on one line."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", " ".join(str(text).split()))
