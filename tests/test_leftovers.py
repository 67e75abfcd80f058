"""What a training leaves behind if it is killed or the disk is full, and what removes it."""

import contextlib
import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import skin_cancer_detection as scd
from lesion_lens import ROOT
from lesion_lens.model.errors import ModelFileError
from lesion_lens.model.files import save_model, write_training_facts
from lesion_lens.model.workspaces import workspace
from lesion_lens.training import pipeline
from lesion_lens.training.checkpoint import Checkpoint, claimed
from lesion_lens.training.download import download
from lesion_lens.training.errors import TrainingError
from lesion_lens.training.pipeline import train_model
from lesion_lens.training.recipe import Recipe
from lesion_lens.training.split import split_by_lesion
from tests.support.data import made_images
from train import main

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such locks")

DATA = made_images(lesions_per_class=10, images_per_lesion=2)
PARTS = split_by_lesion(DATA.lesion_ids, DATA.labels)
WRITE = """
import sys
from pathlib import Path
from lesion_lens.model.workspaces import workspace
from lesion_lens.training.checkpoint import claimed

folder = Path(sys.argv[1])
with claimed(folder / ".m-checkpoints", folder / "m.h5"), workspace(folder) as place:
    (place / "half.h5").write_bytes(b"half a model")
    (folder / ".m-checkpoints" / "student.unfinished").write_bytes(b"half a checkpoint")
    print("written", flush=True)
    input()
"""


@pytest.fixture
def other(tmp_path):
    """Another process that is writing."""
    command = [sys.executable, "-c", WRITE, str(tmp_path)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"written\n"
        yield process
        process.kill()


def kill(process):
    process.send_signal(signal.SIGKILL)
    process.wait()


def train(folder, monkeypatch):
    """A function that trains without the fitting, which takes seconds."""
    monkeypatch.setattr(pipeline, "fit", lambda *_, **__: (fresh(), [{"loss": 1.0}]))
    train_model(DATA, PARTS, folder / "m.h5", Recipe(teachers=0, epochs=1))


def fresh():
    from lesion_lens.training.fitting import fold_scale

    model = scd.build_model()
    fold_scale(model)
    return model


# --- Killed ----------------------------------------------------------------------------------


def test_what_a_killed_training_leaves_is_removed_by_the_next(other, tmp_path, monkeypatch):
    kill(other)
    assert len(list(tmp_path.rglob("half.h5"))) == 1
    train(tmp_path, monkeypatch)
    assert {path.name for path in tmp_path.iterdir()} == {"m.h5", "metrics.json", "figures"}


def test_what_a_running_training_writes_is_left_alone(other, tmp_path):
    with pytest.raises(TrainingError, match=r"Another training of .*m\.h5 is running: wait until"):
        train_model(DATA, PARTS, tmp_path / "m.h5", Recipe(teachers=0, epochs=1))
    with workspace(tmp_path):  # of another model, for example
        assert len(list(tmp_path.rglob("half.h5"))) == 1
    assert len(list(tmp_path.rglob("student.unfinished"))) == 1
    other.communicate(b"\n")
    assert other.returncode == 0
    assert list(tmp_path.rglob("half.h5")) == []


def test_nothing_of_the_users_is_removed(tmp_path, monkeypatch):
    for name in (".training-notes/a.txt", "training-x/a.txt", ".m-checkpoints/notes.txt"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("mine")
    (tmp_path / ".training-link").symlink_to("training-x")
    monkeypatch.setattr(pipeline, "_fit", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train(tmp_path, monkeypatch)
    assert len(list(tmp_path.rglob("*.txt"))) == 3
    assert (tmp_path / ".training-link").is_symlink()


def test_a_training_that_fails_before_its_first_checkpoint_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "_fit", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train(tmp_path, monkeypatch)
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_is_kept_and_what_was_half_written_is_not(tmp_path):
    folder = tmp_path / ".m-checkpoints"
    folder.mkdir()
    (folder / "student.npz").write_bytes(b"an hour's work")
    (folder / "teacher-1.unfinished").write_bytes(b"half")
    with claimed(folder, tmp_path / "m.h5"):
        assert not (folder / "teacher-1.unfinished").exists()
    assert (folder / "student.npz").read_bytes() == b"an hour's work"


# --- A full disk -----------------------------------------------------------------------------


@contextlib.contextmanager
def full_disk(left):
    """Limit the size of files that this process writes, as if the disk were full."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (left, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def sentence_of(caught, path):
    sentence = str(caught.value)
    assert f"{path} cannot be written (File too large): free some space" in sentence
    assert len(sentence.replace(str(path), "")) < 200
    return sentence


@pytest.mark.parametrize("left", [100_000, 2_000_000])
def test_a_model_that_does_not_fit(tmp_path, left):
    model, path = scd.build_model(), tmp_path / "m.h5"
    with full_disk(left), pytest.raises(ModelFileError) as caught:
        save_model(model, path, {})
    sentence_of(caught, path)
    assert list(tmp_path.iterdir()) == []


def test_facts_that_do_not_fit(tmp_path):
    path = tmp_path / "m.h5"
    save_model(scd.build_model(), path, {})
    with full_disk(path.stat().st_size), pytest.raises(ModelFileError) as caught:
        write_training_facts(path, {"x": ["a" * 1000] * 2000})
    sentence_of(caught, path)


def test_a_checkpoint_that_does_not_fit_leaves_the_one_before(tmp_path):
    checkpoint = Checkpoint(tmp_path / "a.npz", {})
    checkpoint.save([SimpleNamespace(numpy=lambda: np.zeros(10))], [])
    before = checkpoint.path.read_bytes()
    large = SimpleNamespace(numpy=lambda: np.zeros(100_000))
    with full_disk(100_000), pytest.raises(TrainingError) as caught:
        checkpoint.save([large], [])
    assert sentence_of(caught, checkpoint.path).endswith("train.py also needs --resume.")
    assert checkpoint.path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.npz"]


def test_a_first_checkpoint_that_does_not_fit_cannot_be_resumed(tmp_path):
    large = SimpleNamespace(numpy=lambda: np.zeros(100_000))
    with full_disk(100_000), pytest.raises(TrainingError) as caught:
        Checkpoint(tmp_path / "a.npz", {}).save([large], [])
    sentence = sentence_of(caught, tmp_path / "a.npz")
    assert sentence.endswith("free some space, then run the same command again.")


def test_scores_that_do_not_fit(tmp_path):
    with (
        full_disk(100_000),
        pytest.raises(TrainingError) as caught,
        pipeline.staging(tmp_path) as folder,
    ):
        (folder / "metrics.json").write_bytes(bytes(200_000))
    sentence_of(caught, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_model_of_a_training_that_does_not_fit_is_named_as_it_will_be(tmp_path):
    model = scd.build_model()
    with (
        full_disk(100_000),
        pytest.raises(ModelFileError) as caught,
        pipeline.staging(tmp_path) as folder,
    ):
        save_model(model, folder / "m.h5", {})
    sentence_of(caught, tmp_path / "m.h5")


def test_a_download_that_does_not_fit(tmp_path, monkeypatch):
    (tmp_path / "fetched").write_bytes(bytes(200_000))
    client = SimpleNamespace(dataset_download=lambda *_, **__: tmp_path / "fetched")
    monkeypatch.setitem(sys.modules, "kagglehub", client)
    with full_disk(100_000), pytest.raises(TrainingError) as caught:
        download(tmp_path / "data")
    sentence_of(caught, tmp_path / "data" / "hmnist_28_28_RGB.csv")
    assert list((tmp_path / "data").iterdir()) == []


def test_a_console_that_takes_no_more_is_said(monkeypatch, capsys):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("train.train_or_evaluate", full)
    assert main([]) == 2
    said = (
        "The output cannot be used (No space left on device): free some space, or choose "
        "another place.\n"
    )
    assert capsys.readouterr().err == said
