"""Fitting one network: AdamW, mixup, a moving average of the weights, and distillation.

A network is fitted to labels alone (a teacher) or to labels and the teachers' predictions (the
student, which is the network that is kept). This module reads no data files and no command line.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lesion_lens.training.augmentation import Epoch, draw_epoch
from lesion_lens.training.backends import Step, begin_epoch, compile_epoch, make_reproducible
from lesion_lens.training.checkpoint import SAVE_EVERY, Checkpoint
from lesion_lens.training.errors import TrainingError
from lesion_lens.training.metrics import binary_auc, log_loss
from lesion_lens.training.progress import WATCH_EVERY, History
from lesion_lens.training.recipe import Recipe
from skin_cancer_detection import CODES, build_model

if TYPE_CHECKING:
    import keras


def fit(
    pixels: NDArray[np.uint8],
    labels: NDArray[np.int64],
    recipe: Recipe,
    seed: int,
    *,
    teachers: Sequence[keras.Model] = (),
    watch: tuple[NDArray[np.uint8], NDArray[np.int64]] | None = None,
    checkpoint: Checkpoint | None = None,
    report: Callable[[History], None] | None = None,
) -> tuple[keras.Model, History]:
    """Fit a new network to labels, and to the teachers' predictions if there are teachers.

    The result is the moving average of the weights, with the BatchNormalization statistics measured
    again. No epoch is selected.

    Args:
        pixels: (N, 28, 28, 3), RGB, 0–255.
        labels: (N,), 0–6.
        recipe: how to fit it.
        seed: fixes weights, order, augmentation and dropout; the same seed on the same machine
            gives the same model, whether uninterrupted or resumed.
        teachers: models that take raw pixels; the network learns their mean prediction. Empty when
            fitting a teacher.
        watch: pixels and labels of held-out images, scored every 10 epochs and at the end; None for
            no such scores.
        checkpoint: to resume from and to keep up to date; None to keep none.
        report: called after each epoch with the history so far; None for no reports.

    Returns:
        The model, which takes raw pixels, and its history, with one row for each epoch.

    Raises:
        TrainingError: the loss is no longer a number.
    """
    make_reproducible(seed)
    targets = np.eye(len(CODES), dtype=np.float32)[labels]
    model, average = build_model(recipe.dropout), build_model(recipe.dropout)
    average.set_weights(model.get_weights())
    optimizer = _optimizer(recipe, max(1, len(pixels) // recipe.batch_size))
    optimizer.build(model.trainable_variables)
    # Unlike `weights`, `variables` includes the state of the dropout's random numbers.
    variables = [*model.variables, *average.variables, *optimizer.variables]
    history = checkpoint.load(variables) if checkpoint else []
    run_epoch = compile_epoch(_step(model, average, teachers, optimizer, recipe, variables))

    def draw(epoch: int) -> Epoch:
        return draw_epoch(pixels, targets, recipe, np.random.default_rng([seed, epoch]))

    with ThreadPoolExecutor(1) as pool:  # draws the next epoch while this one runs
        drawn = pool.submit(draw, len(history))
        for epoch in range(len(history) + 1, recipe.epochs + 1):
            arrays = drawn.result()
            if epoch < recipe.epochs:
                drawn = pool.submit(draw, epoch)
            begin_epoch(seed, epoch)
            loss = run_epoch(*arrays)
            if not np.isfinite(loss):
                raise TrainingError(
                    f"The training diverged in epoch {epoch}: lower learning_rate in "
                    "lesion_lens/training/recipe.py."
                )
            history.append({"loss": loss})
            if watch and (epoch % WATCH_EVERY == 0 or epoch == recipe.epochs):
                measure_batch_normalization(average, pixels)
                history[-1] |= _held_out_scores(average, *watch)
            if checkpoint and (epoch % SAVE_EVERY == 0 or epoch == recipe.epochs):
                checkpoint.save(variables, history)
            if report:
                report(history)
    measure_batch_normalization(average, pixels)
    fold_scale(average)
    return average, history


def _optimizer(recipe: Recipe, steps: int) -> keras.optimizers.Optimizer:
    """Make AdamW; its learning rate warms up over the first epochs, then follows a cosine to 0.

    Args:
        steps: in an epoch.
    """
    import keras

    warm_up = min(recipe.warm_up_epochs, recipe.epochs // 2) * steps
    rate = keras.optimizers.schedules.CosineDecay(
        recipe.learning_rate / 100 if warm_up else recipe.learning_rate,
        decay_steps=recipe.epochs * steps - warm_up,
        warmup_target=recipe.learning_rate if warm_up else None,
        warmup_steps=warm_up,
    )
    return keras.optimizers.AdamW(rate, weight_decay=recipe.weight_decay)


def _step(
    model: keras.Model,
    average: keras.Model,
    teachers: Sequence[keras.Model],
    optimizer: keras.optimizers.Optimizer,
    recipe: Recipe,
    variables: Sequence[keras.Variable],
) -> Step:
    """Define what one step does with a batch of an `Epoch`'s arrays."""
    from keras import ops

    def prepare(
        pixels: Any, targets: Any, gains: Any, offsets: Any, shares: Any
    ) -> tuple[Any, ...]:
        images = ops.cast(pixels, "float32") / 255
        images = images * gains[:, None, None] + offsets[:, None, None]
        images = _mix(ops.clip(images, 0, 1), shares[:, None, None, None])
        target = _mix(targets, shares[:, None])
        # The teachers see exactly what the student sees: the same rotation, jitter and mixture.
        # So it learns a function, not one fixed prediction for each image (Beyer et al., CVPR
        # 2022).
        opinions = [teacher(255 * images, training=False) for teacher in teachers]
        return images, target, opinions

    def loss(images: Any, target: Any, opinions: Sequence[Any]) -> Any:
        return distillation_loss(target, opinions, model(images, training=True), recipe)

    def update(gradients: Sequence[Any]) -> None:
        optimizer.apply(gradients, model.trainable_variables)
        done = ops.cast(optimizer.iterations, "float32")
        # At full decay, the average would keep the initial weights for about a thousand steps.
        decay = ops.minimum(recipe.weight_average, (1 + done) / (10 + done))
        for mean, weight in zip(
            average.trainable_variables, model.trainable_variables, strict=True
        ):
            mean.assign(decay * mean + (1 - decay) * weight)

    return Step(prepare, loss, update, model.trainable_variables, variables)


def _mix(array: Any, shares: Any) -> Any:
    """Mix each image, or its target, with the one before it in the batch."""
    from keras import ops

    return shares * array + (1 - shares) * ops.roll(array, 1, axis=0)


def distillation_loss(
    targets: Any, opinions: Sequence[Any], probabilities: Any, recipe: Recipe
) -> Any:
    """Cross-entropy with the labels and, if there are teachers, with their mean prediction.

    For the teachers' term, both predictions are softened by the temperature. The term is multiplied
    by the square of the temperature, which keeps the two gradients in proportion (Hinton, Vinyals &
    Dean, arXiv:1503.02531).

    Args:
        targets: float32 (B, 7), each row summing to 1.
        opinions: float32 (B, 7), one for each teacher; may be empty.
        probabilities: float32 (B, 7), the network's.
        recipe: has the temperature and the teachers' share.

    Returns:
        float32 (), the mean over the batch.
    """
    from keras import ops

    def log(values: Any) -> Any:
        return ops.log(ops.maximum(values, 1e-7))

    loss = -ops.sum(targets * log(probabilities), axis=1)
    if opinions:
        opinion = ops.softmax(log(sum(opinions) / len(opinions)) / recipe.temperature)
        softened = ops.log_softmax(log(probabilities) / recipe.temperature)
        distance = -ops.sum(opinion * softened, axis=1) * recipe.temperature**2
        loss = (1 - recipe.teacher_share) * loss + recipe.teacher_share * distance
    return ops.mean(loss)


def measure_batch_normalization(model: keras.Model, pixels: NDArray[np.uint8]) -> None:
    """Measure again, layer by layer, the mean and variance that BatchNormalization uses.

    The values from training do not fit: they belong to weights other than the moving average, and
    to dropout and mixtures, which are absent when the network is used.

    Args:
        model: a `build_model()` that takes pixels of 0–1; changed in place.
        pixels: (N, 28, 28, 3), RGB, 0–255, the training images.
    """
    import keras

    since = 0
    batches = [scaled(batch) for batch in np.array_split(pixels, -(-len(pixels) // 512))]
    for place, layer in enumerate(model.layers):
        if isinstance(layer, keras.layers.BatchNormalization):
            between = model.layers[since:place]
            batches = [_through(between, batch) for batch in batches]
            values, since = np.concatenate(batches), place
            axes = tuple(range(values.ndim - 1))
            layer.moving_mean.assign(values.mean(axes, dtype=np.float64))
            layer.moving_variance.assign(values.var(axes, dtype=np.float64))


def _through(
    layers: Sequence[keras.layers.Layer], values: NDArray[np.float32]
) -> NDArray[np.float32]:
    from keras import ops

    for layer in layers:
        values = layer(values, training=False)
    return ops.convert_to_numpy(values)


def _held_out_scores(
    model: keras.Model, pixels: NDArray[np.uint8], labels: NDArray[np.int64]
) -> dict[str, float | None]:
    probabilities = model.predict(scaled(pixels), batch_size=512, verbose=0)
    present = np.unique(labels)  # a tenth of a small data set may lack a class
    aucs = [binary_auc(labels == c, probabilities[:, c]) for c in present if len(present) > 1]
    return {
        "held_out_log_loss": float(log_loss(labels, probabilities)),
        "held_out_macro_auc": float(np.mean(aucs)) if aucs else None,
    }


def scaled(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Scale pixels from 0–255 to the 0–1 that training uses; `fold_scale` undoes it."""
    return pixels.astype(np.float32) / np.float32(255)


def fold_scale(model: keras.Model) -> None:
    """Fold the division by 255 into the first convolution, so that the model takes raw pixels.

    Exact except for rounding: the convolution is linear before its bias, and its padding is zero
    on both scales.

    Args:
        model: a `build_model()` trained on 0–1; changed in place.
    """
    first = next(layer for layer in model.layers if layer.weights)
    kernel, bias = first.get_weights()
    first.set_weights([kernel / 255, bias])
