"""Fitting several networks at once, each in its own process.

A network of this size cannot keep a second core busy. Each network has one thread, so the result
does not depend on how many are fitted at once.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lesion_lens.model.hidden_modules import hidden_from_keras
from lesion_lens.training.backends import use_one_thread
from lesion_lens.training.checkpoint import Checkpoint
from lesion_lens.training.errors import TrainingError
from lesion_lens.training.fitting import fit
from lesion_lens.training.progress import History, Progress
from lesion_lens.training.recipe import Recipe
from skin_cancer_detection import build_model

if TYPE_CHECKING:
    from multiprocessing.synchronize import Event

    import keras

_stop: Event  # in a worker process: set when it has to end


@dataclass(frozen=True)
class Fit:
    """One of the networks to fit.

    Attributes:
        name: for the console.
        pixels: (N, 28, 28, 3), RGB, 0–255.
        labels: (N,), 0–6.
        held_out: (N,), True for the images that it is scored on, not trained on; may be all False.
        seed: see `fit`.
        checkpoint: to resume from and to keep up to date; None to keep none.
    """

    name: str
    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    held_out: NDArray[np.bool_]
    seed: int
    checkpoint: Checkpoint | None = None


def fit_side_by_side(
    fits: Sequence[Fit], recipe: Recipe, workers: int | None = None
) -> tuple[list[keras.Model], list[History]]:
    """Fit networks to labels alone, each without the images that it holds out.

    Args:
        fits: at least one.
        recipe: for all of them; its number of teachers is ignored.
        workers: processes at once; None for one per core.

    Returns:
        The models, which take raw pixels, and their histories, in the order of `fits`.

    Raises:
        TrainingError: a fit diverged, its checkpoint is of a different fit, or its process died.
    """
    workers = min(workers or os.cpu_count() or 1, len(fits))
    context = multiprocessing.get_context("spawn")  # TensorFlow does not survive a fork
    stop = context.Event()
    with ProcessPoolExecutor(workers, context, _start_worker, (stop,)) as pool:
        try:
            jobs = [pool.submit(_fit_one, one, recipe) for one in fits]
            results = [job.result() for job in jobs]
        except BrokenProcessPool as error:
            checkpoint = fits[0].checkpoint
            remedy = checkpoint.how_to_continue() if checkpoint else "run the same command again."
            raise TrainingError(
                "A training process was killed, perhaps because memory ran out. To continue, "
                f"{remedy}"
            ) from error
        finally:
            stop.set()  # after an error or Ctrl-C, the others finish their current epoch
            pool.shutdown(cancel_futures=True)
    models = [build_model(recipe.dropout) for _ in fits]
    for model, (weights, _) in zip(models, results, strict=True):
        model.set_weights(weights)
    return models, [history for _, history in results]


# --- In a network's process ------------------------------------------------------------------


def _start_worker(stop: Event) -> None:
    global _stop  # noqa: PLW0603 (an initializer has no other way to keep its arguments)
    _stop = stop
    # First, because the imports in `use_one_thread` take seconds.
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the parent decides
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with hidden_from_keras():
        use_one_thread()


def _end_with_parent() -> None:
    """End this worker if its parent is killed; else it would finish, then wait for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None  # noqa: S101 (for mypy: this is a worker, so it has a parent)
    parent.join()
    os._exit(1)


def _fit_one(one: Fit, recipe: Recipe) -> tuple[list[NDArray[np.float32]], History]:
    """Fit one network without its held-out rows; return its weights and its history."""
    progress = Progress(one.name, recipe.epochs)

    def report(history: History) -> None:
        if _stop.is_set():
            raise TrainingError(f"The training of {one.name} was interrupted.")
        progress(history)

    kept, held_out = ~one.held_out, one.held_out
    model, history = fit(
        one.pixels[kept],
        one.labels[kept],
        recipe,
        one.seed,
        watch=(one.pixels[held_out], one.labels[held_out]) if held_out.any() else None,
        checkpoint=one.checkpoint,
        report=report,
    )
    return model.get_weights(), history
