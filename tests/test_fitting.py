"""Fitting a network with the real code, on made pictures."""

import io
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lesion_lens import ROOT
from lesion_lens.training import fitting
from lesion_lens.training.augmentation import augment, draw_epoch
from lesion_lens.training.checkpoint import Checkpoint
from lesion_lens.training.data import CSV_NAMES
from lesion_lens.training.errors import TrainingError
from lesion_lens.training.progress import Progress
from lesion_lens.training.recipe import Recipe
from lesion_lens.training.side_by_side import Fit, _fit_one
from lesion_lens.training.teachers import (
    _held_out_folds,
    fit_teachers,
    teachers_are_trained,
)
from scripts import cross_validate
from skin_cancer_detection import CODES, build_model
from tests.support.data import made_images, write_csv

DATA = made_images(lesions_per_class=10, images_per_lesion=2)
FEW = made_images(lesions_per_class=2, images_per_lesion=2)
SHORT = Recipe(teachers=0, epochs=4)
IDENTITY = {"data checksum": "a", "split": "b", "seed": 1, "recipe": {"epochs": 4}}


class NoChance:
    """Random numbers that mirror nothing and rotate by a number of quarter turns."""

    def __init__(self, quarters):
        self.quarters = quarters

    def random(self, shape):
        return np.zeros(shape)

    def uniform(self, low, high, size):
        return np.full(size, high * self.quarters / 4)


@pytest.fixture
def uncompiled():
    """Run TensorFlow's functions uncompiled: compiling takes longer than a few steps."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


# --- What an epoch shows ---------------------------------------------------------------------


def test_augmented_images_keep_shape_type_and_colours():
    augmented = augment(DATA.pixels, Recipe(), np.random.default_rng(0))
    assert (augmented.shape, augmented.dtype) == (DATA.pixels.shape, np.uint8)
    means = [pixels.mean(axis=(1, 2)) for pixels in (augmented, DATA.pixels)]
    assert np.abs(means[0] - means[1]).max() < 8


@pytest.mark.parametrize("quarters", range(4))
def test_an_image_is_turned_about_its_middle(quarters):
    recipe = Recipe(min_scale=1, max_scale=1, max_stretch=0, max_shift=0)
    turned = augment(DATA.pixels[:5], recipe, NoChance(quarters))
    expected = np.rot90(DATA.pixels[:5], quarters, axes=(1, 2))
    by_rounding = 1 if quarters else 0
    assert np.abs(turned.astype(int) - expected).max() <= by_rounding


def test_an_epoch_shows_every_image_once_with_its_label():
    recipe = Recipe(min_scale=1, max_scale=1, max_stretch=0, max_shift=0, batch_size=14)
    targets = np.eye(len(CODES), dtype=np.float32)[DATA.labels]
    pixels, shown, *_ = draw_epoch(DATA.pixels, targets, recipe, np.random.default_rng(0))
    colours = pixels.reshape(-1, 28 * 28, 3).mean(axis=1)
    own = DATA.pixels.reshape(-1, 28 * 28, 3).mean(axis=1)
    labels = shown.reshape(-1, len(CODES)).argmax(axis=1)
    assert sorted(labels) == sorted(DATA.labels)
    nearest = np.abs(colours[:, None] - own[None]).sum(axis=2).argmin(axis=1)
    assert (DATA.labels[nearest] == labels).all()


def test_the_jitter_leaves_the_mean_image_in_its_place():
    recipe = Recipe(batch_size=140)
    targets = np.zeros((140, 7), np.float32)
    draws = [
        draw_epoch(DATA.pixels, targets, recipe, np.random.default_rng(seed)) for seed in range(20)
    ]
    gains, offsets = (np.concatenate([draw[place] for draw in draws]) for place in (2, 3))
    mean = DATA.pixels.mean((0, 1, 2)) / 255
    assert np.abs((mean * gains + offsets).mean((0, 1)) - mean).max() < 0.01
    assert gains.min() >= (1 - recipe.max_colour) * (1 - recipe.max_brightness)


def test_a_mixture_is_of_neighbours():
    array = np.eye(3, dtype=np.float32)
    mixed = fitting._mix(array, np.array([[1], [0.75], [0]], np.float32)).numpy()
    assert mixed.tolist() == [[1, 0, 0], [0.25, 0.75, 0], [0, 1, 0]]


# --- What is learnt --------------------------------------------------------------------------


def test_without_teachers_the_loss_is_the_cross_entropy():
    targets = np.eye(7, dtype=np.float32)[[0, 1]]
    probabilities = np.full((2, 7), 0.05, np.float32)
    probabilities[:, 0] = 0.7
    loss = fitting.distillation_loss(targets, [], probabilities, Recipe())
    assert float(loss) == pytest.approx(-(np.log(0.7) + np.log(0.05)) / 2, rel=1e-5)


def test_the_teachers_share_is_least_at_their_mean_opinion():
    rng = np.random.default_rng(0)
    opinions = [rng.dirichlet(np.ones(7), 4).astype(np.float32) for _ in range(2)]
    mean = sum(opinions) / 2
    recipe = Recipe(teacher_share=1)

    def loss_at(probabilities):
        return float(
            fitting.distillation_loss(np.zeros((4, 7), np.float32), opinions, probabilities, recipe)
        )

    others = [rng.dirichlet(np.ones(7), 4).astype(np.float32) for _ in range(20)]
    assert all(loss_at(mean) < loss_at(other) for other in [*opinions, *others])


def test_a_student_follows_its_teachers_where_the_labels_are_wrong():
    import tensorflow as tf

    reds = DATA.pixels[..., 0].reshape(len(CODES), -1).mean(axis=1)  # for each class

    def teacher(images, training):
        red = tf.reduce_mean(images[..., 0], axis=(1, 2))
        return tf.nn.softmax(-tf.abs(red[:, None] - reds) / 5)

    shuffled = np.random.default_rng(0).permutation(DATA.labels)
    recipe = Recipe(epochs=15, teacher_share=1)
    student, _ = fitting.fit(DATA.pixels, shuffled, recipe, seed=2, teachers=[teacher])
    probabilities = student.predict(DATA.pixels, verbose=0)
    # The shuffled labels alone would give about a seventh.
    assert np.mean(probabilities.argmax(axis=1) == DATA.labels) > 0.6


def test_batch_normalization_is_measured_on_what_the_network_sees_in_use():
    import keras

    model = build_model()
    fitting.measure_batch_normalization(model, DATA.pixels)
    last = [x for x in model.layers if isinstance(x, keras.layers.BatchNormalization)][-1]
    outputs = keras.Model(model.inputs, last.output).predict(fitting.scaled(DATA.pixels), verbose=0)
    assert np.allclose(outputs.mean(axis=0), 0, atol=1e-3)
    # Units that never fire have no variance to scale to 1.
    alive = last.moving_variance.numpy() > 0.01
    assert alive.any()
    assert np.allclose(outputs.std(axis=0)[alive], 1, atol=0.06)


def test_the_folded_model_gives_the_same_from_raw_pixels():
    model = build_model()
    before = model.predict(fitting.scaled(DATA.pixels), verbose=0)
    fitting.fold_scale(model)
    assert np.allclose(model.predict(DATA.pixels, verbose=0), before, atol=1e-5)


@pytest.mark.usefixtures("uncompiled")
def test_a_training_that_diverges_says_so():
    recipe = replace(SHORT, learning_rate=1e30)
    with pytest.raises(TrainingError, match="diverged in epoch"):
        fitting.fit(DATA.pixels, DATA.labels, recipe, seed=1)


@pytest.mark.usefixtures("uncompiled")
def test_held_out_images_are_scored_and_not_learnt_from():
    keep = np.arange(len(DATA.labels)) % 2 == 0
    held_out = (DATA.pixels[~keep], DATA.labels[~keep])
    recipe = replace(SHORT, epochs=2)
    model, history = fitting.fit(DATA.pixels[keep], DATA.labels[keep], recipe, 1, watch=held_out)
    alone, _ = fitting.fit(DATA.pixels[keep], DATA.labels[keep], recipe, 1)
    assert 0 < history[-1]["held_out_macro_auc"] <= 1
    assert history[-1]["held_out_log_loss"] > 0
    for weights, expected in zip(model.get_weights(), alone.get_weights(), strict=True):
        assert np.array_equal(weights, expected)


@pytest.mark.usefixtures("uncompiled")
def test_the_fitted_model_is_the_moving_average_of_the_weights():
    kept, last = (
        fitting.fit(DATA.pixels, DATA.labels, replace(SHORT, epochs=2, weight_average=decay), 1)[0]
        for decay in (0.999, 0.0)
    )
    assert not np.allclose(kept.get_weights()[0], last.get_weights()[0], rtol=1e-2)


@pytest.fixture
def given(monkeypatch):
    """Records what each teacher's fit gets: the pixels to learn from, and the held-out images."""
    given = {}

    def spy(pixels, labels, *_, watch, **__):
        given["kept"], given["watched"] = pixels, watch
        return build_model(), []

    monkeypatch.setattr("lesion_lens.training.side_by_side.fit", spy)
    return given


def test_a_teacher_does_not_learn_from_what_it_leaves_out(given):
    held_out = np.arange(len(DATA.labels)) % 10 == 3
    _fit_one(Fit("teacher 1", DATA.pixels, DATA.labels, held_out, 1), SHORT)
    assert np.array_equal(given["kept"], DATA.pixels[~held_out])
    assert np.array_equal(given["watched"][0], DATA.pixels[held_out])


# --- Resuming after an interruption ----------------------------------------------------------


def test_a_resumed_fit_ends_where_the_uninterrupted_one_does(tmp_path, monkeypatch):
    monkeypatch.setattr(fitting, "SAVE_EVERY", 1)

    def fit(path):
        """Return weights, history and the epochs run; keep a checkpoint from halfway."""
        epochs = []

        def report(history):
            epochs.append(len(history))
            if len(history) == 2:
                shutil.copy(path, tmp_path / "halfway.npz")

        model, history = fitting.fit(
            DATA.pixels, DATA.labels, SHORT, 1, checkpoint=Checkpoint(path, IDENTITY), report=report
        )
        return model.get_weights(), history, epochs

    whole, history, _ = fit(tmp_path / "whole.npz")
    for name, expected in (("halfway", [3, 4]), ("whole", [])):  # "whole" is finished already
        resumed, resumed_history, epochs = fit(tmp_path / f"{name}.npz")
        assert epochs == expected
        assert resumed_history == history
        assert all(map(np.array_equal, resumed, whole))


@pytest.mark.parametrize(
    ("name", "other", "said"),
    [
        ("data checksum", "z", "other images or labels"),
        ("split", "z", "a different split"),
        ("seed", 2, "a different seed"),
        ("recipe", {"epochs": 5}, "a different recipe"),
    ],
)
def test_a_checkpoint_of_another_fit_is_refused(name, other, said, tmp_path):
    path = tmp_path / "c.npz"
    Checkpoint(path, IDENTITY | {name: other}).save([], [])
    with pytest.raises(TrainingError, match=f"c.npz was made with {said}"):
        Checkpoint(path, IDENTITY).load([])


def test_of_another_recipe_the_settings_that_differ_are_named(tmp_path):
    path = tmp_path / "c.npz"
    Checkpoint(path, IDENTITY | {"recipe": {"epochs": 5, "mixup": 0.2}}).save([], [])
    with pytest.raises(TrainingError, match=r"a different recipe \(epochs 5, not 4\)"):
        Checkpoint(path, IDENTITY | {"recipe": {"epochs": 4, "mixup": 0.2}}).load([])


def test_a_save_that_was_cut_short_spoils_nothing(tmp_path, monkeypatch):
    checkpoint = Checkpoint(tmp_path / "c.npz", IDENTITY)
    checkpoint.save([], [{"loss": 1.0}])
    monkeypatch.setattr("os.replace", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        checkpoint.save([], [{"loss": 2.0}])
    assert checkpoint.load([]) == [{"loss": 1.0}]
    assert list(tmp_path.glob("*.npz")) == [tmp_path / "c.npz"]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 but no more", b"text"])
def test_a_spoiled_checkpoint_is_refused(content, tmp_path):
    (tmp_path / "c.npz").write_bytes(content)
    with pytest.raises(TrainingError, match=r"c\.npz is damaged"):
        Checkpoint(tmp_path / "c.npz", IDENTITY).load([])


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@pytest.mark.parametrize(
    "change",
    [
        lambda _: npy(np.zeros(3)),  # an array instead of an archive
        lambda content: content.replace(b"PK\x01\x02", b"PK\x01\x09"),
    ],
)
def test_a_checkpoint_of_other_bytes_is_refused(change, tmp_path):
    checkpoint = Checkpoint(tmp_path / "c.npz", IDENTITY)
    checkpoint.save([], [{"loss": 1.0}])
    checkpoint.path.write_bytes(change(checkpoint.path.read_bytes()))
    with pytest.raises(TrainingError, match=r"c\.npz is damaged"):
        checkpoint.load([])


@pytest.mark.parametrize("about", ["[]", "null", '{"identity": 5, "history": []}', "{}"])
def test_a_checkpoint_that_says_nothing_of_its_fit_is_refused(about, tmp_path):
    np.savez(tmp_path / "c.npz", about=about)
    with pytest.raises(TrainingError, match=r"c\.npz is damaged"):
        Checkpoint(tmp_path / "c.npz", IDENTITY).load([])


# --- Teachers --------------------------------------------------------------------------------


def test_a_teacher_is_the_same_alone_and_beside_another(tmp_path, capfd):
    recipe = Recipe(teachers=2, epochs=2)
    together, alone = tmp_path / "together", tmp_path / "alone"
    together.mkdir()
    alone.mkdir()
    teachers, histories = fit_teachers(DATA, recipe, 1, together, IDENTITY, workers=2)
    assert list(histories) == ["teacher 1", "teacher 2"]
    said = capfd.readouterr().out
    assert "teacher 1  epoch   2/2" in said
    assert "teacher 2  epoch   2/2" in said
    shutil.copy(together / "teacher-1.npz", alone)  # finished, so not fitted again
    again, _ = fit_teachers(DATA, recipe, 1, alone, IDENTITY, workers=1)
    said = capfd.readouterr().out
    assert "teacher 1" not in said
    assert "teacher 2  epoch   2/2" in said
    for teacher, other in zip(teachers, again, strict=True):
        assert all(map(np.array_equal, teacher.get_weights(), other.get_weights()))
    first, second = (teacher.get_weights()[0] for teacher in teachers)
    assert not np.array_equal(first, second)


def test_teachers_are_trained_once_each_has_its_last_epoch(tmp_path):
    recipe = Recipe(teachers=2, epochs=2)
    for name, epochs in (("teacher-1", 2), ("teacher-2", 1)):
        assert not teachers_are_trained(recipe, tmp_path, IDENTITY)
        Checkpoint(tmp_path / f"{name}.npz", IDENTITY).save([], [{"loss": 1.0}] * epochs)
    assert not teachers_are_trained(recipe, tmp_path, IDENTITY)
    Checkpoint(tmp_path / "teacher-2.npz", IDENTITY).save([], [{"loss": 1.0}] * 2)
    assert teachers_are_trained(recipe, tmp_path, IDENTITY)


def test_a_teachers_error_is_raised_here(tmp_path):
    Checkpoint(tmp_path / "teacher-1.npz", IDENTITY | {"seed": 2}).save([], [])
    with pytest.raises(TrainingError, match=r"teacher-1\.npz was made with a different seed"):
        fit_teachers(FEW, Recipe(teachers=1, epochs=2), 1, tmp_path, IDENTITY)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_no_teacher_outlives_a_killed_training(tmp_path):
    script = (
        "import pathlib, sys\n"
        "from lesion_lens.training.recipe import Recipe\n"
        "from lesion_lens.training.teachers import fit_teachers\n"
        "from tests.support.data import made_images\n"
        "if __name__ == '__main__':\n"
        "    recipe = Recipe(teachers=1, epochs=100_000)\n"
        "    fit_teachers(made_images(), recipe, 1, pathlib.Path(sys.argv[1]), {})\n"
    )
    (tmp_path / "training.py").write_text(script)
    process = subprocess.Popen(
        [sys.executable, "training.py", str(tmp_path)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert "teacher 1  epoch  10/" in process.stdout.readline()
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert children
    process.kill()
    # The pipe ends when no process is left that could write to it.
    process.communicate(timeout=30)


def test_a_class_of_few_lesions_is_spared_by_no_teacher(given):
    """A class with three lesions, one of them for training, is enough for the whole command."""
    rows = (np.arange(len(DATA.labels)) < 18) | (DATA.labels > 0)  # 9 lesions of the first class
    folds = _held_out_folds(DATA.only(rows))
    assert (folds[:18] == -1).all()
    assert set(folds[18:].tolist()) == set(range(10))
    nothing = np.zeros(len(DATA.labels), bool)
    _fit_one(Fit("teacher 1", DATA.pixels, DATA.labels, nothing, 1), SHORT)
    assert np.array_equal(given["kept"], DATA.pixels)
    assert given["watched"] is None


def test_progress_is_of_the_epochs_since_the_resumption(capsys):
    progress = Progress("network", 20)
    progress.begin -= 600
    history = [{"loss": 1.0, "held_out_macro_auc": None}] * 10
    for done in range(6, 11):
        progress(history[:done])
    assert "network    epoch  10/20  loss 1.000  20.0 min left" in capsys.readouterr().out


@pytest.mark.usefixtures("uncompiled")
def test_cross_validation_prints_the_scores_of_what_it_held_out(tmp_path, capsys, monkeypatch):
    write_csv(made_images(lesions_per_class=16, images_per_lesion=1), tmp_path)
    csv, runs = str(tmp_path / CSV_NAMES[0]), str(tmp_path / "runs")
    arguments = ["--csv", csv, "--runs", runs, "--teacher-seeds", "7", "--teacher-epochs", "1"]
    arguments += ["--set", "epochs=1", "mixup=0.4", "--fold", "0", "3"]
    monkeypatch.setattr(sys, "argv", ["cross_validate.py", *arguments])
    threads = []  # recorded: TensorFlow accepts them only before its first computation
    for kind in ("inter", "intra"):
        setting = f"tensorflow.config.threading.set_{kind}_op_parallelism_threads"
        monkeypatch.setattr(setting, threads.append)
    cross_validate.main()
    assert threads == [1, 1]
    output = capsys.readouterr().out
    # Of a class's 16 lesions, 10 are for training, and 2 of these are held out.
    assert output.count("56 images to train on, 14 held out") == 2
    assert "seed 1, of 7  epoch   1/1" in output
    assert len(re.findall(r"eight views +macro AUC \d\.\d+ .* log loss \d\.\d+", output)) == 1
    assert len(list((tmp_path / "runs").iterdir())) == 4  # a teacher and a student for each fold


def test_several_folds_give_the_mean_of_their_scores(capsys, monkeypatch):
    scores = iter([{"eight views": {"macro AUC": 0.5}}, {"eight views": {"macro AUC": 1.0}}])
    monkeypatch.setattr(cross_validate, "read_dataset", lambda *_: DATA)
    monkeypatch.setattr(cross_validate, "find_data", lambda *_: ())
    monkeypatch.setattr(cross_validate, "run_fold", lambda *_: next(scores))
    monkeypatch.setattr(sys, "argv", ["cross_validate.py", "--fold", "0", "1"])
    for kind in ("inter", "intra"):
        setting = f"tensorflow.config.threading.set_{kind}_op_parallelism_threads"
        monkeypatch.setattr(setting, lambda _: None)
    cross_validate.main()
    assert capsys.readouterr().out == "eight views      macro AUC 0.750\n"


def test_a_fold_counts_once(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["cross_validate.py", "--fold", "0", "0"])
    with pytest.raises(SystemExit):
        cross_validate.parse_arguments()
    assert "--fold names a fold twice" in capsys.readouterr().err


def test_progress_tells_the_held_out_score_and_the_best_so_far(capsys):
    progress = Progress("network", 20)
    rows = [{"loss": 1.0, "held_out_macro_auc": auc} for auc in (0.7, 0.9, 0.8)]
    progress([{"loss": 2.0}] * 7 + rows)
    assert "held-out AUC 0.800, best 0.900" in capsys.readouterr().out
