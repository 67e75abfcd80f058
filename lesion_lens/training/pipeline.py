"""The pipeline: from the data to a finished model file; also scoring a finished file again."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lesion_lens.model.backends import backend_version, chosen_backend
from lesion_lens.model.decisions import soften
from lesion_lens.model.errors import ModelFileError
from lesion_lens.model.facts import has_clinic_groups
from lesion_lens.model.files import check_model_file, save_model, write_training_facts
from lesion_lens.model.workspaces import remove_abandoned, workspace
from lesion_lens.training.calibration import (
    fit_bias_and_temperature,
    fit_decision_facts,
    fold_calibration,
    one_image_per_lesion,
)
from lesion_lens.training.checkpoint import Checkpoint, claimed
from lesion_lens.training.data import Dataset
from lesion_lens.training.errors import TrainingError, is_wrong_place, writing_remedy
from lesion_lens.training.evaluation import probabilities_of, score_file, view_probabilities
from lesion_lens.training.fitting import fit
from lesion_lens.training.picture_rules import fit_picture_rules
from lesion_lens.training.plots import (
    draw_confusion_matrix,
    draw_learning_curves,
    draw_reliability,
    draw_roc_curves,
)
from lesion_lens.training.progress import History, Progress
from lesion_lens.training.recipe import SEED, Recipe
from lesion_lens.training.split import PARTS, shared_lesions, split_checksum
from lesion_lens.training.teachers import fit_teachers, teachers_are_trained
from skin_cancer_detection import CODES

if TYPE_CHECKING:
    import keras


def train_model(
    data: Dataset,
    parts: NDArray[np.str_],
    output: Path,
    recipe: Recipe,
    seed: int = SEED,
    resume: bool = False,
) -> dict[str, Any]:
    """Fit, calibrate and score a model, and write all files.

    Args:
        data: all three parts.
        parts: (N,), from `split_by_lesion` or `read_split`.
        output: path of the model file; metrics.json and figures/ are written beside it.
        recipe: how to fit the networks.
        seed: of the student; its teachers use the numbers that follow.
        resume: continue from the checkpoints of an interrupted training with the same settings.

    Returns:
        The contents of metrics.json.

    Raises:
        ModelFileError: the model cannot be written.
        TrainingError: the output cannot be written, another training is writing it, the training
            diverged, there is nothing to resume, or there are checkpoints but `resume` is False.
    """
    checkpoints = checkpoints_of(output)
    with claimed(checkpoints, output):
        return _train(data, parts, output, recipe, seed, resume, checkpoints)


def _train(
    data: Dataset,
    parts: NDArray[np.str_],
    output: Path,
    recipe: Recipe,
    seed: int,
    resume: bool,
    checkpoints: Path,
) -> dict[str, Any]:
    """Train with the checkpoints locked; see `train_model`."""
    if resume and not is_unfinished(output):
        raise TrainingError(
            f"{checkpoints} has no checkpoint, so there is nothing to resume: train without "
            "--resume."
        )
    if is_unfinished(output) and not resume:
        raise TrainingError(
            f"{checkpoints} holds an unfinished training: continue it with --resume, or remove it "
            "to start again."
        )
    identity = identity_of(data, parts, recipe, seed)
    for path in checkpoints.glob("*.npz"):
        Checkpoint(path, identity).check()  # check all before resuming any
    remove_abandoned(output.parent)
    model, histories = _fit(data.only(parts == "training"), recipe, seed, checkpoints, identity)
    attributes = calibrate(model, data.only(parts == "calibration"), data.only(parts == "training"))
    with staging(output.parent) as folder:
        path = folder / output.name
        save_model(model, path, training_facts(data, parts, recipe, seed), attributes)
        (folder / "figures").mkdir()
        curves = draw_learning_curves(histories)
        curves.savefig(folder / "figures" / "learning_curves.png", dpi=120)
        metrics = _write_scores(folder, path, data, parts)
        write_training_facts(path, metrics)  # now with the scores, which the pages show
    for checkpoint in checkpoints.glob("*.npz"):
        checkpoint.unlink()
    return metrics


def evaluate_again(path: Path, data: Dataset, parts: NDArray[np.str_]) -> dict[str, Any]:
    """Score a model file on the test part again, and rewrite metrics.json and the plots.

    Args and raises: see `score_file`.

    Returns:
        The contents of metrics.json.
    """
    facts = check_model_file(path)  # before a folder is made beside it
    with staging(path.parent) as folder:
        metrics = _write_scores(folder, path, data, parts)
    before = (facts.get("test") or {}).get("subgroups")
    if has_clinic_groups(before) and "clinic" not in data.groups:
        print(
            "WARNING: the sources of these images are not known, so metrics.json no longer has the "
            "scores by source. To get them back, pass the sources with --sources."
        )
    if metrics["data_sha256"] != data.sha256:
        print(other_rows_warning(path))
    return metrics


def other_rows_warning(path: Path) -> str:
    """Warn that a model is scored on rows that differ from those that it was trained on."""
    return (
        f"WARNING: {path} was trained on rows that differ from these, for example because they "
        "were made from smaller copies of the images; its scores differ a little, too."
    )


def check_facts_can_be_added(path: Path) -> dict[str, Any]:
    """Check that `add_facts` will work on a model file and the metrics.json beside it.

    Returns:
        The facts of the model file.

    Raises:
        ModelFileError: the file is invalid.
        TrainingError: metrics.json is damaged or of a different model, or the folder is read-only.
    """
    facts = check_model_file(path)
    _metrics_beside(path, facts)
    with staging(path.parent):
        pass
    return facts


def add_facts(path: Path, facts: dict[str, Any]) -> None:
    """Add facts that were found later to a model file and to the metrics.json beside it.

    Args:
        path: the HDF5 file; each of the two files is replaced as a whole.
        facts: by name, JSON-serialisable.

    Raises:
        ModelFileError, TrainingError: see `check_facts_can_be_added`.
    """
    of_model = check_model_file(path)
    metrics = _metrics_beside(path, of_model)
    with staging(path.parent) as folder:
        shutil.copyfile(path, folder / path.name)
        write_training_facts(folder / path.name, of_model | facts)
        _write_metrics(folder, metrics | facts)


def _metrics_beside(path: Path, facts: dict[str, Any]) -> dict[str, Any]:
    """Read the metrics.json beside a model file; if there is none, return the file's own facts."""
    source = path.with_name("metrics.json")
    if not source.exists():
        return facts
    try:
        metrics = json.loads(source.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        metrics = None
    same = ("split_sha256", "seed", "recipe")
    if not isinstance(metrics, dict) or any(metrics.get(x) != facts.get(x) for x in same):
        raise TrainingError(
            f"{source} is damaged or not of {path.name}: write it again with `python train.py "
            f"--evaluate --output {path}`."
        )
    return metrics


# --- The steps -------------------------------------------------------------------------------


def _fit(
    training: Dataset, recipe: Recipe, seed: int, checkpoints: Path, identity: dict[str, Any]
) -> tuple[keras.Model, dict[str, History]]:
    """Fit the teachers, if any, and the network; return the network and all histories."""
    teachers: list[keras.Model] = []
    histories: dict[str, History] = {}
    if recipe.teachers:
        kind = "teacher," if recipe.teachers == 1 else "teachers, each"
        how = "trained without a tenth of the lesions"
        if teachers_are_trained(recipe, checkpoints, identity):
            how = "already trained"
        print(f"\n1 of 2: {recipe.teachers} {kind} {how}", flush=True)
        teachers, histories = fit_teachers(training, recipe, seed, checkpoints, identity)
        print("\n2 of 2: the student, which is the final network")
    print("No scores until the end, because it learns from every training lesion.", flush=True)
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


def calibrate(
    model: keras.Model, calibration_part: Dataset, training_part: Dataset
) -> dict[str, Any]:
    """Calibrate the probabilities, and fit the facts that decisions are based on.

    The steps follow the order of use: the file's own probabilities, the mean of eight views, its
    temperature, the rest.

    Args:
        model: takes raw pixels; its last layer is changed in place.
        calibration_part: not used for any earlier choice about the model.
        training_part: its images show what dermatoscopic images look like.

    Returns:
        HDF5 attributes by name, for `save_model`.
    """
    pixels, labels = calibration_part.pixels, calibration_part.labels
    fold_calibration(model, *fit_bias_and_temperature(probabilities_of(model, pixels), labels))
    chosen = one_image_per_lesion(calibration_part.lesion_ids, pixels)
    means = view_probabilities(model, pixels).mean(axis=0)
    facts = fit_decision_facts(
        means,
        labels,
        chosen,
        class_shares=np.bincount(labels, minlength=len(CODES)) / len(labels),
    )
    rules = fit_picture_rules(
        training_part,
        pixels[chosen],
        soften(means[chosen], facts.eight_view_temperature),
        labels[chosen],
        facts,
    )
    return facts.to_attributes() | rules.to_attributes()


def training_facts(
    data: Dataset, parts: NDArray[np.str_], recipe: Recipe, seed: int
) -> dict[str, Any]:
    """Collect the facts on how a model file was made, as a JSON-serialisable dict.

    Returns:
        `rows_may_share_lesions` is True if images of one lesion may be on both sides of the split,
        so that the scores are inflated. `test_images_sharing_lesions` counts the test images whose
        lesion is also in another part; None if not known. The other facts need no explanation.
    """
    shared = shared_lesions(data.lesion_ids, parts)
    lesions = {}
    if data.lesion_ids is not None:
        lesions = {part: len(set(data.lesion_ids[parts == part])) for part in PARTS}
    return {
        "data": data.source,
        "data_sha256": data.sha256,
        "split_sha256": split_checksum(parts),
        "rows_may_share_lesions": shared != 0,
        "test_images_sharing_lesions": shared,
        "images": {part: int((parts == part).sum()) for part in PARTS},
        "lesions": lesions,
        "seed": seed,
        "recipe": asdict(recipe),
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in ("keras", "numpy", "pillow")},
            **backend_version(),
        },
    }


def _write_scores(
    folder: Path, path: Path, data: Dataset, parts: NDArray[np.str_]
) -> dict[str, Any]:
    """Score the model file, write metrics.json and the plots, and return the metrics."""
    metrics, labels, eight = score_file(path, data, parts)
    _write_metrics(folder, metrics)
    (folder / "figures").mkdir(exist_ok=True)
    draw_scores(folder / "figures", metrics["test"], labels, eight)
    return metrics


def draw_scores(
    folder: Path,
    scores: dict[str, Any],
    labels: NDArray[np.int64],
    probabilities: NDArray[np.float64],
) -> None:
    """Draw the confusion matrix, the ROC curves and the reliability of eight views.

    Args:
        folder: where to write the plots.
        scores: from `score_images`.
        labels: (N,), 0–6.
        probabilities: (N, 7).
    """
    plots = {
        "confusion_matrix": draw_confusion_matrix(scores["eight_views"]["confusion_matrix"]),
        "roc_curves": draw_roc_curves(labels, probabilities),
        "reliability": draw_reliability(labels, probabilities, "eight views"),
    }
    for name, plot in plots.items():
        plot.savefig(folder / f"{name}.png", dpi=120)


def _write_metrics(folder: Path, metrics: dict[str, Any]) -> None:
    text = json.dumps(metrics, indent=1, ensure_ascii=False) + "\n"
    (folder / "metrics.json").write_text(text, encoding="utf-8")


@contextlib.contextmanager
def staging(target: Path) -> Iterator[Path]:
    """Yield a temporary folder; at the end, move its files to the target folder.

    Each file is replaced as a whole, and none is replaced if anything fails inside the block.

    Args:
        target: the folder; created if missing.

    Raises:
        TrainingError: the folder cannot be written, or the disk is full.
        ModelFileError: raised again from the block, naming the final path.
    """
    try:
        target.mkdir(parents=True, exist_ok=True)
        with workspace(target) as place:
            folder = place / "new"
            folder.mkdir()
            try:
                yield folder
            except ModelFileError as error:  # it names the temporary folder
                sentence = str(error).replace(str(folder), str(target))
                raise ModelFileError(sentence) from error
            files = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
            for file in sorted(files, key=lambda file: file.suffix == ".h5"):  # the model last
                (target / file).parent.mkdir(exist_ok=True)
                os.replace(folder / file, target / file)
    except OSError as error:
        again = "then run the same command again; a training needs --resume."
        remedy = f"{writing_remedy(error)}, {again}"
        if is_wrong_place(error):
            remedy = "name another folder."
        raise TrainingError(
            f"{target} cannot be written ({error.strerror or error}): {remedy}"
        ) from error


# --- What an interrupted training leaves behind ----------------------------------------------


def is_unfinished(output: Path) -> bool:
    """Whether there is a checkpoint to resume from."""
    return any(checkpoints_of(output).glob("*.npz"))


def checkpoints_of(output: Path) -> Path:
    """Return the folder for the checkpoints of an unfinished training."""
    return output.parent / f".{output.stem}-checkpoints"


def identity_of(
    data: Dataset, parts: NDArray[np.str_], recipe: Recipe, seed: int
) -> dict[str, Any]:
    """Return what a checkpoint must share with the training that resumes it, JSON-serialisable."""
    return {
        "data checksum": data.sha256,
        "split": split_checksum(parts),
        "seed": seed,
        "recipe": asdict(recipe),
        "backend": chosen_backend(),  # each rounds differently
    }
