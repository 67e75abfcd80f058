"""Score a recipe on the training part alone, with cross-validation grouped by lesion.

    python -m scripts.cross_validate --seed 1
    python -m scripts.cross_validate --fold 0 1 2 3 4 --set dropout=0.2
    python -m scripts.cross_validate --seed 3 --teacher-seeds 1 2 --set mixup=0.4 epochs=150

Use these scores to choose settings of the training, so that the calibration and test parts stay
unseen; docs/experiments.md has the table. It uses one thread, so that two runs side by side use two
cores and the results do not depend on the number of cores. Checkpoints are kept in
runs/cross_validation/, to reuse teachers and to continue after an interruption.

Unlike in train.py, the teachers learn from every lesion that is not held out.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lesion_lens import ROOT
from lesion_lens.model.backends import chosen_backend
from lesion_lens.model.decisions import divide_by_prior
from lesion_lens.model.errors import LesionLensError
from lesion_lens.training.backends import use_one_thread
from lesion_lens.training.checkpoint import Checkpoint
from lesion_lens.training.data import Dataset, read_dataset
from lesion_lens.training.download import find_data
from lesion_lens.training.evaluation import probabilities_of, view_probabilities
from lesion_lens.training.fitting import fit
from lesion_lens.training.metrics import (
    MELANOMA,
    binary_auc,
    log_loss,
    malignancy,
    sensitivity_at_specificity,
)
from lesion_lens.training.progress import Progress
from lesion_lens.training.recipe import Recipe
from lesion_lens.training.split import lesion_folds, split_by_lesion
from skin_cancer_detection import CODES

if TYPE_CHECKING:
    import keras

FOLDS = 5
RUNS = ROOT / "runs" / "cross_validation"


def held_out_scores(
    labels: NDArray[np.int64], probabilities: NDArray[np.floating], prior: NDArray[np.float64]
) -> dict[str, float]:
    """Compute the scores for comparing recipes, by name and without intervals.

    Args:
        labels: (N,), 0–6.
        probabilities: (N, 7), not calibrated.
        prior: (7,), the class shares of the training folds.
    """
    classes = range(len(CODES))
    balanced = divide_by_prior(probabilities, prior).argmax(axis=1)
    is_malignant, risk = malignancy(labels, probabilities)
    scores = {
        "macro AUC": np.mean([binary_auc(labels == c, probabilities[:, c]) for c in classes]),
        "accuracy": np.mean(probabilities.argmax(axis=1) == labels),
        "balanced": np.mean([np.mean(balanced[labels == c] == c) for c in classes]),
        "mel at 0.80": sensitivity_at_specificity(
            labels == MELANOMA, probabilities[:, MELANOMA], 0.80
        ),
        "malignant AUC": binary_auc(is_malignant, risk),
        "log loss": log_loss(labels, probabilities),
    }
    return {name: float(score) for name, score in scores.items()}


def fit_once(
    kept: Dataset,
    recipe: Recipe,
    seed: int,
    folder: Path,
    taught_by: Sequence[tuple[Recipe, int]] = (),
) -> keras.Model:
    """Fit a network, or load it from the checkpoint of an earlier run with the same settings.

    Args:
        kept: the images to learn from.
        recipe, seed: as for `fit`.
        folder: for the checkpoints.
        taught_by: recipe and seed of each teacher, which is fitted in the same way.

    Returns:
        A model that takes raw pixels.
    """
    teachers = [fit_once(kept, *teacher, folder) for teacher in taught_by]
    identity = {
        "data checksum": kept.sha256,
        "seed": seed,
        "recipe": asdict(recipe),
        "backend": chosen_backend(),
        "teachers": [[asdict(teacher), number] for teacher, number in taught_by],
    }
    checksum = hashlib.sha256(json.dumps(identity).encode()).hexdigest()
    name = f"seed {seed}" + "".join(f", of {number}" for _, number in taught_by)
    folder.mkdir(parents=True, exist_ok=True)
    model, _ = fit(
        kept.pixels,
        kept.labels,
        recipe,
        seed,
        checkpoint=Checkpoint(folder / f"{checksum[:16]}.npz", identity),
        report=Progress(name, recipe.epochs),
        teachers=teachers,
    )
    return model


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--csv", type=Path, help="as for train.py; also HAM10000_DIR")
    parser.add_argument("--metadata", type=Path)
    parser.add_argument(
        "--fold",
        type=int,
        nargs="+",
        default=[0],
        choices=range(FOLDS),
        help="fold to hold out; for several, one network for each and the mean of the scores",
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--teacher-seeds", type=int, nargs="*", default=[])
    parser.add_argument("--teacher-epochs", type=int, default=Recipe.epochs)
    parser.add_argument(
        "--set",
        nargs="*",
        default=[],
        metavar="NAME=VALUE",
        help="settings of the Recipe in recipe.py",
    )
    parser.add_argument("--runs", type=Path, default=RUNS, help="folder for the checkpoints")
    options = parser.parse_args()
    if len(set(options.fold)) < len(options.fold):
        parser.error("--fold names a fold twice")
    kinds = {name: type(value) for name, value in asdict(Recipe()).items()}
    options.recipe = replace(Recipe(), teachers=0)
    for setting in options.set:
        name, _, value = setting.partition("=")
        if name not in kinds:
            parser.error(f"--set {setting}: a recipe has {', '.join(kinds)}")
        try:
            options.recipe = replace(options.recipe, **{name: kinds[name](value)})
        except ValueError:
            parser.error(f"--set {setting}: {name} is a number, such as {getattr(Recipe(), name)}")
    return options


def main() -> None:
    """Fit on the other folds of the training part, and print the scores on the held-out fold."""
    options = parse_arguments()
    folder = Path(os.environ.get("HAM10000_DIR") or ROOT / "data")
    try:
        use_one_thread()
        data = read_dataset(*find_data(options.csv, options.metadata, folder))
    except LesionLensError as error:
        sys.exit(str(error))
    data = data.only(split_by_lesion(data.lesion_ids, data.labels) == "training")
    fold_of = lesion_folds(data.lesion_ids, data.labels, FOLDS)
    try:
        results = [
            run_fold(options, data.only(fold_of != fold), data.only(fold_of == fold))
            for fold in options.fold
        ]
    except LesionLensError as error:
        sys.exit(str(error))
    for name, first in results[0].items():
        # Average the scores, because the probabilities of two networks cannot be ranked together.
        scores = {key: np.mean([one[name][key] for one in results]) for key in first}
        print(f"{name:15}  " + "  ".join(f"{key} {value:.3f}" for key, value in scores.items()))


def run_fold(
    options: argparse.Namespace, kept: Dataset, held_out: Dataset
) -> dict[str, dict[str, float]]:
    """Fit a network to the kept images and return its scores, by the row's name."""
    print(f"{len(kept.labels):,} images to train on, {len(held_out.labels):,} held out", flush=True)
    begin = time.monotonic()
    teacher_recipe = replace(options.recipe, epochs=options.teacher_epochs)
    taught_by = [(teacher_recipe, seed) for seed in options.teacher_seeds]
    model = fit_once(kept, options.recipe, options.seed, options.runs, taught_by)
    print(f"{(time.monotonic() - begin) / 60:.1f} min")
    prior = np.bincount(kept.labels, minlength=len(CODES)) / len(kept.labels)
    rows = {
        "one view": (held_out.labels, probabilities_of(model, held_out.pixels)),
        "eight views": (
            held_out.labels,
            view_probabilities(model, held_out.pixels).mean(axis=0),
        ),
        "training images": (kept.labels, probabilities_of(model, kept.pixels)),
    }
    return {
        name: held_out_scores(labels, probabilities, prior)
        for name, (labels, probabilities) in rows.items()
    }


if __name__ == "__main__":
    main()
