"""Leaving out a clinic: which images are used for what, the scores, and where they are written."""

import itertools
import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest

from lesion_lens import ROOT
from lesion_lens.model.decisions import LEVELS, decide
from lesion_lens.model.facts import STATEMENTS
from lesion_lens.model.files import check_model_file, load_model, read_attributes
from lesion_lens.training import clinics as leaving_out
from lesion_lens.training import fitting
from lesion_lens.training.checkpoint import Checkpoint
from lesion_lens.training.clinics import (
    clinics_of,
    divide,
    file_name,
    leave_out_clinics,
    obstacle,
    score_clinic,
)
from lesion_lens.training.data import SOURCES_NAME, read_dataset
from lesion_lens.training.errors import TrainingError
from lesion_lens.training.evaluation import SMALLEST_GROUP
from lesion_lens.training.pipeline import add_facts, identity_of, train_model
from lesion_lens.training.recipe import Recipe
from lesion_lens.training.split import PARTS, split_by_lesion
from lesion_lens.training.statements import count_statements
from scripts import leave_one_clinic_out
from skin_cancer_detection import CODES, build_model
from tests.support.cards import made_clinic
from tests.support.data import made_images, write_csv
from tests.support.models import FACTS, shares_of

MADE = made_images(lesions_per_class=24, images_per_lesion=1)
SPLIT = split_by_lesion(MADE.lesion_ids, MADE.labels)


def clinics_in_turn():
    """Assign the images of each class in each part alternately to the clinics a and b."""
    clinics = np.empty(len(MADE.labels), "<U1")
    for part, label in itertools.product(PARTS, range(len(CODES))):
        rows = np.flatnonzero((part == SPLIT) & (label == MADE.labels))
        clinics[rows] = ["ab"[turn % 2] for turn in range(len(rows))]
    return clinics


DATA = MADE.with_clinics(clinics_in_turn())


# --- Which images serve what -----------------------------------------------------------------


def test_a_left_out_clinic_is_neither_trained_nor_calibrated_on_and_the_test_part_is_unused():
    divided = divide(DATA, SPLIT, "b")
    is_b, is_test = DATA.groups["clinic"] == "b", SPLIT == "test"
    assert set(divided[is_b & ~is_test].tolist()) == {"left out"}
    assert set(divided[is_test].tolist()) == {"unused"}
    assert np.array_equal(divided[~is_b & ~is_test], SPLIT[~is_b & ~is_test])


def test_another_clinics_image_of_a_lesion_of_the_left_out_one_is_unused():
    rows = np.flatnonzero((SPLIT == "training") & (MADE.labels == 0))[:2]  # one of a, one of b
    lesion_ids = MADE.lesion_ids.copy()
    lesion_ids[rows] = "shared"
    divided = divide(replace(DATA, lesion_ids=lesion_ids), SPLIT, "b")
    assert sorted(divided[rows].tolist()) == ["left out", "unused"]


def test_clinics_are_named_and_unknown_ones_are_left_out():
    clinics = np.array(["b", "unknown", "a"] * (len(DATA.labels) // 3))
    assert clinics_of(MADE.with_clinics(clinics)) == ["a", "b"]


@pytest.mark.parametrize("data", [MADE, MADE.with_clinics(np.full(len(MADE.labels), "a"))])
def test_a_data_set_of_no_or_one_clinic_is_refused(data):
    with pytest.raises(TrainingError, match="has fewer than two known clinics: pass a CSV"):
        clinics_of(data)


def test_a_clinic_that_alone_has_a_class_cannot_be_left_out():
    data = MADE.with_clinics(np.where((MADE.labels == 3) | (MADE.labels == 5), "a", "b"))
    said = obstacle(data, divide(data, SPLIT, "a"))
    assert said == "Without it the training part has no images of df."


def test_a_clinic_of_few_images_outside_the_test_part_is_not_left_out():
    rows = np.flatnonzero(SPLIT != "test")[: SMALLEST_GROUP - 1]
    clinics = np.where(SPLIT == "test", "a", "b")
    clinics[rows] = "a"
    data = MADE.with_clinics(clinics)
    assert obstacle(data, divide(data, SPLIT, "a")).endswith("part: 19. Scoring it needs 20.")


def test_images_of_an_unknown_clinic_are_used_for_nothing():
    clinics = DATA.groups["clinic"].astype("<U9")
    clinics[::7] = "unknown"
    divided = divide(MADE.with_clinics(clinics), SPLIT, "a")
    assert set(divided[::7].tolist()) == {"unused"}


def test_where_no_clinic_can_be_left_out_nothing_is_trained(tmp_path, capsys):
    data = MADE.with_clinics(np.where(MADE.labels < 2, "a", "b"))
    with pytest.raises(TrainingError, match="No clinic can be left out"):
        leave_out_clinics(data, SPLIT, Recipe(), 1, tmp_path / "runs")
    said = capsys.readouterr().out
    assert "a is not left out. Without it the training part has no images of akiec." in said
    assert not (tmp_path / "runs").exists()


def test_the_files_of_a_clinic_have_names_that_every_system_takes():
    names = ["../a", "a/b", "a:b", "..", "A", "a", "CON", "Praxis Dr. Wörner", "ü" * 60]
    files = [file_name(name) for name in names]
    assert all(re.fullmatch(r"[a-z0-9_-]{9,49}", name) for name in files)
    assert len(set(files)) == len(names)


# --- How a clinic is scored ------------------------------------------------------------------


def test_a_statement_is_counted_with_its_malignant_lesions():
    said = [
        decide(np.array(shares_of(**shares)), FACTS, familiarity, proven=True)
        for shares, familiarity in (
            ({"nv": 0.98}, "familiar"),
            ({"nv": 0.93, "mel": 0.07}, "unfamiliar"),
            ({"bcc": 0.9, "nv": 0.1}, "unfamiliar"),
            ({"mel": 0.9, "nv": 0.1}, "not dermatoscopic"),
        )
    ]
    labels = np.array([CODES.index(code) for code in ("mel", "nv", "bcc", "mel")])
    familiarities = ["familiar", "unfamiliar", "unfamiliar", "not dermatoscopic"]
    counts = count_statements(said, labels, familiarities, [True, False, None, True], FACTS)
    assert {name: tuple(row.values()) for name, row in counts.items()} == {
        "high": (1, 1, 0),  # the third
        "raised": (1, 0, 0),  # the second
        "low": (1, 1, 1),  # the first
        "unknown": (1, 1, 1),  # the last
        "familiar": (1, 1, 1),
        "unfamiliar": (2, 1, 0),
        "not_dermatoscopic": (1, 1, 1),
        "proven": (2, 2, 2),
        "below_threshold": (2, 1, 1),
        "flagged": (1, 0, 0),
    }
    assert set(counts) == set(STATEMENTS)
    assert list(counts["low"]) == ["lesions", "malignant", "melanomas"]


@pytest.fixture(scope="module")
def committed():
    path = ROOT / "best_model.h5"
    return load_model(path), read_attributes(path)


def test_a_clinic_is_scored_on_one_image_of_each_lesion(committed):
    lesions = np.array([f"lesion {row // 2}" for row in range(len(DATA.labels))])
    scores = score_clinic(*committed, replace(DATA, lesion_ids=lesions), replicates=20)
    assert (scores["images"], scores["lesions"]) == (168, 84)
    assert (scores["malignant"], scores["melanomas"]) == (36, 12)
    assert sum(scores["statements"][level]["lesions"] for level in LEVELS) == 84
    assert scores["classes"] == list(CODES)
    low, value, high = (scores["macro_auc"][key] for key in ("low", "value", "high"))
    assert 0 <= low <= value <= high <= 1
    assert 0 <= scores["covered"] <= 84
    assert json.loads(json.dumps(scores)) == scores


def test_of_one_class_alone_there_is_no_auc(committed):
    scores = score_clinic(*committed, DATA.only(DATA.labels == 4), replicates=20)
    assert (scores["macro_auc"], scores["malignant_auc"], scores["classes"]) == (None, None, [])


def test_low_is_hardly_more_often_wrong_at_a_clinic_left_out_than_at_home():
    """At most twice as often. If no lesion is called low risk, none is wrong."""
    metrics = json.loads((ROOT / "metrics.json").read_text(encoding="utf-8"))
    if "other_clinics" not in metrics:
        pytest.skip("needs a metrics.json with the clinics that were left out")

    def wrong(scores):
        low = scores["statements"]["low"]
        return low["malignant"] / max(low["lesions"], 1)

    at_home = wrong(metrics["test"]["decisions"])
    away = {name: wrong(scores) for name, scores in metrics["other_clinics"]["clinics"].items()}
    assert {name: share for name, share in away.items() if share > 2 * at_home} == {}


# --- What the networks are given ------------------------------------------------------------


@pytest.fixture
def unfitted(monkeypatch):
    """Skip the fitting, which takes seconds; record what it was asked for."""
    calls = []

    def fresh(fits, recipe, workers):
        calls.append((fits, recipe))
        return [build_model() for _ in fits], [[] for _ in fits]

    monkeypatch.setattr(leaving_out, "fit_side_by_side", fresh)
    return calls


def test_each_network_learns_and_is_calibrated_without_its_clinic(unfitted, tmp_path, monkeypatch):
    calibrated = []
    calibrate = leaving_out.calibrate

    def spy(model, calibration_part, training_part):
        calibrated.append({"calibration": calibration_part, "training": training_part})
        return calibrate(model, calibration_part, training_part)

    monkeypatch.setattr(leaving_out, "calibrate", spy)
    scores = leave_out_clinics(DATA, SPLIT, Recipe(epochs=1), 3, tmp_path / "runs")
    ((fits, _),) = unfitted
    assert [fit.name for fit in fits] == ["without a", "without b"]
    for clinic, fit, parts in zip("ab", fits, calibrated, strict=True):
        others = DATA.groups["clinic"] != clinic
        assert np.array_equal(fit.pixels, DATA.pixels[(SPLIT == "training") & others])
        assert (fit.seed, fit.held_out.any()) == (3, False)
        for part, rows in parts.items():
            assert np.array_equal(rows.pixels, DATA.pixels[(part == SPLIT) & others])
        facts = check_model_file(tmp_path / "runs" / f"{file_name(clinic)}.h5")
        assert (facts["images"]["training"], facts["left_out"]) == (len(fit.pixels), clinic)
        assert scores["clinics"][clinic]["images"] == ((SPLIT != "test") & ~others).sum()


def test_a_checkpoint_of_another_recipe_is_refused(tmp_path):
    identity = identity_of(DATA, divide(DATA, SPLIT, "a"), Recipe(epochs=2), 1)
    Checkpoint(tmp_path / f"{file_name('a')}.npz", identity).save([], [])
    with pytest.raises(
        TrainingError, match=r"\.npz was made with a different recipe \(epochs 2, not 3"
    ):
        leave_out_clinics(DATA, SPLIT, Recipe(epochs=3), 1, tmp_path)


# --- Where the figures go --------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    """A folder with copies of the committed model file and metrics.json."""
    for name in ("best_model.h5", "metrics.json"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def test_facts_are_added_to_the_model_file_and_to_the_metrics(folder):
    before = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    weights = load_model(folder / "best_model.h5").get_weights()
    add_facts(folder / "best_model.h5", {"other_clinics": {"seed": 2}})
    written = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    assert written == before | {"other_clinics": {"seed": 2}}
    assert check_model_file(folder / "best_model.h5") == written
    after = load_model(folder / "best_model.h5").get_weights()
    assert all(map(np.array_equal, weights, after))


@pytest.mark.parametrize("text", ["{", "null", "[1]", "{}"])
def test_metrics_that_are_spoiled_or_of_another_model_are_refused(folder, text):
    (folder / "metrics.json").write_text(text)
    before = (folder / "best_model.h5").read_bytes()
    with pytest.raises(TrainingError, match=r"metrics\.json is damaged or not of best_model\.h5"):
        add_facts(folder / "best_model.h5", {"other_clinics": {}})
    assert (folder / "best_model.h5").read_bytes() == before


def test_a_model_file_alone_gets_a_metrics_json(folder):
    (folder / "metrics.json").unlink()
    add_facts(folder / "best_model.h5", {"other_clinics": {"seed": 2}})
    written = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    assert written == check_model_file(folder / "best_model.h5")


# --- The command -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The arguments for a model of two epochs, its data and the file of its sources."""
    folder = tmp_path_factory.mktemp("trained")
    csv_path, metadata_path = write_csv(DATA, folder)
    ids = [line.split(",")[1] for line in metadata_path.read_text().splitlines()[1:]]
    rows = [f"{row},{name}" for row, name in zip(ids, DATA.groups["clinic"], strict=True)]
    (folder / SOURCES_NAME).write_text("\n".join(["image_id,dataset", *rows]) + "\n")
    model = folder / "model.h5"
    recipe = Recipe(teachers=0, epochs=2)
    train_model(read_dataset(csv_path, metadata_path), SPLIT, model, recipe, seed=3)
    return folder, ["--csv", str(csv_path), "--model", str(model)]


def finished(fits, recipe, _):
    """Take up the networks of finished checkpoints, in this process, which has TensorFlow."""
    loaded = [
        fitting.fit(
            *(one.pixels, one.labels, recipe, one.seed),
            checkpoint=one.checkpoint,
            report=lambda _: pytest.fail("It was fitted again."),
        )
        for one in fits
    ]
    return [list(results) for results in zip(*loaded, strict=True)]


def command(trained, *arguments):
    folder, others = trained
    return leave_one_clinic_out.main([*others, "--runs", str(folder / "runs"), *arguments])


def test_the_command_takes_the_models_recipe_and_writes_into_it(trained, capfd, monkeypatch):
    folder, _ = trained
    monkeypatch.setattr("os.cpu_count", lambda: 1)  # one process for both networks
    assert command(trained) == 0
    said = capfd.readouterr().out
    assert "without a  epoch   2/2" in said
    assert "| score | `a` | `b` |" in said
    assert "Share of lesions with each statement that are malignant:" in said
    written = check_model_file(folder / "model.h5")["other_clinics"]
    assert (written["seed"], written["recipe"]["epochs"]) == (3, 2)
    assert list(written["clinics"]) == ["a", "b"]
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["other_clinics"] == written
    monkeypatch.setattr(leaving_out, "fit_side_by_side", finished)
    assert command(trained) == 0  # with the existing networks
    assert check_model_file(folder / "model.h5")["other_clinics"] == written


@pytest.fixture
def untrainable(monkeypatch):
    monkeypatch.setattr(leave_one_clinic_out, "leave_out_clinics", lambda *_: pytest.fail("It ran"))


@pytest.mark.usefixtures("untrainable")
def test_what_would_stop_it_later_is_found_before_any_training(folder, tmp_path, capsys):
    csv_path, _ = write_csv(MADE, tmp_path)
    arguments = ["--csv", str(csv_path), "--model", str(folder / "best_model.h5")]
    assert leave_one_clinic_out.main(arguments) == 2
    assert "was trained on a different data set or with --split" in capsys.readouterr().err
    (folder / "metrics.json").write_text("{")
    assert leave_one_clinic_out.main(arguments) == 2
    assert "metrics.json is damaged" in capsys.readouterr().err


@pytest.mark.usefixtures("untrainable")
@pytest.mark.parametrize("change", [{"recipe": None}, {"recipe": {"new": 1}}, {"seed": "one"}])
def test_a_model_file_without_a_recipe_is_refused(folder, capsys, change):
    (folder / "metrics.json").unlink()
    add_facts(folder / "best_model.h5", change)
    assert leave_one_clinic_out.main(["--model", str(folder / "best_model.h5")]) == 2
    assert "does not say with which recipe and seed it was made" in capsys.readouterr().err


def test_an_older_models_report_has_the_sources_alone(metrics_of_before):
    clinics = {"a": made_clinic()}
    assert leave_one_clinic_out.report(metrics_of_before, clinics).startswith("| score | `a` |")


@pytest.fixture
def metrics_of_before():
    metrics = json.loads((ROOT / "metrics.json").read_text(encoding="utf-8"))
    metrics["test"]["decisions"].pop("statements", None)
    metrics.pop("other_clinics", None)
    return metrics


def test_an_interruption_says_how_to_continue(trained, capsys, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(leave_one_clinic_out, "leave_out_clinics", interrupted)
    assert command(trained) == 130
    assert "To continue, run the same command again." in capsys.readouterr().err
