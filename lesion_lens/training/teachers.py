"""The teachers: networks fitted side by side, each without another tenth of the lesions."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lesion_lens.training.checkpoint import Checkpoint
from lesion_lens.training.data import Dataset
from lesion_lens.training.errors import TrainingError
from lesion_lens.training.fitting import fit
from lesion_lens.training.progress import History, Progress
from lesion_lens.training.recipe import Recipe
from lesion_lens.training.split import lesion_folds
from skin_cancer_detection import build_model

if TYPE_CHECKING:
    from multiprocessing.synchronize import Event

    import keras

HELD_OUT_FOLDS = 10  # a teacher leaves out one of these

_stop: Event  # in a teacher's process: set when it has to end


def fit_teachers(
    data: Dataset,
    recipe: Recipe,
    seed: int,
    folder: Path,
    identity: dict[str, Any],
    workers: int | None = None,
) -> tuple[list[keras.Model], dict[str, History]]:
    """Fit networks of the same shape, side by side, each without another tenth of the lesions.

    What a teacher left out tells how good it is while it is trained. Each has a process and a core
    of its own, because one network of this size keeps no second core busy; so the result does not
    depend on how many there are.

    Args:
        data: the training part alone.
        recipe: `recipe.teachers` says how many.
        seed: the teachers have the numbers after it.
        folder: where their checkpoints are kept; a teacher that has one there is resumed.
        identity: see `Checkpoint`.
        workers: processes at once; None for one a core.

    Returns:
        The teachers, which take raw pixels, and name -> history of each.

    Raises:
        TrainingError: a teacher diverged, its checkpoint is of another fit, or its process died.
    """
    names = [f"teacher {number + 1}" for number in range(recipe.teachers)]
    fold_of = _held_out_folds(data)
    workers = min(workers or os.cpu_count() or 1, recipe.teachers)
    context = multiprocessing.get_context("spawn")  # TensorFlow does not survive a fork
    stop = context.Event()
    with ProcessPoolExecutor(workers, context, _start_worker, (stop,)) as pool:
        try:
            jobs = [
                pool.submit(
                    _fit_teacher,
                    name,
                    data.pixels,
                    data.labels,
                    fold_of == number % HELD_OUT_FOLDS,
                    recipe,
                    seed + 1 + number,  # the student has the seed itself
                    Checkpoint(folder / f"{name.replace(' ', '-')}.npz", identity),
                )
                for number, name in enumerate(names)
            ]
            results = [job.result() for job in jobs]
        except BrokenProcessPool as error:
            raise TrainingError(
                "A teacher’s process was ended from outside, perhaps for want of memory: go on "
                "with --resume."
            ) from error
        finally:
            stop.set()  # after an error or Ctrl-C the others end with the epoch that they are in
            pool.shutdown(cancel_futures=True)
    teachers = [build_model(recipe.dropout) for _ in names]
    for teacher, (weights, _) in zip(teachers, results, strict=True):
        teacher.set_weights(weights)
    histories = {name: history for name, (_, history) in zip(names, results, strict=True)}
    return teachers, histories


def _held_out_folds(data: Dataset) -> NDArray[np.int64]:
    """The fold of each image, 0–9; -1 for a class of too few lesions to leave any of them out."""
    fold_of = lesion_folds(data.lesion_ids, data.labels, HELD_OUT_FOLDS)
    for label in np.unique(data.labels):
        if len(np.unique(fold_of[data.labels == label])) < HELD_OUT_FOLDS:
            fold_of[data.labels == label] = -1
    return fold_of


# --- In a teacher's process ------------------------------------------------------------------


def _start_worker(stop: Event) -> None:
    global _stop  # noqa: PLW0603 (an initializer has no other place to leave what it was given)
    _stop = stop
    # First of all, as the import below takes seconds.
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent decides
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def _end_with_parent() -> None:
    """Without this a worker whose parent was killed would train on, and then wait for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None  # this is a worker
    parent.join()
    os._exit(1)


def _fit_teacher(
    name: str,
    pixels: NDArray[np.uint8],
    labels: NDArray[np.int64],
    held_out: NDArray[np.bool_],
    recipe: Recipe,
    seed: int,
    checkpoint: Checkpoint | None,
) -> tuple[list[NDArray[np.float32]], History]:
    """Fit one teacher without the rows that are held out; returns its weights and its history."""
    progress = Progress(name, recipe.epochs)

    def report(history: History) -> None:
        if _stop.is_set():
            raise TrainingError(f"The training of {name} was interrupted: go on with --resume.")
        progress(history)

    kept = ~held_out
    model, history = fit(
        pixels[kept],
        labels[kept],
        recipe,
        seed,
        watch=(pixels[held_out], labels[held_out]) if held_out.any() else None,
        checkpoint=checkpoint,
        report=report,
    )
    return model.get_weights(), history
