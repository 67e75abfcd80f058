"""The pages have the scores of metrics.json, because a command writes them there."""

import copy
import json
import re
import shutil

import pytest

from lesion_lens import ROOT
from scripts.marks import MissingMarks, filled, publish
from scripts.write_scores import (
    BLOCKS,
    CARD,
    DERMAMNIST,
    DERMAMNIST_BLOCK,
    METRICS,
    README,
    RESULTS,
    main,
)
from tests.support.cards import made_clinic
from tests.support.models import made_counts
from train import parse_arguments

PAGES = (README, RESULTS, CARD)
KNOWN = json.loads((ROOT / METRICS).read_text(encoding="utf-8"))
MADE, *OTHERS = ({"value": value, "low": 0.111, "high": 0.144} for value in (0.1234, 0.4, 0.5, 0.6))
CLASS_SCORES = ("sensitivity", "specificity", "precision", "auc")
OF_CLASS = {"images": 7, **dict(zip(CLASS_SCORES, (MADE, *OTHERS), strict=True))}
MARKS = [(page, name) for page, name, _ in (*BLOCKS, DERMAMNIST_BLOCK)]


@pytest.fixture
def root(tmp_path):
    """A folder with the committed metrics and pages."""
    (tmp_path / "docs").mkdir()
    for name in (METRICS, *PAGES):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


@pytest.fixture
def metrics():
    return copy.deepcopy(KNOWN)


def write(path, metrics):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(metrics), encoding="utf-8")


def pages_of(root):
    return {name: (root / name).read_text(encoding="utf-8") for name in PAGES}


def between_marks(root, page, name):
    text = (root / page).read_text(encoding="utf-8")
    return text.split(f"<!-- {name} -->")[1].split(f"<!-- end of {name} -->")[0]


def leaking(metrics):
    """Make metrics for DermaMNIST's split."""
    one, eight = metrics["test"]["one_view"], metrics["test"]["eight_views"]
    eight["accuracy"], eight["macro_auc"], one["accuracy"], one["macro_auc"] = (MADE, *OTHERS)
    metrics["images"]["test"] = 3456
    return metrics | {"rows_may_share_lesions": True, "test_images_sharing_lesions": 1234}


# --- What the pages tell ---------------------------------------------------------------------


def test_the_committed_pages_are_those_of_the_committed_metrics(root, capsys):
    assert main(root) == 0
    assert pages_of(root) == pages_of(ROOT)
    missing = f"{DERMAMNIST} is missing: {RESULTS} keeps its scores on DermaMNIST.\n"
    assert capsys.readouterr().out.startswith(missing)


@pytest.mark.parametrize(
    ("path", "value", "page", "text"),
    [
        ("eight_views images", 1999, README, "On 1,999 test images of lesions"),
        ("eight_views accuracy", MADE, README, "reaches an accuracy of 0.123, a balanced"),
        ("eight_views balanced_accuracy", MADE, README, "accuracy of 0.123 and a macro"),
        ("eight_views macro_auc", MADE, README, "a macro AUC of 0.123. It"),
        ("eight_views per_class mel sensitivity", MADE, README, "recognises 12 in 100 melanoma"),
        ("one_view macro_auc", MADE, README, "| macro AUC | 0.123 (0.111–0.144) |"),
        ("eight_views macro_auc", MADE, README, " | 0.123 (0.111–0.144) |"),
        ("one_view log_loss", MADE, RESULTS, "| log loss | 0.123 (0.111–0.144) |"),
        (
            "eight_views per_class df",
            OF_CLASS,
            RESULTS,
            "| `df` | 7 | 0.123 | 0.400 | 0.500 | 0.600 |",
        ),
        ("eight_views per_class mel sensitivity", MADE, RESULTS, "for 12 in 100 images of mel"),
        ("decisions low_risk threshold", None, RESULTS, "The page never says 'low risk'"),
        ("eight_views brier_score", MADE, CARD, " | 0.123 (0.111–0.144) |"),
    ],
)
def test_a_number_of_the_metrics_stands_on_the_page(path, value, page, text, root, metrics):
    *holders, name = path.split()
    holder = metrics["test"]
    for key in holders:
        holder = holder[key]
    holder[name] = value
    write(root / METRICS, metrics)
    assert text not in pages_of(root)[page]
    assert main(root) == 0
    assert text in pages_of(root)[page]


def test_the_results_begin_with_the_size_of_the_test_part(root, metrics):
    metrics["images"]["test"], metrics["lesions"]["test"] = 4321, 1234
    write(root / METRICS, metrics)
    assert main(root) == 0
    assert "On the 4,321 test images of 1,234 lesions" in between_marks(root, RESULTS, "scores")


def test_low_risk_is_told_of_malignant_and_of_benign_lesions(root, metrics):
    metrics["test"]["decisions"] |= made_counts(3000, 400, low=(1500, 7, 2))
    write(root / METRICS, metrics)
    assert main(root) == 0
    written = " ".join(between_marks(root, RESULTS, "scores by class").split())
    assert (
        "The page says 'low risk' for 7 of the 400 malignant or pre-malignant test lesions and for "
        "1,493 of the 2,600 benign ones"
    ) in written


@pytest.mark.parametrize(
    ("wrong", "said"),
    [(12, "0 and 30, 0 and 12 of them"), (0, "0 and 30, none of them")],
)
def test_what_the_statements_mean_for_unseen_sources_is_told_in_sentences(
    wrong, said, root, metrics
):
    decisions = metrics["test"]["decisions"]
    decisions |= made_counts(3000, 400, low=(1500, 1, 1), unfamiliar=(150, 9, 4))
    decisions["conformal"]["coverage"] = 0.92
    never = made_clinic() | made_counts(100, 40, low=(0, 0, 0), unfamiliar=(20, 9, 4))
    metrics["other_clinics"] = {
        "clinics": {"a": never, "b": made_clinic() | made_counts(80, 20, low=(30, wrong, 0))}
    }
    write(root / METRICS, metrics)
    assert main(root) == 0
    written = " ".join(between_marks(root, RESULTS, "scores elsewhere").split())
    assert "1,500 of the 3,000 test lesions are called 'low risk', 1 of them malignant." in written
    assert f"For unseen sources, the numbers are {said} malignant." in written
    assert "For 92 in 100 test lesions, the true class is one of those that cannot be" in written
    assert "For unseen sources, this holds for 70 and 88 in 100." in written
    assert "5 in 100 test lesions are unfamiliar." in written
    assert "For unseen sources, 20 and 10 in 100 are." in written


def test_the_scores_on_dermamnist_are_those_of_its_run(root, metrics):
    write(root / DERMAMNIST, leaking(metrics))
    assert main(root) == 0
    written = between_marks(root, *MARKS[-1])
    assert "leaks: 1,234 of its 3,456 test images" in written
    assert "| this recipe, eight views | 0.123 (0.111–0.144) | 0.400 (0.111–0.144) |" in written
    assert "| this recipe, one view | 0.500 (0.111–0.144) | 0.600 (0.111–0.144) |" in written


def test_a_run_on_dermamnist_without_teachers_is_called_so(root, metrics):
    metrics["recipe"]["teachers"] = 0
    write(root / DERMAMNIST, leaking(metrics))
    assert main(root) == 0
    written = between_marks(root, *MARKS[-1])
    assert "| this recipe without teachers, eight views | 0.123 (0.111–0.144) |" in written
    # Everything else stays as committed.
    figure = re.compile(r"\d[\d.,]*")
    assert figure.sub("#", written) == figure.sub("#", between_marks(ROOT, *MARKS[-1]))


def test_a_run_on_dermamnist_needs_no_more_than_what_the_page_tells(root, metrics):
    del metrics["test"]["decisions"], metrics["test"]["subgroups"], metrics["other_clinics"]
    write(root / DERMAMNIST, leaking(metrics))
    assert main(root) == 0
    assert "leaks: 1,234 of its 3,456 test images" in between_marks(root, *MARKS[-1])


def test_the_run_on_dermamnist_is_where_the_training_writes_it():
    output = parse_arguments(["--split", "dermamnist_official_split.csv"]).output
    assert output.with_name("metrics.json") == ROOT / DERMAMNIST


# --- What cannot be written ------------------------------------------------------------------


def refusal(root, capsys):
    """Return the one line that says why no page was written."""
    before = pages_of(root)
    assert main(root) == 2
    assert pages_of(root) == before
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    return printed


@pytest.mark.parametrize(
    "change",
    [
        {"test_images_sharing_lesions": None},
        {"recipe": KNOWN["recipe"] | {"epochs": 1}},
        {"recipe": None},
        {"images": {}},
        {"test": None},
        {"test": KNOWN["test"] | {"one_view": {"accuracy": 0.764}}},
    ],
    ids=["older", "of another recipe", "of none", "without images", "unscored", "of one view"],
)
def test_a_run_on_dermamnist_that_the_page_cannot_tell_of(change, root, metrics, capsys):
    write(root / DERMAMNIST, leaking(metrics) | change)
    assert f"{root / DERMAMNIST} has an older form or another recipe" in refusal(root, capsys)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "is missing"),
        ("{", "is not JSON"),
        ("[]", "lacks facts that the card needs"),
        ('{"data": "HAM10000", "test": {"accuracy": 0.764}}', "lacks facts that the card needs"),
    ],
)
def test_metrics_that_are_missing_or_old(text, reason, root, capsys):
    source = root / METRICS
    source.unlink()
    if text is not None:
        source.write_text(text, encoding="utf-8")
    printed = refusal(root, capsys)
    assert f"{source} {reason}" in printed
    assert "python train.py" in printed


@pytest.mark.parametrize(("page", "name"), MARKS)
def test_a_page_without_its_marks(page, name, root, metrics, capsys):
    write(root / METRICS, metrics | {"seed": 4321})
    write(root / DERMAMNIST, leaking(metrics))
    text = (root / page).read_text(encoding="utf-8")
    (root / page).write_text(text.replace(f"<!-- end of {name} -->", ""), encoding="utf-8")
    marks = f"<!-- {name} --> and <!-- end of {name} -->"
    assert f"{root / page} lacks the marks {marks}" in refusal(root, capsys)


# --- Marks -----------------------------------------------------------------------------------


def test_only_what_stands_between_the_marks_is_replaced(tmp_path):
    page = tmp_path / "benchmarks.md"
    page.write_text("before\n<!-- bulk -->old<!-- end of bulk -->\nafter", encoding="utf-8")
    for text in (r"| \1 |", "| new |\n"):
        publish(page, {"bulk": text})
    whole = "before\n<!-- bulk -->\n| new |\n<!-- end of bulk -->\nafter"
    assert page.read_text(encoding="utf-8") == whole
    with pytest.raises(MissingMarks):
        publish(page, {"bulk": "newer", "serving": "new"})
    assert filled(page, {}) == whole
