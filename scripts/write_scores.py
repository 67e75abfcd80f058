"""Write the scores into the pages that show them.

    python -m scripts.write_scores

Writes all of docs/model_card.md, and the parts of README.md and docs/results.md between the marks.
The scores come from metrics.json. The scores on DermaMNIST's split come from the metrics.json that
`python train.py --split dermamnist_official_split.csv` writes. If that file is missing, the section
on DermaMNIST's split is left unchanged.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from lesion_lens import ROOT
from lesion_lens.model.errors import LesionLensError
from lesion_lens.model.facts import has_images, has_overall_scores, has_shared_count
from lesion_lens.model.wording import count, interval, number, of_100
from lesion_lens.training.score_table import METRIC_NAMES
from lesion_lens.web.card_tables import (
    CARD_METRICS,
    QUESTIONS,
    Facts,
    auc_range,
    clinic_columns,
    clinic_table,
    pairs,
    per_100,
    source_table,
    statement_table,
    table,
)
from lesion_lens.web.model_card import CardError, model_card, read_metrics
from scripts.front_matter import front_matter
from scripts.marks import filled
from skin_cancer_detection import CODES

METRICS = "metrics.json"
CARD = "docs/model_card.md"
README = "README.md"
RESULTS = "docs/results.md"
DERMAMNIST = "runs/dermamnist_official_split/metrics.json"  # as `--split` names the folder
PUBLISHED = """
| Google AutoML Vision ([MedMNIST v2](https://doi.org/10.1038/s41597-022-01721-8)) | 0.768 | |
| VGG16 ([MedMNIST+](https://doi.org/10.48550/arXiv.2404.15786)) | | 0.927 |
| DenseNet-121, but at 224×224 (MedMNIST+) | 0.847 | |"""


# --- The text between the marks --------------------------------------------------------------


def in_short(metrics: Facts) -> str:
    """The main scores in two sentences, for the start of the README."""
    scores = metrics["test"]["eight_views"]
    accuracy, balanced, auc = (
        number(scores[name]["value"]) for name in ("accuracy", "balanced_accuracy", "macro_auc")
    )
    found = per_100(scores["per_class"]["mel"]["sensitivity"]["value"])
    return (
        f"On {count(scores['images'])} test images of lesions that it never saw, the app reaches "
        f"an accuracy of {accuracy}, a balanced\naccuracy of {balanced} and a macro AUC of {auc}. "
        f"It recognises {found} in 100 melanoma images as melanoma.\n"
        "[All results](docs/results.md)."
    )


def main_scores(metrics: Facts) -> str:
    """The README's table: the card's first scores, and the AUCs on known and unseen sources."""
    scores = _score_table(metrics, {key: METRIC_NAMES[key] for key in CARD_METRICS})
    aucs = pairs(metrics)
    if aucs is None:
        return scores
    return (
        f"{scores}\n\nWithin one source (a clinic and a camera), the AUC of malignant against "
        f"benign is {auc_range(aucs['known'])}. Similar\nnetworks that had never seen that source "
        f"reached {auc_range(aucs['unseen'])} "
        "([details](docs/results.md#images-from-elsewhere))."
    )


def all_scores(metrics: Facts) -> str:
    """The overall scores, and the images they were measured on."""
    images, lesions = (count(metrics[name]["test"]) for name in ("images", "lesions"))
    return (
        f"On the {images} test images of {lesions} lesions, with the 95 % interval of a bootstrap "
        f"over lesions:\n\n{_score_table(metrics, METRIC_NAMES)}"
    )


def _score_table(metrics: Facts, names: dict[str, str]) -> str:
    views = [metrics["test"][name] for name in ("one_view", "eight_views")]
    rows = [[name, *(interval(scores[key]) for scores in views)] for key, name in names.items()]
    return table(["score", "one view", "eight views"], rows)


def class_scores(metrics: Facts) -> str:
    """The scores of each class, with a sentence on melanomas and one on 'low risk'."""
    per_class = metrics["test"]["eight_views"]["per_class"]
    names = ("sensitivity", "specificity", "precision", "auc")
    rows = [
        [
            f"`{code}`",
            count(per_class[code]["images"]),
            *(number(per_class[code][name]["value"]) for name in names),
        ]
        for code in CODES
    ]
    return (
        table(["class", "images", "sensitivity", "specificity", "precision", "AUC"], rows)
        + "\n\nMelanoma is the most likely class for "
        f"{per_100(per_class['mel']['sensitivity']['value'])} in 100 images of melanomas. "
        + _low_risk(metrics)
    )


def _low_risk(metrics: Facts) -> str:
    """Count the malignant and the benign test lesions that are called 'low risk'."""
    decisions = metrics["test"]["decisions"]
    if decisions["low_risk"]["threshold"] is None:
        return "The page never says 'low risk'\n([statements.md](statements.md))."
    said, malignant = decisions["statements"]["low"], decisions["malignant"]
    benign = decisions["lesions"] - malignant
    return (
        f"The page says\n'low risk' for {count(said['malignant'])} of the {count(malignant)} "
        "malignant or pre-malignant test lesions and for "
        f"{count(said['lesions'] - said['malignant'])} of the\n{count(benign)} benign "
        "ones ([statements.md](statements.md))."
    )


def source_scores(metrics: Facts) -> str:
    """The scores on the test images of each source. The model was trained on all of them."""
    if "clinic" not in metrics["test"]["subgroups"]:
        return "The sources of the test images were not known when the model was scored."
    return source_table(metrics["test"]["subgroups"]["clinic"])


def other_clinics(metrics: Facts) -> str:
    """The scores and statements on sources that a network had never seen."""
    if "other_clinics" not in metrics:
        return "The model file has no scores for unseen sources."
    clinics = metrics["other_clinics"]["clinics"]
    columns = clinic_columns(metrics["test"], clinics)
    decisions = metrics["test"]["decisions"]
    return "\n\n".join(
        [
            _conclusion(decisions, list(clinics.values())),
            clinic_table(columns),
            f"{QUESTIONS['share']}:",
            statement_table(columns, "share"),
            f"{QUESTIONS['malignant']}:",
            statement_table(columns, "malignant"),
        ]
    )


def _conclusion(known: Facts, unseen: list[Facts]) -> str:
    """Summarise the tables on unseen sources for three statements."""
    low = [scores["statements"]["low"] for scores in (known, *unseen)]
    said, *said_elsewhere = (count(made["lesions"]) for made in low)
    wrong, *wrong_elsewhere = (made["malignant"] for made in low)
    covered = of_100(known["conformal"]["coverage"] or 0)
    covered_elsewhere = [_share(scores["covered"], scores["lesions"]) for scores in unseen]
    unfamiliar, *unfamiliar_elsewhere = (
        _share(scores["statements"]["unfamiliar"]["lesions"], scores["lesions"])
        for scores in (known, *unseen)
    )
    return (
        "The numbers for unseen sources follow the order of the columns in the tables below.\n\n"
        f"- {said} of the {count(known['lesions'])} test lesions are called 'low risk', "
        f"{_counts([wrong])} of them malignant. For unseen sources,\n  the numbers "
        f"are {_listed(said_elsewhere)}, {_counts(wrong_elsewhere)} of them malignant.\n"
        f"- For {covered} in 100 test lesions, the true class is one of those that cannot be "
        f"excluded.\n  For unseen sources, this holds for {_listed(covered_elsewhere)} in 100.\n"
        f"- {unfamiliar} in 100 test lesions are unfamiliar. For unseen sources, "
        f"{_listed(unfamiliar_elsewhere)} in 100 are."
    )


def _share(part: int, whole: int) -> str:
    return of_100(part / whole) if whole else "–"


def _counts(numbers: list[int]) -> str:
    """List the number for each source; 'none' if all are 0."""
    return _listed([count(number) for number in numbers]) if any(numbers) else "none"


def _listed(numbers: list[str]) -> str:
    """Write the number for each source as '1, 2 and 3'."""
    *others, last = numbers
    return f"{', '.join(others)} and {last}" if others else last


def dermamnist(metrics: Facts) -> str:
    """The scores on DermaMNIST's split, how much it leaks, and the published scores."""
    shared, images = metrics["test_images_sharing_lesions"], metrics["images"]["test"]
    recipe = "this recipe" if metrics["recipe"]["teachers"] else "this recipe without teachers"
    ours = [
        [name, *(interval(metrics["test"][key][score]) for score in ("accuracy", "macro_auc"))]
        for key, name in (
            ("eight_views", f"{recipe}, eight views"),
            ("one_view", f"{recipe}, one view"),
        )
    ]
    return (
        f"For comparison with published results, we used {recipe} to train on DermaMNIST's\n"
        f"official split, too. It leaks: {count(shared)} of its {count(images)} test images show "
        "a lesion that is also in its training\nor validation set. The published scores leak in "
        "the same way.\n\n"
        + table(["on DermaMNIST's test images, at 28×28 pixels", "accuracy", "macro AUC"], ours)
        + PUBLISHED
    )


# Filled from metrics.json: the page, the name of the marks, the function that writes the text.
BLOCKS: list[tuple[str, str, Callable[[Facts], str]]] = [
    (README, "in short", in_short),
    (README, "scores", main_scores),
    (RESULTS, "scores", all_scores),
    (RESULTS, "scores by class", class_scores),
    (RESULTS, "scores by source", source_scores),
    (RESULTS, "scores elsewhere", other_clinics),
]
DERMAMNIST_BLOCK = (RESULTS, "scores on DermaMNIST", dermamnist)


# --- The command -----------------------------------------------------------------------------


def main(root: Path = ROOT) -> int:
    """Write the pages of the repository at `root`; return the exit code."""
    try:
        pages = written_pages(root)  # an error here leaves every page as it was
        for page, text in pages.items():
            (root / page).write_text(text, encoding="utf-8", newline="\n")
    except (LesionLensError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print(f"Wrote {', '.join(pages)}")
    return 0


def written_pages(root: Path) -> dict[str, str]:
    """Fill the scores into each page; returns the texts by path below `root`.

    Raises:
        CardError: a metrics.json is missing or incomplete.
        MissingMarks
    """
    metrics = read_metrics(root / METRICS)
    card = model_card(metrics, root / METRICS)  # first, because it checks the metrics
    pages = {CARD: front_matter(metrics) + card}
    texts: dict[str, dict[str, str]] = {}
    for page, name, lay_out in BLOCKS:
        texts.setdefault(page, {})[name] = lay_out(metrics)
    page, name, lay_out = DERMAMNIST_BLOCK
    if (root / DERMAMNIST).exists():
        texts[page][name] = lay_out(read_dermamnist(root / DERMAMNIST, metrics["recipe"]))
    else:
        print(f"{DERMAMNIST} is missing: {page} keeps its {name}.")
    return pages | {page: filled(root / page, marked) for page, marked in texts.items()}


def read_dermamnist(source: Path, recipe: Facts) -> Facts:
    """Read the metrics of the run on DermaMNIST's split.

    Raises:
        CardError: the metrics are incomplete, or come from another recipe. The recipe must be the
            model's, with the same number of teachers or none.
    """
    metrics = read_metrics(source)
    if not (
        has_images(metrics)
        and has_shared_count(metrics)
        and _has_both_views(metrics.get("test"))
        and metrics.get("recipe") in (recipe, recipe | {"teachers": 0})
    ):
        raise CardError(
            f"{source} has an older form or another recipe: run `python train.py --split "
            "dermamnist_official_split.csv` again, or remove it."
        )
    return metrics


def _has_both_views(test: object) -> bool:
    return isinstance(test, dict) and all(
        has_overall_scores(test.get(view)) for view in ("one_view", "eight_views")
    )


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    sys.exit(main())
