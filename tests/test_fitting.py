"""Fitting a network, by its real path on made pictures."""

import os
import re
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
from lesion_lens.training.teachers import _fit_teacher, fit_teachers
from skin_cancer_detection import CODES, build_model
from tests.support.data import made_images, write_csv

DATA = made_images(lesions_per_class=10, images_per_lesion=2)
SHORT = Recipe(teachers=0, epochs=4)
IDENTITY = {"data checksum": "a", "split": "b", "seed": 1, "recipe": {"epochs": 4}}


class NoChance:
    """Random numbers that mirror nothing and turn by so many quarters."""

    def __init__(self, quarters):
        self.quarters = quarters

    def random(self, shape):
        return np.zeros(shape)

    def uniform(self, low, high, size):
        return np.full(size, high * self.quarters / 4)


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
    recipe = Recipe(teachers=0, epochs=30)
    teacher, _ = fitting.fit(DATA.pixels, DATA.labels, recipe, seed=1)
    shuffled = np.random.default_rng(0).permutation(DATA.labels)
    student, _ = fitting.fit(
        DATA.pixels, shuffled, replace(recipe, teacher_share=1), seed=2, teachers=[teacher]
    )
    probabilities = student.predict(DATA.pixels, verbose=0)
    # The shuffled labels alone would give a seventh; how much more it is depends on rounding.
    assert np.mean(probabilities.argmax(axis=1) == DATA.labels) > 0.4


def test_batch_normalization_is_measured_on_what_the_network_sees_in_use():
    import keras

    model = build_model()
    fitting.measure_batch_normalization(model, DATA.pixels)
    last = [x for x in model.layers if isinstance(x, keras.layers.BatchNormalization)][-1]
    outputs = keras.Model(model.inputs, last.output).predict(fitting.scaled(DATA.pixels), verbose=0)
    assert np.allclose(outputs.mean(axis=0), 0, atol=1e-3)
    # Units that never fire have no variance to be brought to 1.
    alive = last.moving_variance.numpy() > 0.01
    assert alive.any()
    assert np.allclose(outputs.std(axis=0)[alive], 1, atol=0.06)


def test_the_folded_model_gives_the_same_from_raw_pixels():
    model = build_model()
    before = model.predict(fitting.scaled(DATA.pixels), verbose=0)
    fitting.fold_scale(model)
    assert np.allclose(model.predict(DATA.pixels, verbose=0), before, atol=1e-5)


def test_a_training_that_diverges_says_so():
    recipe = replace(SHORT, learning_rate=1e30)
    with pytest.raises(TrainingError, match="diverged in epoch"):
        fitting.fit(DATA.pixels, DATA.labels, recipe, seed=1)


def test_held_out_images_are_scored_and_not_learnt_from():
    keep = np.arange(len(DATA.labels)) % 2 == 0
    held_out = (DATA.pixels[~keep], DATA.labels[~keep])
    model, history = fitting.fit(DATA.pixels[keep], DATA.labels[keep], SHORT, 1, watch=held_out)
    alone, _ = fitting.fit(DATA.pixels[keep], DATA.labels[keep], SHORT, 1)
    assert 0 < history[-1]["held_out_macro_auc"] <= 1
    assert history[-1]["held_out_log_loss"] > 0
    for weights, expected in zip(model.get_weights(), alone.get_weights(), strict=True):
        assert np.array_equal(weights, expected)


def test_what_is_kept_is_the_moving_average_of_the_weights():
    kept, last = (
        fitting.fit(DATA.pixels, DATA.labels, replace(SHORT, weight_average=decay), 1)[0]
        for decay in (0.999, 0.0)
    )
    assert not np.allclose(kept.get_weights()[0], last.get_weights()[0], rtol=1e-2)


def test_a_teacher_does_not_learn_from_what_it_leaves_out(monkeypatch):
    given = {}

    def spy(pixels, labels, *_, watch, **__):
        given["kept"], given["watched"] = pixels, watch[0]
        return build_model(), []

    monkeypatch.setattr("lesion_lens.training.teachers.fit", spy)
    held_out = np.arange(len(DATA.labels)) % 10 == 3
    _fit_teacher("teacher 1", DATA.pixels, DATA.labels, held_out, SHORT, 1, None)
    assert np.array_equal(given["kept"], DATA.pixels[~held_out])
    assert np.array_equal(given["watched"], DATA.pixels[held_out])


# --- Going on after an interruption ----------------------------------------------------------


class Interruption(Exception):
    """What stands for Ctrl-C."""


def test_a_resumed_fit_ends_where_the_uninterrupted_one_does(tmp_path, monkeypatch):
    monkeypatch.setattr(fitting, "SAVE_EVERY", 1)
    whole, history = fitting.fit(DATA.pixels, DATA.labels, SHORT, seed=1)
    checkpoint = Checkpoint(tmp_path / "c.npz", IDENTITY)

    def interrupt(history):
        if len(history) == 2:
            raise Interruption

    with pytest.raises(Interruption):
        fitting.fit(DATA.pixels, DATA.labels, SHORT, 1, checkpoint=checkpoint, report=interrupt)
    seen = []
    resumed, resumed_history = fitting.fit(
        DATA.pixels, DATA.labels, SHORT, 1, checkpoint=checkpoint,
        report=lambda history: seen.append(len(history)),
    )  # fmt: skip
    assert seen == [3, 4]
    assert resumed_history == history
    for weights, expected in zip(resumed.get_weights(), whole.get_weights(), strict=True):
        assert np.array_equal(weights, expected)


@pytest.mark.parametrize(
    ("name", "other"),
    [("data checksum", "z"), ("split", "z"), ("seed", 2), ("recipe", {"epochs": 5})],
)
def test_a_checkpoint_of_another_fit_is_refused(name, other, tmp_path):
    path = tmp_path / "c.npz"
    Checkpoint(path, IDENTITY | {name: other}).save([], [])
    with pytest.raises(TrainingError, match=f"c.npz was made with another {name}"):
        Checkpoint(path, IDENTITY).load([])


def test_of_another_recipe_the_settings_that_differ_are_named(tmp_path):
    path = tmp_path / "c.npz"
    Checkpoint(path, IDENTITY | {"recipe": {"epochs": 5, "mixup": 0.2}}).save([], [])
    with pytest.raises(TrainingError, match=r"another recipe \(epochs 5, not 4\)"):
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


# --- Teachers --------------------------------------------------------------------------------


def test_teachers_are_the_same_however_many_run_at_once(tmp_path, capfd):
    recipe = Recipe(teachers=2, epochs=2)
    runs = []
    for workers in (1, 2):
        folder = tmp_path / str(workers)
        folder.mkdir()
        runs.append(fit_teachers(DATA, recipe, 1, folder, IDENTITY, workers))
    (teachers, histories), (others, _) = runs
    assert list(histories) == ["teacher 1", "teacher 2"]
    assert "teacher 2  epoch   2/2" in capfd.readouterr().out
    for teacher, other in zip(teachers, others, strict=True):
        for weights, expected in zip(teacher.get_weights(), other.get_weights(), strict=True):
            assert np.array_equal(weights, expected)
    first, second = (teacher.get_weights()[0] for teacher in teachers)
    assert not np.array_equal(first, second)


def test_a_teachers_error_is_raised_here(tmp_path):
    recipe = Recipe(teachers=1, epochs=2, learning_rate=1e30)
    with pytest.raises(TrainingError, match="diverged"):
        fit_teachers(DATA, recipe, 1, tmp_path, IDENTITY)


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
    # The pipe is at its end when nobody is left who could write to it.
    process.communicate(timeout=30)


def test_a_class_of_few_lesions_is_spared_by_no_teacher(tmp_path):
    """Three lesions of a class, of which one is for training, are enough for the whole command."""
    few = made_images(lesions_per_class=1, images_per_lesion=2)
    _, histories = fit_teachers(few, Recipe(teachers=1, epochs=1), 1, tmp_path, IDENTITY)
    assert histories["teacher 1"][0].keys() == {"loss"}  # nothing was held out


def test_progress_is_of_the_epochs_since_the_resumption(capsys):
    progress = Progress("network", 20)
    progress.begin -= 600
    history = [{"loss": 1.0, "held_out_macro_auc": None}] * 10
    for done in range(6, 11):
        progress(history[:done])
    assert "network    epoch  10/20  loss 1.000  20.0 min left" in capsys.readouterr().out


def test_cross_validation_prints_the_scores_of_what_it_held_out(tmp_path):
    write_csv(made_images(lesions_per_class=16), tmp_path)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "scripts.cross_validate"),
            *("--csv", str(tmp_path / CSV_NAMES[0])),
            *("--runs", str(tmp_path / "runs"), "--teacher-seeds", "7", "--teacher-epochs", "1"),
            *("--set", "epochs=1", "mixup=0.4"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    # Of 16 lesions of a class 10 are for training, and of these 2 are held out.
    assert "112 images to train on, 28 held out" in done.stdout
    assert "seed 1, of 7  epoch   1/1" in done.stdout
    assert re.search(r"eight views +macro AUC \d\.\d+ .* log loss \d\.\d+", done.stdout)
    assert len(list((tmp_path / "runs").iterdir())) == 2


def test_progress_tells_the_held_out_score_and_the_best_so_far(capsys):
    progress = Progress("network", 20)
    rows = [{"loss": 1.0, "held_out_macro_auc": auc} for auc in (0.7, 0.9, 0.8)]
    progress([{"loss": 2.0}] * 7 + rows)
    assert "held-out AUC 0.800, best 0.900" in capsys.readouterr().out
