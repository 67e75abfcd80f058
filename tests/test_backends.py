"""Keras on TensorFlow, JAX or PyTorch: training, saving and answering."""

import importlib.metadata
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

from lesion_lens import ROOT
from lesion_lens.model import backends
from lesion_lens.model.backends import BACKENDS, backend_version
from lesion_lens.model.errors import ModelFileError, SettingError
from lesion_lens.model.exports import export_model
from lesion_lens.model.files import load_model
from lesion_lens.training.checkpoint import Checkpoint
from lesion_lens.training.errors import TrainingError
from lesion_lens.training.pipeline import identity_of
from lesion_lens.training.recipe import Recipe
from lesion_lens.web.model_card import model_card, read_metrics
from tests.support.data import made_images
from tests.support.models import KERAS
from train import main

# Runs everything that uses the network once: teachers, a resumed student, the file, the engine.
TRAIN_AND_SERVE = """
import pathlib, shutil, sys
import numpy as np
from lesion_lens.model.engines import load_engine
from lesion_lens.model.files import save_model
from lesion_lens.training import fitting
from lesion_lens.training.checkpoint import Checkpoint
from lesion_lens.training.recipe import Recipe
from lesion_lens.training.teachers import fit_teachers
from tests.support.data import made_images

if __name__ == "__main__":
    folder = pathlib.Path(sys.argv[1])
    data = made_images(lesions_per_class=10, images_per_lesion=2)
    recipe = Recipe(teachers=1, epochs=2)
    fitting.SAVE_EVERY = 1
    teachers, _ = fit_teachers(data, recipe, 1, folder, {})
    path = folder / "student.npz"

    def fit():
        return fitting.fit(
            data.pixels, data.labels, recipe, 1, teachers=teachers, checkpoint=Checkpoint(path, {}),
            report=lambda history: len(history) == 1 and shutil.copy(path, folder / "half.npz"),
        )

    model, history = fit()
    shutil.copy(folder / "half.npz", path)
    resumed, resumed_history = fit()
    assert history == resumed_history
    assert all(map(np.array_equal, model.get_weights(), resumed.get_weights()))
    save_model(model, folder / "model.h5", {})
    answers = load_engine(folder / "model.h5")(data.pixels)
    assert np.allclose(answers, model.predict(data.pixels, verbose=0), atol=1e-5)
    print(history[0]["loss"])
"""


@pytest.fixture
def on(monkeypatch):
    """A function that selects a backend and sets whether it is installed."""

    def on(name, is_installed=True):
        monkeypatch.setenv("KERAS_BACKEND", name)
        monkeypatch.setattr(backends, "find_spec", lambda _: is_installed or None)

    return on


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_another_backend_trains_and_serves(backend, tmp_path):
    if find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    (tmp_path / "training.py").write_text(TRAIN_AND_SERVE)
    done = subprocess.run(
        [sys.executable, "training.py", str(tmp_path)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "KERAS_BACKEND": backend},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert 0 < float(done.stdout.split()[-1]) < 10


@pytest.mark.parametrize(
    ("name", "is_installed", "sentence"),
    [
        ("openvino", True, "KERAS_BACKEND is 'openvino', but must be one of tensorflow, jax"),
        ("JAX", True, "KERAS_BACKEND is 'JAX'"),
        ("jax", False, "Keras would run on JAX, which is not installed: pip install jax"),
        ("torch", False, "Keras would run on PyTorch, which is not installed: pip install torch"),
        ("tensorflow", False, "TensorFlow, which is not installed: pip install -r requirements"),
    ],
)
def test_a_backend_that_cannot_be_used_is_named(name, is_installed, sentence, on, capsys):
    on(name, is_installed)
    assert main(["--quick"]) == 2
    assert sentence in capsys.readouterr().err
    with pytest.raises(ModelFileError, match=sentence):
        load_model(KERAS)


def test_only_tensorflow_writes_for_litert(on, tmp_path):
    on("jax")
    with pytest.raises(SettingError, match=r"m\.tflite can only be written with TensorFlow"):
        export_model(KERAS, tmp_path / "m.tflite")


def test_a_checkpoint_of_another_backend_is_refused(on, tmp_path):
    data = made_images()
    parts = data.labels.astype(str)
    Checkpoint(tmp_path / "c.npz", identity_of(data, parts, Recipe(), 1)).save([], [])
    on("jax")
    with pytest.raises(TrainingError, match=r"a different backend \(tensorflow, not jax\)"):
        Checkpoint(tmp_path / "c.npz", identity_of(data, parts, Recipe(), 1)).check()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"KERAS_BACKEND": ""}, "tensorflow true false"),
        (
            {
                "KERAS_BACKEND": "jax",
                "TF_FORCE_GPU_ALLOW_GROWTH": "false",
                "XLA_PYTHON_CLIENT_PREALLOCATE": "true",
            },
            "jax false true",
        ),
    ],
)
def test_a_gpu_s_memory_is_shared_unless_the_user_says_otherwise(before, after):
    names = ("KERAS_BACKEND", "TF_FORCE_GPU_ALLOW_GROWTH", "XLA_PYTHON_CLIENT_PREALLOCATE")
    script = f"import os, skin_cancer_detection; print(*map(os.environ.get, {names}))"
    clean = {name: value for name, value in os.environ.items() if name not in names}
    said = subprocess.check_output(
        [sys.executable, "-c", script], cwd=ROOT, env=clean | before, text=True
    )
    assert said.strip() == after


def test_the_version_is_found_whatever_tensorflow_s_package_is_called(monkeypatch):
    monkeypatch.setattr(importlib.metadata, "version", lambda _: 1 / 0)
    assert list(backend_version()) == ["tensorflow"]


@pytest.mark.parametrize(("name", "title"), [(name, row[0]) for name, row in BACKENDS.items()])
def test_the_card_names_the_backend(name, title):
    metrics = read_metrics(ROOT / "metrics.json")
    versions = metrics["versions"]
    metrics["versions"] = {**versions, name: versions.pop("tensorflow")}
    assert f"\n| Keras, {title} | " in model_card(metrics)
