"""Training, by its real path on made pictures."""

import functools
import http.server
import json
import os
import re
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
from conftest import ROOT, made_images, require, write_csv

import dataset
import skin_cancer_detection as scd
import train

DATA = made_images(lesions_per_class=10, images_per_lesion=2)


def run(*arguments, **environment):
    """Run `python train.py` as a user does."""
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


@pytest.fixture(scope="module")
def trained(files, tmp_path_factory):
    """A finished run: its folder and its console output."""
    folder = tmp_path_factory.mktemp("run")
    done = run("--csv", files[0], "--output", folder / "best_model.h5", "--epochs", 60)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def test_a_run_leaves_model_metrics_and_pictures(trained):
    folder, _ = trained
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*.*")) == [
        "best_model.h5",
        "figures/confusion_matrix.png",
        "figures/learning_curves.png",
        "metrics.json",
    ]


def test_a_run_learns_what_can_be_learnt(trained):
    metrics = json.loads((trained[0] / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["test"]["balanced_accuracy"] > 0.9


def test_the_console_says_plan_progress_and_scores(trained):
    output = trained[1]
    assert "28 images of 14 lesions" in output  # the test part: 20 % of 140 images, of 70 lesions
    assert "Will train for 60 epochs with seed 1" in output
    assert "epoch  60/60" in output
    assert "min left" in output
    assert "balanced accuracy" in output
    assert re.search(r"in \d+\.\d min", output)
    assert "WARNING" not in output


def test_the_saved_model_takes_raw_pixels_and_gives_the_written_scores(trained):
    folder, _ = trained
    facts = scd.check_model_file(folder / "best_model.h5")
    assert facts == json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    test = dataset.split_by_lesion(DATA.lesion_ids, DATA.labels) == "test"
    probabilities = train.probabilities_of(
        scd.load_model(folder / "best_model.h5"), DATA.pixels[test]
    )
    scores = train.evaluate(DATA.labels[test], probabilities, scd.CODES)
    assert scores["confusion_matrix"] == facts["test"]["confusion_matrix"]
    assert scores["macro_auc"] == pytest.approx(facts["test"]["macro_auc"])


def test_the_facts_name_data_split_seed_and_versions(trained):
    facts = scd.check_model_file(trained[0] / "best_model.h5")
    assert facts["data_sha256"] == DATA.sha256
    assert facts["split"].startswith("lesion-wise")
    assert facts["rows_may_share_lesions"] is False
    assert facts["seed"] == train.SEED
    assert set(facts["versions"]) == {"python", "keras", "numpy", "pillow", "tensorflow"}
    assert facts["lesions"] == {"training": 42, "calibration": 14, "test": 14}


def test_the_same_seed_gives_the_same_scores(files, tmp_path):
    metrics = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        done = run("--csv", files[0], "--output", folder / "m.h5", "--epochs", 2, "--seed", 5)
        assert done.returncode == 0, done.stderr
        metrics.append((folder / "metrics.json").read_text(encoding="utf-8"))
    assert metrics[0] == metrics[1]


def test_without_metadata_it_trains_and_says_that_the_scores_are_inflated(files, tmp_path):
    alone = tmp_path / files[0].name
    alone.write_bytes(files[0].read_bytes())
    done = run("--csv", alone, "--output", tmp_path / "m.h5", "--epochs", 1)
    assert done.returncode == 0, done.stderr
    assert "WARNING: it is not known which images show the same lesion" in done.stdout
    assert scd.check_model_file(tmp_path / "m.h5")["rows_may_share_lesions"] is True


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_an_interrupted_run_leaves_the_old_model(files, tmp_path):
    output = tmp_path / "best_model.h5"
    output.write_bytes(b"the old model")
    command = [sys.executable, "train.py", "--csv", files[0], "--output", output, "--epochs", "999"]
    # Whoever starts the tests in the background may have them ignore SIGINT, which is inherited.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(
        list(map(str, command)), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        while "epoch   3/" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"{output} is as it was" in errors
    assert "Traceback" not in errors
    assert list(tmp_path.iterdir()) == [output]
    assert output.read_bytes() == b"the old model"


def test_own_images(tmp_path):
    from PIL import Image

    rows = ["image_id,dx,lesion_id"]
    for row in range(0, len(DATA.labels), 2):
        Image.fromarray(DATA.pixels[row]).resize((56, 42)).save(tmp_path / f"i{row}.png")
        rows.append(f"i{row},{scd.CODES[DATA.labels[row]]},{DATA.lesion_ids[row]}")
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    done = run(
        "--images", tmp_path, "--labels", tmp_path / "labels.csv",
        "--output", tmp_path / "m.h5", "--epochs", 1,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    facts = scd.check_model_file(tmp_path / "m.h5")
    assert facts["images"]["test"] == 14
    assert facts["data"] == "images of one's own"


# --- What cannot be done ---------------------------------------------------------------------


def fault_of(*arguments, **environment):
    done = run(*arguments, **environment)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    return done.stderr


def test_a_bad_csv_ends_with_its_sentence_and_code_2(files, tmp_path):
    bad = tmp_path / "bad.csv"
    bad.write_text(files[0].read_text(encoding="utf-8").replace(",0\n", ",9\n", 1))
    assert "row 1, column label: found 9" in fault_of("--csv", bad)


def test_no_such_csv(tmp_path):
    assert "there is no such file" in fault_of("--csv", tmp_path / "none.csv")


def test_no_such_metadata(files, tmp_path):
    fault = fault_of("--csv", files[0], "--metadata", tmp_path / "none.csv")
    assert "none.csv: there is no such file" in fault


def test_without_data_two_lines_say_how_to_get_it(tmp_path):
    with pytest.raises(train.TrainingError) as caught:
        train.find_data(None, None, tmp_path)
    first, second = str(caught.value).splitlines()
    assert "python train.py --download" in first
    assert "https://www.kaggle.com/datasets/kmader/skin-cancer-mnist-ham10000" in second


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--images", "x"], "--images and --labels go together"),
        (["--images", "x", "--labels", "y", "--csv", "z"], "takes the place of"),
        (["--epochs", "0"], "at least 1"),
        (["--seed", "-1"], "0 or more"),
        (["--seed", "4294967296"], "below 4,294,967,296"),
        (["--output", "tests/folder.h5"], "is a folder"),
        (["--output", "model.keras"], "must end in .h5"),
        (["--download", "--csv", "x"], "exclude each other"),
    ],
)
def test_contradicting_arguments(arguments, sentence, capsys, monkeypatch):
    monkeypatch.setattr("pathlib.Path.is_dir", lambda path: path.name == "folder.h5")
    with pytest.raises(SystemExit) as caught:
        train.parse_arguments(arguments)
    assert caught.value.code == 2
    assert sentence in capsys.readouterr().err


def test_a_place_that_cannot_be_written_is_found_before_training(files, tmp_path):
    (tmp_path / "file").write_text("")
    fault = fault_of("--csv", files[0], "--output", tmp_path / "file" / "m.h5")
    assert str(tmp_path / "file") in fault


def test_a_failure_before_the_end_leaves_the_old_files(tmp_path, monkeypatch):
    (tmp_path / "m.h5").write_bytes(b"the old model")
    (tmp_path / "metrics.json").write_bytes(b"the old metrics")
    monkeypatch.setattr(train, "draw_confusion_matrix", lambda matrix: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train.train(DATA, tmp_path / "m.h5", epochs=1)
    assert (tmp_path / "m.h5").read_bytes() == b"the old model"
    assert (tmp_path / "metrics.json").read_bytes() == b"the old metrics"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.h5", "metrics.json"]


def test_a_training_that_diverges_saves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(train, "LEARNING_RATE", 1e30)
    with pytest.raises(train.TrainingError, match="diverged"):
        train.train(DATA, tmp_path / "m.h5", epochs=2)
    assert list(tmp_path.iterdir()) == []


# --- Downloading -----------------------------------------------------------------------------


def test_download_without_kaggles_client(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    with pytest.raises(train.TrainingError, match="pip install kagglehub"):
        train.download(tmp_path)


class Kaggle(http.server.BaseHTTPRequestHandler):
    """As much of Kaggle's interface as the client needs for the two files, on localhost."""

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
    # The port is the one that Kaggle's client takes in its own test environment.
    server = http.server.ThreadingHTTPServer(("localhost", 7777), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "TEST")
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "cache"))
    try:
        train.download(tmp_path / "data")
    finally:
        server.shutdown()
        server.server_close()
    for path in files:
        assert (tmp_path / "data" / path.name).read_bytes() == path.read_bytes()
    assert [name for name in asked if name] == [path.name for path in files]
    assert sorted(os.listdir(tmp_path / "data")) == sorted(path.name for path in files)


def test_a_download_that_fails_is_said_and_leaves_nothing(tmp_path, monkeypatch):
    require("kagglehub")
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "TEST")  # nobody listens there
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(train.TrainingError, match="Kaggle did not give hmnist_28"):
        train.download(tmp_path / "data")
    assert list((tmp_path / "data").iterdir()) == []


# --- The parts -------------------------------------------------------------------------------


def test_augmented_images_keep_shape_type_and_colours():
    augmented = train.augment(DATA.pixels, np.random.default_rng(0))
    assert (augmented.shape, augmented.dtype) == (DATA.pixels.shape, np.uint8)
    means = [pixels.mean(axis=(1, 2)) for pixels in (augmented, DATA.pixels)]
    assert np.abs(means[0] - means[1]).max() < 8


@pytest.mark.parametrize("quarters", range(4))
def test_an_image_is_turned_about_its_middle(quarters, monkeypatch):
    monkeypatch.setattr(train, "MAX_SHIFT", 0)
    monkeypatch.setattr(train, "MAX_LOG_SCALE", 0)

    class NoChance:
        def random(self, shape):
            return np.zeros(shape)

        def uniform(self, low, high, size):
            return np.full(size, high * quarters / 4)

    turned = train.augment(DATA.pixels[:5], NoChance())
    expected = np.rot90(DATA.pixels[:5], quarters, axes=(1, 2))
    by_rounding = 1 if quarters else 0
    assert np.abs(turned.astype(int) - expected).max() <= by_rounding


def test_class_weights_favour_the_rare_and_average_to_one():
    labels = np.repeat(np.arange(7), [4, 4, 4, 1, 16, 4, 4])
    weights = train.class_weights(labels)
    assert weights[3] / weights[4] == pytest.approx(4)  # the square root of 16
    assert weights[labels].mean() == pytest.approx(1)


def test_batches_show_every_image_once_an_epoch():
    batches = train.batches(DATA.pixels, DATA.labels, np.ones(7), np.random.default_rng(0))
    labels = [next(batches)[1] for _ in range(-(-len(DATA.labels) // train.BATCH_SIZE))]
    assert sorted(np.concatenate(labels)) == sorted(DATA.labels)


def test_the_folded_model_gives_the_same_from_raw_pixels():
    model = scd.build_model()
    before = model.predict(train.scaled(DATA.pixels), verbose=0)
    train.fold_scale(model)
    assert np.allclose(model.predict(DATA.pixels, verbose=0), before, atol=1e-5)
