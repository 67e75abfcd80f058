"""Training with the real code, on made pictures."""

import contextlib
import functools
import http.server
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading

import numpy as np
import PIL.Image
import pytest

import skin_cancer_detection as scd
from lesion_lens import ROOT
from lesion_lens.model.decisions import LEVELS
from lesion_lens.model.errors import ModelFileError
from lesion_lens.model.familiarity import PictureRules
from lesion_lens.model.files import (
    check_model_file,
    load_model,
    read_attributes,
    save_model,
    write_training_facts,
)
from lesion_lens.training import pipeline
from lesion_lens.training.calibration import one_image_per_lesion
from lesion_lens.training.checkpoint import Checkpoint
from lesion_lens.training.data import read_dataset
from lesion_lens.training.download import download, find_data
from lesion_lens.training.errors import TrainingError
from lesion_lens.training.evaluation import probabilities_of, score_file
from lesion_lens.training.fitting import fold_scale
from lesion_lens.training.metrics import confusion_matrix
from lesion_lens.training.pipeline import evaluate_again, identity_of, train_model
from lesion_lens.training.recipe import QUICK, SEED, Recipe
from lesion_lens.training.score_table import picture_warning, score_table
from lesion_lens.training.split import PARTS, split_by_lesion
from tests.support.cards import made_clinic
from tests.support.data import made_images, write_csv
from tests.support.models import FACTS, LIKE, attributes_of, made_counts
from tests.support.skipping import require
from train import main, parse_arguments, recipe_of

DATA = made_images(lesions_per_class=10, images_per_lesion=2)
EPOCHS = 40  # by the 30th, the network can tell the made pictures apart


def run(*arguments, **environment):
    """Run `python train.py` in a separate process, as a user does."""
    return subprocess.run(
        [sys.executable, "train.py", *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_csv(DATA, tmp_path_factory.mktemp("data"))


def call(*arguments):
    """Run the command in this process, which has loaded TensorFlow; return its exit code."""
    return main(list(map(str, arguments)))


@pytest.fixture(scope="module")
def command(files, tmp_path_factory):
    """A short training with a teacher, beside an old model: the folder and the arguments."""
    output = tmp_path_factory.mktemp("run") / "best_model.h5"
    output.write_bytes(b"the old model")
    arguments = ["--csv", files[0], "--output", output, "--epochs", EPOCHS, "--teachers", 1]
    return output.parent, list(map(str, arguments))


@pytest.fixture(scope="module")
def interrupted(command):
    """Exit code, errors and files after Ctrl-C; None on Windows, which has no SIGINT."""
    if sys.platform == "win32":
        return None
    folder, arguments = command
    # Tests in the background may ignore SIGINT, and the command would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(
        [sys.executable, "train.py", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        while "teacher 1  epoch  10" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=120)
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    return process.returncode, errors, files


@contextlib.contextmanager
def printed_to(path):
    """Write the output of this process and of its children to a file."""
    before = os.dup(1)
    with path.open("w", encoding="utf-8", buffering=1) as file:
        os.dup2(file.fileno(), 1)
        try:
            with contextlib.redirect_stdout(file):
                yield
        finally:
            os.dup2(before, 1)
            os.close(before)


@pytest.fixture(scope="module")
def finished(command, interrupted, tmp_path_factory):
    """The output of the same command when it resumes and finishes, in this process."""
    said = tmp_path_factory.mktemp("said") / "said.txt"
    with printed_to(said):
        assert call(*command[1], *(["--resume"] if interrupted else [])) == 0
    return said.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def trained(command, finished):
    """The folder of a finished training, whose teacher ran in a separate process."""
    return command[0]


@pytest.fixture
def unfitted(monkeypatch):
    """Skip the fitting, which takes seconds; the value is the shortest training's arguments."""

    def fresh(*_, **__):
        model = scd.build_model()
        fold_scale(model)
        return model, [{"loss": 1.0}]

    monkeypatch.setattr(pipeline, "fit", fresh)
    return ["--epochs", "1", "--teachers", "0"]


@pytest.fixture
def fault_of(capsys):
    """A function that runs a failing command and returns its message."""

    def fault(*arguments):
        assert call(*arguments) == 2
        return capsys.readouterr().err

    return fault


# --- What a training leaves ------------------------------------------------------------------


def metrics_of(folder):
    return json.loads((folder / "metrics.json").read_text(encoding="utf-8"))


def test_a_run_leaves_model_metrics_and_plots(trained):
    files = [path for path in trained.rglob("*") if path.is_file()]
    assert sorted(str(path.relative_to(trained)) for path in files) == [
        "best_model.h5",
        "figures/confusion_matrix.png",
        "figures/learning_curves.png",
        "figures/reliability.png",
        "figures/roc_curves.png",
        "metrics.json",
    ]


def test_a_finished_run_leaves_no_checkpoints(trained):
    assert {path.name for path in trained.iterdir() if path.is_dir()} == {"figures"}


def test_a_run_learns_what_can_be_learnt(trained):
    assert metrics_of(trained)["test"]["eight_views"]["balanced_accuracy"]["value"] > 0.9


def test_the_console_says_plan_progress_and_scores(finished):
    assert "28 images of 14 lesions" in finished  # the test part: 20 % of 140 images, of 70 lesions
    assert "1 of 2: 1 teacher, trained without" in finished
    assert re.search(rf"student    epoch  {EPOCHS}/{EPOCHS}  loss \d\.\d+  0\.0 min left", finished)
    assert "balanced accuracy" in finished
    assert re.search(r"lesions have the level, .*\n +test part\nhigh  +\d+\.\d \(", finished)
    assert re.search(r"Wrote .*best_model\.h5, and metrics.json .*, in \d+\.\d min\.", finished)
    assert "WARNING: it" not in finished


def test_the_saved_model_takes_raw_pixels_and_gives_the_written_scores(trained):
    facts = check_model_file(trained / "best_model.h5")
    assert facts == metrics_of(trained)
    test = split_by_lesion(DATA.lesion_ids, DATA.labels) == "test"
    model = load_model(trained / "best_model.h5")
    predicted = probabilities_of(model, DATA.pixels[test]).argmax(axis=1)
    matrix = confusion_matrix(DATA.labels[test], predicted, len(scd.CODES))
    assert matrix.tolist() == facts["test"]["one_view"]["confusion_matrix"]


def test_the_saved_probabilities_have_the_calibration_parts_class_shares(trained):
    rows = split_by_lesion(DATA.lesion_ids, DATA.labels) == "calibration"
    model = load_model(trained / "best_model.h5")
    means = probabilities_of(model, DATA.pixels[rows]).mean(axis=0)
    shares = np.bincount(DATA.labels[rows], minlength=7) / rows.sum()
    assert np.allclose(means, shares, atol=1e-4)


def test_the_facts_name_data_split_seed_recipe_and_versions(trained):
    facts = check_model_file(trained / "best_model.h5")
    assert facts["data_sha256"] == DATA.sha256
    assert len(facts["split_sha256"]) == 64
    assert facts["rows_may_share_lesions"] is False
    assert facts["test_images_sharing_lesions"] == 0
    assert facts["seed"] == SEED
    assert facts["recipe"]["epochs"] == EPOCHS
    assert set(facts["versions"]) == {"python", "keras", "numpy", "pillow", "tensorflow"}
    assert facts["lesions"] == {"training": 42, "calibration": 14, "test": 14}


def test_the_saved_model_has_its_rules_for_pictures(trained):
    rules = PictureRules.from_attributes(read_attributes(trained / "best_model.h5"))
    noise = np.random.default_rng(0).integers(0, 256, (20, 28, 28, 3)).astype(np.uint8)
    assert rules.familiarities(noise) == ["not dermatoscopic"] * 20
    assert "not dermatoscopic" not in rules.familiarities(DATA.pixels[::2])


def test_statements_are_counted_once_for_each_lesion(trained):
    decisions = metrics_of(trained)["test"]["decisions"]
    assert (decisions["lesions"], decisions["malignant"]) == (14, 6)
    levels = [decisions["statements"][level]["lesions"] for level in LEVELS]
    assert sum(levels) == 14


# --- Scoring again, and exporting ------------------------------------------------------------


def test_evaluate_writes_the_same_metrics_without_training(files, trained, tmp_path, capsys):
    shutil.copy(trained / "best_model.h5", tmp_path)
    assert call("--evaluate", "--csv", files[0], "--output", tmp_path / "best_model.h5") == 0
    assert "epoch" not in capsys.readouterr().out
    assert metrics_of(tmp_path) == metrics_of(trained)
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == [
        "confusion_matrix.png",
        "reliability.png",
        "roc_curves.png",
    ]


def test_evaluate_scores_the_sources_that_are_named(files, trained, tmp_path):
    shutil.copy(trained / "best_model.h5", tmp_path)
    sources = tmp_path / "sources.csv"
    rows = [f"ISIC_{row:07},rosendahl" for row in range(len(DATA.labels))]
    sources.write_text("\n".join(["image_id,dataset", *rows]) + "\n")
    arguments = ["--csv", files[0], "--sources", sources, "--output", tmp_path / "best_model.h5"]
    assert call("--evaluate", *arguments) == 0
    groups = metrics_of(tmp_path)["test"]["subgroups"]["clinic"]
    assert {name: scores["images"] for name, scores in groups.items()} == {"rosendahl": 28}


def test_evaluate_says_that_the_scores_by_source_are_gone(files, trained, tmp_path, capsys):
    shutil.copy(trained / "best_model.h5", tmp_path)
    model = tmp_path / "best_model.h5"
    facts = check_model_file(model)
    estimate = facts["test"]["eight_views"]["accuracy"]
    group = {"images": 28, "melanoma_sensitivity": None, "malignant_auc": None}
    for before, is_said in (({"clinic": {"a": group | {"accuracy": estimate}}}, True), (5, False)):
        facts["test"]["subgroups"] = before
        write_training_facts(model, facts)
        assert call("--evaluate", "--csv", files[0], "--output", model) == 0
        said = "WARNING: the sources of these images are not known" in capsys.readouterr().out
        assert said == is_said


def test_evaluate_says_that_other_rows_of_the_same_lesions_differ(trained, tmp_path, capsys):
    shutil.copy(trained / "best_model.h5", tmp_path)
    data = made_images(lesions_per_class=10, images_per_lesion=2, seed=1)
    parts = split_by_lesion(data.lesion_ids, data.labels)
    metrics = evaluate_again(tmp_path / "best_model.h5", data, parts)
    assert metrics["test"]["data_sha256"] == data.sha256 != metrics["data_sha256"]
    assert "was trained on rows that differ from these" in capsys.readouterr().out


def test_evaluate_of_a_missing_file_leaves_no_folder(tmp_path):
    parts = split_by_lesion(DATA.lesion_ids, DATA.labels)
    with pytest.raises(ModelFileError, match="is missing"):
        evaluate_again(tmp_path / "none" / "m.h5", DATA, parts)


def test_evaluate_refuses_another_split(trained):
    parts = split_by_lesion(DATA.lesion_ids, DATA.labels)[::-1]
    with pytest.raises(TrainingError, match="a different data set or split"):
        score_file(trained / "best_model.h5", DATA, parts)


def test_a_file_without_decision_facts_is_not_evaluated(trained, tmp_path):
    facts = check_model_file(trained / "best_model.h5")
    save_model(scd.build_model(), tmp_path / "m.h5", facts)
    parts = split_by_lesion(DATA.lesion_ids, DATA.labels)
    with pytest.raises(TrainingError, match=r"m\.h5 lacks the facts that its statements need"):
        score_file(tmp_path / "m.h5", DATA, parts)


def test_a_file_without_rules_for_pictures_is_not_evaluated(trained, tmp_path):
    facts = check_model_file(trained / "best_model.h5")
    save_model(scd.build_model(), tmp_path / "m.h5", facts, attributes_of(FACTS, LIKE))
    parts = split_by_lesion(DATA.lesion_ids, DATA.labels)
    with pytest.raises(TrainingError, match=r"m\.h5 lacks the facts .*`python train\.py`"):
        score_file(tmp_path / "m.h5", DATA, parts)


def test_export_writes_the_model_for_litert_without_training(trained, tmp_path, capsys):
    source, path = trained / "best_model.h5", tmp_path / "m.tflite"
    assert call("--export", path, "--output", source) == 0
    output = capsys.readouterr().out
    assert output.count("\n") == 1
    assert f"Wrote {path}. Its probabilities differ from those of {source} by at most " in output
    assert check_model_file(path) == check_model_file(source)


def test_an_export_of_no_model_says_so(tmp_path, fault_of):
    fault = fault_of("--export", tmp_path / "m.tflite", "--output", tmp_path / "none.h5")
    assert (
        f"none.h5 is missing: name another file, or run `python train.py --output {tmp_path}"
        in fault
    )
    assert not list(tmp_path.iterdir())


def test_the_table_of_levels_stands_for_the_test_part_and_each_clinic_left_out():
    metrics = metrics_of(ROOT)
    metrics["test"]["decisions"] |= made_counts(1000, 157, high=(200, 141, 0))
    metrics["other_clinics"] = {"clinics": {"here": made_clinic()}}  # 30 of 80 lesions, 12, 6 of 10
    lines = score_table(metrics).splitlines()
    assert lines.count("                  test part               without here") == 3
    assert [line for line in lines if line.startswith("high ")] == [
        "high              20.0 (17.6–22.6)        37.5 (26.9–49.0)",
        "high              70.5 (63.7–76.7)        40.0 (22.7–59.4)",
        "high              0.0 (0.0–4.6)           60.0 (26.2–87.8)",
    ]


# --- Other data, and another split -----------------------------------------------------------


def test_without_metadata_it_trains_and_says_that_the_scores_are_inflated(
    files, tmp_path, capsys, unfitted
):
    alone = tmp_path / files[0].name
    alone.write_bytes(files[0].read_bytes())
    assert call("--csv", alone, "--output", tmp_path / "m.h5", *unfitted) == 0
    assert "WARNING: lesion ids are missing" in capsys.readouterr().out
    facts = check_model_file(tmp_path / "m.h5")
    assert facts["rows_may_share_lesions"] is True
    assert facts["test_images_sharing_lesions"] is None


def test_a_split_of_ones_own_and_the_lesions_that_it_leaks(files, tmp_path, capsys, unfitted):
    words = np.array(["train", "val", "test", "train"])[np.arange(len(DATA.labels)) % 4]
    rows = [f"ISIC_{row:07},{word}" for row, word in enumerate(words)]
    split, output = tmp_path / "split.csv", tmp_path / "m.h5"
    split.write_text("\n".join(["image_id,split", *rows]))
    assert call("--csv", files[0], "--split", split, "--output", output, *unfitted) == 0
    facts = check_model_file(output)
    assert facts["images"] == {"training": 70, "calibration": 35, "test": 35}
    assert facts["rows_may_share_lesions"] is True
    assert facts["test_images_sharing_lesions"] == 35
    leaked = "35 of the test images show a lesion that is also in another part"
    assert leaked in capsys.readouterr().out


def test_own_images_make_a_model_and_its_export_stale(tmp_path, capsys, unfitted):
    rows = ["image_id,dx,lesion_id"]
    for row in range(0, len(DATA.labels), 2):
        PIL.Image.fromarray(DATA.pixels[row]).resize((56, 42)).save(tmp_path / f"i{row}.png")
        rows.append(f"i{row},{scd.CODES[DATA.labels[row]]},{DATA.lesion_ids[row]}")
    labels, model, stale = (tmp_path / name for name in ("labels.csv", "m.h5", "m.tflite"))
    labels.write_text("\n".join(rows))
    stale.touch()
    (tmp_path / "HAM10000_sources.csv").write_text("image_id,dataset\nother,rosendahl\n")
    assert call("--images", tmp_path, "--labels", labels, "--output", model, *unfitted) == 0
    facts = check_model_file(model)
    assert facts["images"]["test"] == 14
    assert "clinic" not in facts["test"]["subgroups"]
    assert facts["data"] == "images of one's own"
    command = f"python train.py --output {model} --export {stale}"
    stale_line = f"{stale} still holds the previous model. To update it, run `{command}`."
    assert stale_line in capsys.readouterr().out


# --- An interruption -------------------------------------------------------------------------


sends_sigint = pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")


@pytest.mark.parametrize(("others", "said"), [(6, "6 of 100 test lesions count"), (5, None)])
def test_many_test_lesions_that_are_not_dermatoscopic_are_told(others, said):
    statements = {"not_dermatoscopic": {"lesions": others}}
    found = picture_warning({"test": {"decisions": {"lesions": 100, "statements": statements}}})
    assert (found is None) if said is None else found.startswith(said)


@sends_sigint
def test_an_interrupted_run_leaves_the_old_model_and_says_how_to_resume(command, interrupted):
    code, errors, files = interrupted
    assert code == 130
    output = command[0] / "best_model.h5"
    assert f"{output} is unchanged.\nTo continue, run the same command with --resume" in errors
    assert "Traceback" not in errors
    assert files == {"best_model.h5": b"the old model"}


def test_an_interrupted_run_without_an_old_model_says_so(files, tmp_path, monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("train.train_model", interrupt)
    assert call("--csv", files[0], "--output", tmp_path / "m.h5") == 130
    assert f"{tmp_path / 'm.h5'} was not written." in capsys.readouterr().err


@sends_sigint
def test_a_resumed_run_does_nothing_twice(finished):
    assert not re.search(r"teacher 1  epoch +(\d|10)/", finished)
    assert f"student    epoch  10/{EPOCHS}" in finished


def test_resume_refuses_another_seed(files, tmp_path, fault_of):
    folder = tmp_path / ".m-checkpoints"
    folder.mkdir()
    data = read_dataset(*files)
    identity = identity_of(data, split_by_lesion(data.lesion_ids, data.labels), Recipe(), 1)
    Checkpoint(folder / "student.npz", identity).save([], [])
    fault = fault_of("--csv", files[0], "--output", tmp_path / "m.h5", "--resume", "--seed", 2)
    assert "student.npz was made with a different seed (1, not 2)" in fault


def test_an_unfinished_training_is_not_overwritten(files, tmp_path, fault_of):
    folder = tmp_path / ".m-checkpoints"
    folder.mkdir()
    (folder / "student.npz").write_bytes(b"an hour's work")
    fault = fault_of("--csv", files[0], "--output", tmp_path / "m.h5")
    assert "holds an unfinished training: continue it with --resume, or remove it" in fault
    assert (folder / "student.npz").read_bytes() == b"an hour's work"


def test_resume_without_a_checkpoint_is_refused(files, tmp_path, fault_of):
    fault = fault_of("--csv", files[0], "--output", tmp_path / "m.h5", "--resume")
    assert "there is nothing to resume: train without --resume" in fault


# --- What cannot be done ---------------------------------------------------------------------


def test_a_bad_csv_ends_with_its_sentence_and_code_2(files, tmp_path):
    bad = tmp_path / "bad.csv"
    bad.write_text(files[0].read_text(encoding="utf-8").replace(",0\n", ",9\n", 1))
    done = run("--csv", bad)
    assert done.returncode == 2
    assert "row 1, column label: found 9" in done.stderr
    assert "Traceback" not in done.stderr


def test_no_such_csv(tmp_path, fault_of):
    assert "there is no such file" in fault_of("--csv", tmp_path / "none.csv")


def test_no_such_metadata(files, tmp_path, fault_of):
    fault = fault_of("--csv", files[0], "--metadata", tmp_path / "none.csv")
    assert "none.csv: there is no such file" in fault


def test_without_data_two_lines_say_how_to_get_it(tmp_path):
    with pytest.raises(TrainingError) as caught:
        find_data(None, None, tmp_path)
    first, second = str(caught.value).splitlines()
    assert "python train.py --download" in first
    assert "https://www.kaggle.com/datasets/kmader/skin-cancer-mnist-ham10000" in second


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--labels", "x"], "--labels needs --images"),
        (["--image", "x"], "unrecognized arguments: --image x"),
        (["--skip-missing"], "--skip-unknown and --skip-missing need --images"),
        (["--report", "x"], "--report needs --evaluate"),
        (["--images", "x.npz", "--labels", "y"], "an .npz in --images cannot"),
        (
            ["--images", "x.npz", "--output", "best_model.h5"],
            "may not be written beside best_model.h5",
        ),
        (["--images", "x", "--labels", "y", "--csv", "z"], "--images replaces"),
        (["--epochs", "0"], "at least 1"),
        (["--seed", "-1"], "from 0 to"),
        (["--seed", "2147483648"], "from 0 to 2,147,483,647"),
        (["--teachers", "-1"], "0 to 100"),
        (["--quick", "--epochs", "3"], "--quick sets"),
        (["--quick", "--teachers", "0"], "--quick sets"),
        (["--evaluate", "--resume"], "--evaluate does not train"),
        (["--evaluate", "--teachers", "0"], "--evaluate does not train"),
        (
            ["--split", "s.csv", "--output", "best_model.h5"],
            "may not be written beside best_model.h5",
        ),
        (["--output", "tests/folder.h5"], "is a folder"),
        (["--output", "model.keras"], "must end in .h5"),
        (["--download", "--csv", "x"], "cannot be combined"),
        (["--export", "model.pt"], "must end in .tflite or .onnx or .h5, but model.pt does not"),
        (["--export", "model.tflite", "--classes", "nv"], "--classes needs an --export"),
        (["--classes", "nv"], "--classes needs an --export"),
        (["--export", "model.tflite", "--quick"], "--export does not train"),
        (["--export", "model.tflite", "--csv", "x"], "--export does not train"),
    ],
)
def test_contradicting_arguments(arguments, sentence, capsys, monkeypatch):
    monkeypatch.setattr("pathlib.Path.is_dir", lambda path: path.name == "folder.h5")
    with pytest.raises(SystemExit) as caught:
        parse_arguments(arguments)
    assert caught.value.code == 2
    assert sentence in capsys.readouterr().err


def test_a_place_that_cannot_be_written_is_found_before_training(
    files, tmp_path, fault_of, monkeypatch
):
    monkeypatch.setattr(pipeline, "_fit", lambda *_: pytest.fail("It trained."))
    (tmp_path / "file").write_text("")
    fault = fault_of("--csv", files[0], "--output", tmp_path / "file" / "m.h5")
    assert str(tmp_path / "file") in fault


@pytest.mark.usefixtures("unfitted")
def test_each_part_serves_its_purpose_alone(tmp_path, monkeypatch):
    """Fitting, calibration and scoring each get only their own part of the data."""
    given = {}

    def spy(name, *places):
        function = getattr(pipeline, name)

        def spied(*arguments, **options):
            given[name] = [arguments[place] for place in places]
            return function(*arguments, **options)

        monkeypatch.setattr(pipeline, name, spied)

    monkeypatch.setattr(pipeline, "fit_teachers", lambda *_: ([], {}))
    spy("fit_teachers", 0)
    spy("fit", 0)
    spy("probabilities_of", 1)  # for the fit of the bias and the temperature
    spy("view_probabilities", 1)  # for the fit of the decision facts
    spy("fit_picture_rules", 0, 1)  # to learn from, and for the thresholds
    parts = split_by_lesion(DATA.lesion_ids, DATA.labels)
    train_model(DATA, parts, tmp_path / "m.h5", Recipe(teachers=1, epochs=1))
    training, calibration_part = (DATA.only(parts == part) for part in PARTS[:2])
    lesions = one_image_per_lesion(calibration_part.lesion_ids, calibration_part.pixels)
    assert np.array_equal(given["fit_teachers"][0].pixels, training.pixels)
    assert np.array_equal(given["fit"][0], training.pixels)
    for name in ("probabilities_of", "view_probabilities"):
        assert np.array_equal(given[name][0], calibration_part.pixels)
    learnt, fitted_to = given["fit_picture_rules"]
    assert np.array_equal(learnt.pixels, training.pixels)
    assert np.array_equal(fitted_to, calibration_part.pixels[lesions])


@pytest.mark.usefixtures("unfitted")
def test_a_failure_before_the_end_leaves_the_old_files(tmp_path, monkeypatch):
    (tmp_path / "m.h5").write_bytes(b"the old model")
    (tmp_path / "metrics.json").write_bytes(b"the old metrics")
    monkeypatch.setattr(pipeline, "draw_roc_curves", lambda *_: 1 / 0)
    parts = split_by_lesion(DATA.lesion_ids, DATA.labels)
    with pytest.raises(ZeroDivisionError):
        train_model(DATA, parts, tmp_path / "m.h5", Recipe(teachers=0, epochs=1))
    assert (tmp_path / "m.h5").read_bytes() == b"the old model"
    assert (tmp_path / "metrics.json").read_bytes() == b"the old metrics"
    assert not (tmp_path / "figures").exists()


# --- The command line ------------------------------------------------------------------------


def test_a_split_of_ones_own_writes_to_runs():
    assert parse_arguments(["--images", "d.npz"]).output == ROOT / "runs" / "d" / "model.h5"
    assert parse_arguments(["--images", "d.npz", "--evaluate"]).output == ROOT / "best_model.h5"
    output = parse_arguments(["--split", "x/dermamnist.csv"]).output
    assert output == ROOT / "runs" / "dermamnist" / "model.h5"


@pytest.mark.parametrize(
    ("arguments", "recipe"),
    [
        ([], Recipe()),
        (["--teachers", "4", "--epochs", "9"], Recipe(teachers=4, epochs=9)),
        (["--quick"], QUICK),
    ],
)
def test_the_recipe_that_is_asked_for(arguments, recipe):
    assert recipe_of(parse_arguments(arguments)) == recipe


# --- Downloading -----------------------------------------------------------------------------


def test_download_without_kaggles_client(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    with pytest.raises(TrainingError, match="pip install kagglehub"):
        download(tmp_path)


class Kaggle(http.server.BaseHTTPRequestHandler):
    """The part of Kaggle's API that the client needs for the two files, on localhost."""

    def __init__(self, *arguments, folder, asked, **options):
        self.folder, self.asked = folder, asked
        super().__init__(*arguments, **options)

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append(body.get("fileName"))
        if body.get("fileName"):
            content = (self.folder / body["fileName"]).read_bytes()
        else:
            content = json.dumps({"currentVersionNumber": 2}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


def test_download_fetches_the_two_files_and_no_more(files, tmp_path, monkeypatch):
    require("kagglehub")
    asked = []
    handler = functools.partial(Kaggle, folder=files[0].parent, asked=asked)
    # The port that Kaggle's client uses in its own test environment.
    server = http.server.ThreadingHTTPServer(("localhost", 7777), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "TEST")
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "cache"))
    try:
        download(tmp_path / "data")
    finally:
        server.shutdown()
        server.server_close()
    for path in files:
        assert (tmp_path / "data" / path.name).read_bytes() == path.read_bytes()
    assert [name for name in asked if name] == [path.name for path in files]
    assert sorted(os.listdir(tmp_path / "data")) == sorted(path.name for path in files)


def test_a_download_that_fails_is_said_and_leaves_nothing(tmp_path, monkeypatch):
    require("kagglehub")
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "TEST")  # nothing listens there
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(TrainingError, match="Fetching hmnist_28"):
        download(tmp_path / "data")
    assert list((tmp_path / "data").iterdir()) == []
