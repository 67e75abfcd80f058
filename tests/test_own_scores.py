"""Scoring the committed model on the user's own images: `train.py --evaluate --images`."""

import hashlib
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from lesion_lens import ROOT
from lesion_lens.model.files import (
    DEFAULT_MODEL_PATH,
    check_model_file,
    sha256_of,
    write_training_facts,
)
from lesion_lens.training.evaluation import evaluate
from lesion_lens.training.metrics import binary_auc
from lesion_lens.training.own_images import SOURCE
from lesion_lens.training.score_table import _groups
from skin_cancer_detection import CODES
from tests.support.data import made_images, write_csv
from train import main

DATA = made_images(lesions_per_class=6, images_per_lesion=2)
SOME = ("bkl", "nv", "mel")  # the only classes that the clinic has images of


def call(*arguments):
    return main(list(map(str, arguments)))


@pytest.fixture(scope="module")
def clinic(tmp_path_factory):
    """A folder of pictures of three classes from two devices, and their table."""
    folder = tmp_path_factory.mktemp("clinic")
    rows = ["image_id,dx,lesion_id,device"]
    for row, label in enumerate(DATA.labels):
        if CODES[label] in SOME:
            Image.fromarray(DATA.pixels[row]).save(folder / f"i{row}.png")
            device = "old" if row % 2 else "new"
            rows.append(f"i{row},{CODES[label].upper()},{DATA.lesion_ids[row]},{device}")
    labels = folder / "labels.csv"
    labels.write_text("\n".join(rows))
    return folder, labels


@pytest.fixture(scope="module")
def beside():
    """A function that returns the checksums of the files beside the model."""

    def look():
        paths = [DEFAULT_MODEL_PATH, ROOT / "metrics.json", *(ROOT / "figures").iterdir()]
        return {path: hashlib.sha256(path.read_bytes()).digest() for path in paths}

    return look


@pytest.fixture(scope="module")
def scored(clinic, beside, tmp_path_factory):
    """The command's report, and whether anything else has changed."""
    report = tmp_path_factory.mktemp("report") / "new"
    before = beside()
    arguments = ["--images", clinic[0], "--labels", clinic[1], "--group", "device"]
    assert call("--evaluate", *arguments, "--report", report) == 0
    return report, beside() == before


def test_the_youngest_group_comes_first():
    scores = dict.fromkeys(("accuracy", "melanoma_sensitivity", "malignant_auc")) | {"images": 20}
    lines = _groups("age", dict.fromkeys(("30–44", "75 and over", "under 30"), scores))
    assert [line[:18].strip() for line in lines] == ["age", "under 30", "30–44", "75 and over"]


def test_nothing_beside_the_model_is_touched(scored):
    assert scored[1]


def test_the_report_holds_scores_and_pictures(scored):
    names = sorted(path.name for path in scored[0].iterdir())
    assert names == ["confusion_matrix.png", "reliability.png", "roc_curves.png", "scores.json"]
    report = json.loads((scored[0] / "scores.json").read_text(encoding="utf-8"))
    assert report["model_sha256"] == sha256_of(DEFAULT_MODEL_PATH)
    assert report["images"] == {code: 12 if code in SOME else 0 for code in CODES}
    assert report["lesions"] == 18
    assert report["missing_classes"] == ["akiec", "bcc", "df", "vasc"]
    assert set(report["scores"]) == {"one_view", "eight_views", "decisions", "subgroups"}
    assert report["scores"]["decisions"]["statements"].keys() >= {"high", "low", "unfamiliar"}


def test_the_console_names_the_missing_classes_and_the_groups(clinic, capsys):
    arguments = ["--images", clinic[0], "--labels", clinic[1], "--group", "device"]
    assert call("--evaluate", *arguments) == 0
    said = capsys.readouterr().out
    assert "on 36 images of 18 lesions: bkl 12, nv 12, mel 12" in said
    assert "No image of akiec, bcc, df, vasc: balanced accuracy and macro AUC cover" in said
    assert "your images" in said
    assert "device: no group is large enough" in said
    assert "WARNING" not in said.replace("WARNING: All log messages", "")


def test_missing_classes_have_no_part_in_macro_figures():
    rng = np.random.default_rng(0)
    labels = np.repeat([2, 4], 20)
    probabilities = rng.dirichlet(np.ones(7), 40)
    scores = evaluate(labels, probabilities, None, np.ones(len(CODES)) / len(CODES), replicates=10)
    hits = [(probabilities.argmax(1) == k)[labels == k].mean() for k in (2, 4)]
    assert scores["balanced_accuracy"]["value"] == pytest.approx(np.mean(hits))
    aucs = [binary_auc(labels == k, probabilities[:, k]) for k in (2, 4)]
    assert scores["macro_auc"]["value"] == pytest.approx(np.mean(aucs))
    assert scores["per_class"]["df"]["auc"]["value"] is None


@pytest.mark.filterwarnings("error:No artists with labels")
def test_one_image_alone_is_scored(clinic, tmp_path, capsys):
    (tmp_path / "l.csv").write_text("image_id,dx\ni24,bkl\n")
    arguments = ["--images", clinic[0], "--labels", tmp_path / "l.csv", "--report", tmp_path / "r"]
    assert call("--evaluate", *arguments) == 0
    assert "on 1 images: bkl 1" in capsys.readouterr().out


def test_a_model_of_ones_own_may_know_some_of_the_images(clinic, tmp_path, capsys):
    path = tmp_path / "m.h5"
    shutil.copy(DEFAULT_MODEL_PATH, path)
    write_training_facts(path, check_model_file(path) | {"data": SOURCE})
    arguments = ["--images", clinic[0], "--labels", clinic[1], "--output", path]
    assert call("--evaluate", *arguments) == 0
    said = capsys.readouterr().out
    count = check_model_file(path)["images"]["training"]
    before, _, after = said.partition(f"WARNING: {path} was trained on {count:,} images, and the")
    assert "your images" in after
    assert "your images" not in before


def test_a_csv_of_ones_own_is_scored(tmp_path, capsys, beside):
    data = made_images(lesions_per_class=1, images_per_lesion=2)
    before = beside()
    assert call("--evaluate", "--csv", write_csv(data, tmp_path)[0]) == 0
    assert "on 14 images of 7 lesions" in capsys.readouterr().out
    assert beside() == before


def test_images_that_it_has_learned_from_are_told(clinic, tmp_path, capsys):
    for number in (24306, 34321):  # the first of HAM10000, and the one after its last
        shutil.copy(clinic[0] / "i24.png", tmp_path / f"ISIC_00{number}.png")
    (tmp_path / "l.csv").write_text("image_id,dx\nISIC_0024306,bkl\nISIC_0034321,bkl\n")
    assert call("--evaluate", "--images", tmp_path, "--labels", tmp_path / "l.csv") == 0
    assert (
        "Expect these scores to be inflated: 1 of these images have names from HAM10000"
        in capsys.readouterr().out
    )


@pytest.mark.parametrize("below", ["", "new"], ids=["a file", "in a file"])
def test_a_report_that_cannot_be_written_is_refused_before_scoring(clinic, capsys, below):
    report = clinic[1] / below
    arguments = ["--images", clinic[0], "--labels", clinic[1], "--report", report]
    assert call("--evaluate", *arguments) == 2
    said = capsys.readouterr()
    assert f"{report} cannot be written" in said.err
    assert said.err.endswith("): name another folder.\n")
    assert "your images" not in said.out


def test_scores_are_printed_before_a_report_that_fails(clinic, capsys, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lesion_lens.training.own_scores.draw_scores", full)
    arguments = ["--images", clinic[0], "--labels", clinic[1], "--report", tmp_path]
    assert call("--evaluate", *arguments) == 2
    said = capsys.readouterr()
    assert "your images" in said.out
    assert "(No space left on device): free some space, then run the same" in said.err
