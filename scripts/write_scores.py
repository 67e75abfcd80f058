"""Write the scores into the pages that tell them.

    python -m scripts.write_scores

Writes docs/model_card.md as a whole, and README.md and docs/results.md between their marks. The
scores are those of metrics.json. Those on DermaMNIST's split are of the metrics.json that
`python train.py --split dermamnist_official_split.csv` writes; where it is not there, what the page
says of that split stays as it is.
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


# --- What stands between the marks -----------------------------------------------------------


def in_short(metrics: Facts) -> str:
    """How good the model is, on the README's first screen."""
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
    """The README's table: the scores that the card begins with, and what is true elsewhere."""
    scores = _score_table(metrics, {key: METRIC_NAMES[key] for key in CARD_METRICS})
    aucs = pairs(metrics)
    if aucs is None:
        return scores
    return (
        f"{scores}\n\nWithin one source (a clinic and a camera), the AUC of malignant against "
        f"benign is {auc_range(aucs['known'])}. Similar\nnetworks that had never seen the source "
        f"reached {auc_range(aucs['unseen'])} "
        "([details](docs/results.md#images-from-elsewhere))."
    )


def all_scores(metrics: Facts) -> str:
    """The scores of all classes together, and what they were measured on."""
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
    """The scores of each class, and what they mean for melanomas and the statement 'low risk'."""
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
        + f"\n\nFor {per_100(per_class['mel']['sensitivity']['value'])} in 100 images of "
        "melanomas, the most likely class is melanoma. " + _low_risk(metrics)
    )


def _low_risk(metrics: Facts) -> str:
    """Say of how many test lesions 'low risk' is said, wrongly and rightly."""
    decisions = metrics["test"]["decisions"]
    if decisions["low_risk"]["threshold"] is None:
        return "The page never says 'low risk'\n([statements.md](statements.md))."
    said, malignant = decisions["statements"]["low"], decisions["malignant"]
    benign = decisions["lesions"] - malignant
    return (
        f"The page says 'low risk' of\n{count(said['malignant'])} of the {count(malignant)} "
        "malignant or pre-malignant test lesions, and of "
        f"{count(said['lesions'] - said['malignant'])} of the {count(benign)} benign "
        "ones\n([statements.md](statements.md))."
    )


def source_scores(metrics: Facts) -> str:
    """The scores on the test images of each source, all of which the model knows."""
    if "clinic" not in metrics["test"]["subgroups"]:
        return "The sources of the test images were not known when the model was scored."
    return source_table(metrics["test"]["subgroups"]["clinic"])


def other_clinics(metrics: Facts) -> str:
    """The scores on sources that a network had never seen, and what the statements mean there."""
    if "other_clinics" not in metrics:
        return "The model file does not say it."
    clinics = metrics["other_clinics"]["clinics"]
    columns = clinic_columns(metrics["test"], clinics)
    decisions = metrics["test"]["decisions"]
    return "\n\n".join(
        [
            _conclusion(decisions, list(clinics.values())),
            clinic_table(columns),
            "How often each statement is made:",
            statement_table(columns, "share"),
            "How many of the lesions that a statement is made of are malignant:",
            statement_table(columns, "malignant"),
        ]
    )


def _conclusion(known: Facts, unseen: list[Facts]) -> str:
    """Say what the tables on unseen sources show about three statements."""
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
        "The numbers for unseen sources are in the order of the columns below.\n\n"
        f"- 'Low risk' is said of {said} of the {count(known['lesions'])} test lesions, "
        f"{_counts([wrong])} of them malignant. For unseen sources\n  it is said of "
        f"{_listed(said_elsewhere)} lesions, {_counts(wrong_elsewhere)} of them malignant.\n"
        f"- Of 100 test lesions, the true class of {covered} is among those that cannot be "
        f"excluded. For unseen\n  sources it is {_listed(covered_elsewhere)} of 100.\n"
        f"- Of 100 test lesions, {unfamiliar} are unfamiliar. For unseen sources it is "
        f"{_listed(unfamiliar_elsewhere)} of 100."
    )


def _share(part: int, whole: int) -> str:
    return of_100(part / whole) if whole else "–"


def _counts(numbers: list[int]) -> str:
    """Write how many there are of each source, or that there are none at all."""
    return _listed([count(number) for number in numbers]) if any(numbers) else "none"


def _listed(numbers: list[str]) -> str:
    """Write a number of each source as '1, 2 and 3'."""
    *others, last = numbers
    return f"{', '.join(others)} and {last}" if others else last


def dermamnist(metrics: Facts) -> str:
    """The scores on DermaMNIST's split, how far it leaks, and the published scores."""
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
        f"For comparison with published results, we also trained {recipe} on DermaMNIST's\n"
        f"official split. It leaks: {count(shared)} of its {count(images)} test images show a "
        "lesion that is also in its training or\nvalidation set. The published scores leak in the "
        "same way.\n\n"
        + table(["at 28×28, DermaMNIST's test images", "accuracy", "macro AUC"], ours)
        + PUBLISHED
    )


# Of metrics.json: page, name of the marks, what stands between them.
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
    """Write the pages of the repository at `root`; returns the exit code."""
    try:
        pages = written_pages(root)  # all of them before the first is written
        for page, text in pages.items():
            (root / page).write_text(text, encoding="utf-8", newline="\n")
    except (LesionLensError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print(f"Wrote {', '.join(pages)}")
    return 0


def written_pages(root: Path) -> dict[str, str]:
    """Give each page, by its path below `root`, with the scores in it.

    Raises:
        CardError: a metrics.json is missing or lacks something.
        MissingMarks
    """
    metrics = read_metrics(root / METRICS)
    card = model_card(metrics, root / METRICS)  # which looks at the metrics first
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
    """Read the metrics of the training on DermaMNIST's split.

    Raises:
        CardError: they lack what the page tells, or are of another recipe than the model's, with
            as many teachers or none.
    """
    metrics = read_metrics(source)
    if not (
        has_images(metrics)
        and has_shared_count(metrics)
        and _has_both_views(metrics.get("test"))
        and metrics.get("recipe") in (recipe, recipe | {"teachers": 0})
    ):
        raise CardError(
            f"{source} is of an older form or another recipe: run `python train.py --split "
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
