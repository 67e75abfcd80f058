"""From the data to a finished model, and the scores of a finished one again."""

import contextlib
import importlib.metadata
import json
import os
import platform
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np

from lesion_lens.model.files import (
    check_model_file,
    save_model,
    write_training_facts,
)
from lesion_lens.model.outliers import fit_outlier_detector
from lesion_lens.training.calibration import (
    fit_bias_and_temperature,
    fit_decision_facts,
    fold_calibration,
    one_image_per_lesion,
)
from lesion_lens.training.checkpoint import Checkpoint
from lesion_lens.training.errors import TrainingError
from lesion_lens.training.evaluation import (
    checksum_of,
    probabilities_of,
    score_file,
    shared_lesions,
    view_probabilities,
)
from lesion_lens.training.fitting import fit
from lesion_lens.training.plots import (
    draw_confusion_matrix,
    draw_learning_curves,
    draw_reliability,
    draw_roc_curves,
)
from lesion_lens.training.progress import Progress
from lesion_lens.training.recipe import SEED
from lesion_lens.training.split import PARTS
from lesion_lens.training.teachers import fit_teachers
from skin_cancer_detection import CODES


def train_model(data, parts, output, recipe, seed=SEED, resume=False):
    """Fit, calibrate, score on the test part and write everything down.

    Args:
        data: `Dataset`.
        parts: str (N,), from `split_by_lesion` or `read_split`.
        output: path of the model file; metrics.json and figures/ go beside it.
        recipe: `fitting.Recipe`.
        seed: of the student; its teachers have the numbers after it.
        resume: go on from the checkpoints of an interrupted training of the same kind.

    Returns:
        dict, what metrics.json holds.

    Raises:
        ModelFileError: the model cannot be written.
        TrainingError: the output cannot be written, the training diverged, there is nothing to go
            on from, or something to go on from and no `resume`.
    """
    checkpoints = checkpoints_of(output)
    if resume and not is_unfinished(output):
        raise TrainingError(
            f"{checkpoints} has no checkpoint, so there is nothing to go on from: train without "
            "--resume."
        )
    if is_unfinished(output) and not resume:
        raise TrainingError(
            f"{checkpoints} holds a training that is not finished: go on with --resume, or remove "
            "it to begin anew."
        )
    identity = identity_of(data, parts, recipe, seed)
    for path in checkpoints.glob("*.npz"):
        Checkpoint(path, identity).check()  # all of them before any is gone on with
    try:
        checkpoints.mkdir(parents=True, exist_ok=True)
    except OSError as error:  # better now than after the training
        raise TrainingError(f"{output} cannot be written ({error}): choose another.") from error
    model, histories = _fit(data.only(parts == "training"), recipe, seed, checkpoints, identity)
    attributes = calibrate(model, data.only(parts == "calibration"), data.only(parts == "training"))
    with _staging(output) as folder:
        path = folder / output.name
        save_model(model, path, training_facts(data, parts, recipe, seed), attributes)
        curves = draw_learning_curves(histories)
        curves.savefig(folder / "figures" / "learning_curves.png", dpi=120)
        metrics = write_scores(folder, path, data, parts)
        write_training_facts(path, metrics)  # now with the scores, which the pages tell
    shutil.rmtree(checkpoints)
    return metrics


def evaluate_again(path, data, parts):
    """Score a model file on the test part again and write metrics.json and the pictures anew.

    Args and raises: see `score_file`.

    Returns:
        dict, what metrics.json holds.
    """
    check_model_file(path)  # before a folder is made beside it
    with _staging(path) as folder:
        metrics = write_scores(folder, path, data, parts)
    if metrics["data_sha256"] != data.sha256:
        print(
            f"WARNING: {path} was trained on rows that differ from these, as rows made of smaller "
            "copies of the images do; so do its scores, a little."
        )
    return metrics


@contextlib.contextmanager
def _staging(output):
    """Give a folder; what is in it at the end takes the place of what is beside `output`.

    So every file is replaced by something whole, and none is if anything fails before the end.
    """
    with tempfile.TemporaryDirectory(prefix=".training-", dir=output.parent) as name:
        folder = Path(name)
        (folder / "figures").mkdir()
        yield folder
        (output.parent / "figures").mkdir(exist_ok=True)
        files = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
        for file in sorted(files, key=lambda file: file.suffix == ".h5"):  # the model last
            os.replace(folder / file, output.parent / file)


def _fit(training, recipe, seed, checkpoints, identity):
    """Fit the teachers, if there are any, and the network; returns it and all their histories."""
    teachers, histories = (), {}
    if recipe.teachers:
        print(f"\n1 of 2: {recipe.teachers} teachers, each without a tenth of the lesions")
        teachers, histories = fit_teachers(training, recipe, seed, checkpoints, identity)
        print("\n2 of 2: the student, which is kept")
    print("No score until the end: it learns from every training lesion.", flush=True)
    model, histories["student"] = fit(
        training.pixels,
        training.labels,
        recipe,
        seed,
        teachers=teachers,
        checkpoint=Checkpoint(checkpoints / "student.npz", identity),
        report=Progress("student", recipe.epochs),
    )
    return model, histories


def checkpoints_of(output):
    """The folder of the checkpoints of a training that is not finished."""
    return output.parent / f".{output.stem}-checkpoints"


def is_unfinished(output):
    """Whether there is a checkpoint to go on from."""
    return any(checkpoints_of(output).glob("*.npz"))


def identity_of(data, parts, recipe, seed):
    """What a checkpoint must share with the training that goes on from it; a dict for JSON."""
    return {
        "data checksum": data.sha256,
        "split": checksum_of(parts),
        "seed": seed,
        "recipe": asdict(recipe),
    }


def calibrate(model, calibration_part, training_part):
    """Make the probabilities honest, and fit the facts that decisions go by.

    The order is that of their use: the file's own probabilities, the mean of eight views, its
    temperature, the rest.

    Args:
        model: takes raw pixels; its last layer is changed in place.
        calibration_part: `Dataset` that no choice about the model has touched.
        training_part: `Dataset`, whose images tell what a dermatoscopic image looks like.

    Returns:
        dict of HDF5 attributes, for `save_model`.
    """
    pixels, labels = calibration_part.pixels, calibration_part.labels
    fold_calibration(model, *fit_bias_and_temperature(probabilities_of(model, pixels), labels))
    chosen = one_image_per_lesion(calibration_part.lesion_ids, pixels)
    facts = fit_decision_facts(
        view_probabilities(model, pixels).mean(axis=0),
        labels,
        chosen,
        class_shares=np.bincount(labels, minlength=len(CODES)) / len(labels),
    )
    outlier_detector = fit_outlier_detector(
        training_part.pixels, training_part.labels, pixels[chosen]
    )
    return facts.to_attributes() | outlier_detector.to_attributes()


# --- What is written down --------------------------------------------------------------------


def training_facts(data, parts, recipe, seed):
    """Gather what a reader of the model file needs to know of its making.

    Returns:
        dict that JSON can hold; `rows_may_share_lesions` is True where images of one lesion may
        stand on both sides of the split and the scores are therefore inflated.
    """
    lesions = {}
    if data.lesion_ids is not None:
        lesions = {part: len(set(data.lesion_ids[parts == part])) for part in PARTS}
    return {
        "data": data.source,
        "data_sha256": data.sha256,
        "split_sha256": checksum_of(parts),
        "rows_may_share_lesions": shared_lesions(data.lesion_ids, parts) != 0,
        "images": {part: int((parts == part).sum()) for part in PARTS},
        "lesions": lesions,
        "seed": seed,
        "recipe": asdict(recipe),
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in ("keras", "numpy", "pillow")},
            "tensorflow": _tensorflow_version(),
        },
    }


def _tensorflow_version():
    import tensorflow as tf

    return tf.__version__


def write_scores(folder, path, data, parts):
    """Score the model file, write metrics.json and the pictures; returns what the former holds."""
    metrics, labels, eight = score_file(path, data, parts)
    text = json.dumps(metrics, indent=1, ensure_ascii=False) + "\n"
    (folder / "metrics.json").write_text(text, encoding="utf-8")
    pictures = {
        "confusion_matrix": draw_confusion_matrix(
            metrics["test"]["eight_views"]["confusion_matrix"]
        ),
        "roc_curves": draw_roc_curves(labels, eight),
        "reliability": draw_reliability(labels, eight, "eight views"),
    }
    for name, picture in pictures.items():
        picture.savefig(folder / "figures" / f"{name}.png", dpi=120)
    return metrics
