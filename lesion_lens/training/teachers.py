"""The teachers: networks fitted side by side, each leaving out a tenth of the lesions in turn."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lesion_lens.training.checkpoint import Checkpoint
from lesion_lens.training.data import Dataset
from lesion_lens.training.progress import History
from lesion_lens.training.recipe import Recipe
from lesion_lens.training.side_by_side import Fit, fit_side_by_side
from lesion_lens.training.split import lesion_folds

if TYPE_CHECKING:
    import keras

HELD_OUT_FOLDS = 10  # a teacher leaves out one of these


def fit_teachers(
    data: Dataset,
    recipe: Recipe,
    seed: int,
    folder: Path,
    identity: dict[str, Any],
    workers: int | None = None,
) -> tuple[list[keras.Model], dict[str, History]]:
    """Fit networks of the same shape, each leaving out a tenth of the lesions in turn.

    The lesions that a teacher leaves out are used to score it during training.

    Args:
        data: the training part alone.
        recipe: `recipe.teachers` says how many.
        seed: the teachers use the numbers after it; the student uses the seed itself.
        folder: for their checkpoints; a teacher that has one there is resumed.
        identity: see `Checkpoint`.
        workers: see `fit_side_by_side`.

    Returns:
        The teachers, which take raw pixels, and name -> history of each.

    Raises:
        TrainingError: see `fit_side_by_side`.
    """
    names = _names(recipe)
    fold_of = _held_out_folds(data)
    fits = [
        Fit(
            name,
            data.pixels,
            data.labels,
            fold_of == number % HELD_OUT_FOLDS,
            seed + 1 + number,
            _checkpoint(name, folder, identity),
        )
        for number, name in enumerate(names)
    ]
    teachers, histories = fit_side_by_side(fits, recipe, workers)
    return teachers, dict(zip(names, histories, strict=True))


def teachers_are_trained(recipe: Recipe, folder: Path, identity: dict[str, Any]) -> bool:
    """Whether each teacher has a checkpoint of its last epoch, so that none is left to train."""
    return all(
        len(_checkpoint(name, folder, identity).load([])) == recipe.epochs
        for name in _names(recipe)
    )


def _names(recipe: Recipe) -> list[str]:
    return [f"teacher {number + 1}" for number in range(recipe.teachers)]


def _checkpoint(name: str, folder: Path, identity: dict[str, Any]) -> Checkpoint:
    return Checkpoint(folder / f"{name.replace(' ', '-')}.npz", identity)


def _held_out_folds(data: Dataset) -> NDArray[np.int64]:
    """Return the fold of each image, 0–9; -1 if its class has too few lesions to leave any out."""
    fold_of = lesion_folds(data.lesion_ids, data.labels, HELD_OUT_FOLDS)
    for label in np.unique(data.labels):
        if len(np.unique(fold_of[data.labels == label])) < HELD_OUT_FOLDS:
            fold_of[data.labels == label] = -1
    return fold_of
