"""The teachers: networks fitted side by side, each without another tenth of the lesions."""

import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import numpy as np

from lesion_lens.training.checkpoint import Checkpoint
from lesion_lens.training.errors import TrainingError
from lesion_lens.training.fitting import fit
from lesion_lens.training.progress import Progress
from lesion_lens.training.split import lesion_folds
from skin_cancer_detection import build_model

HELD_OUT_FOLDS = 10  # a teacher leaves out one of these


def fit_teachers(data, recipe, seed, folder, identity, workers=None):
    """Fit networks of the same shape, side by side, each without another tenth of the lesions.

    What a teacher left out tells how good it is while it is trained. Each has a process and a core
    of its own, because one network of this size keeps no second core busy; so the result does not
    depend on how many there are.

    Args:
        data: `Dataset`, the training part alone.
        recipe: `Recipe`; `recipe.teachers` says how many.
        seed: the teachers have the numbers after it.
        folder: where their checkpoints are kept; those that are there are gone on from.
        identity: dict, see `Checkpoint`.
        workers: processes at once; None for one a core.

    Returns:
        teachers: list of models that take raw pixels.
        histories: dict of name -> history, see `fit`.

    Raises:
        TrainingError: a teacher diverged, its checkpoint is of another fit, or its process died.
    """
    names = [f"teacher {number + 1}" for number in range(recipe.teachers)]
    fold_of = lesion_folds(data.lesion_ids, data.labels, HELD_OUT_FOLDS)
    for label in np.unique(data.labels):
        if len(np.unique(fold_of[data.labels == label])) < HELD_OUT_FOLDS:
            fold_of[data.labels == label] = -1  # too few lesions to spare any
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


def _start_worker(stop):
    global _stop  # noqa: PLW0603 (an initializer has no other place to leave what it was given)
    _stop = stop
    # First of all, as the import below takes seconds.
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent decides
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def _end_with_parent():
    """Without this a worker whose parent was killed would train on, and then wait for ever."""
    multiprocessing.parent_process().join()
    os._exit(1)


def _fit_teacher(name, pixels, labels, held_out, recipe, seed, checkpoint):
    progress = Progress(name, recipe.epochs)

    def report(history):
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
