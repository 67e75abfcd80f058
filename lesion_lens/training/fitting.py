"""Fitting the network: the recipe, its augmentation, and distillation from teachers.

A network is fitted to labels alone (a teacher) or to labels and the teachers' opinions (the
student, which is what is kept). Knows no files of data and no command line.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from lesion_lens.training.augmentation import draw_epoch
from lesion_lens.training.checkpoint import SAVE_EVERY
from lesion_lens.training.errors import TrainingError
from lesion_lens.training.metrics import binary_auc, log_loss
from lesion_lens.training.progress import WATCH_EVERY
from skin_cancer_detection import CODES, build_model


def fit(pixels, labels, recipe, seed, *, teachers=(), watch=None, checkpoint=None, report=None):
    """Fit a fresh network to labels, and to the teachers' opinions where there are any.

    What comes out is the moving average of the weights with its BatchNormalization measured anew;
    no epoch is picked.

    Args:
        pixels: uint8 (N, 28, 28, 3), RGB, 0–255.
        labels: int (N,), 0–6.
        recipe: `Recipe`.
        seed: fixes weights, order, augmentation and dropout; the same seed on the same machine
            gives the same model, in one go or resumed.
        teachers: models that take raw pixels and whose mean opinion is learnt; none for a teacher.
        watch: (pixels, labels) of held-out images, scored now and then; None for no such score.
        checkpoint: `Checkpoint` to go on from and to keep up to date; None for none.
        report: called after each epoch with the history so far; None for silence.

    Returns:
        The model, taking raw pixels, and its history: a list of dicts, one an epoch, with `loss`
        and now and then `held_out_log_loss` and `held_out_macro_auc`.

    Raises:
        TrainingError: the loss is no longer a number.
    """
    import keras
    import tensorflow as tf

    tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(seed)
    targets = np.eye(len(CODES), dtype=np.float32)[labels]
    model, average = build_model(recipe.dropout), build_model(recipe.dropout)
    average.set_weights(model.get_weights())
    optimizer = _optimizer(recipe, max(1, len(pixels) // recipe.batch_size))
    optimizer.build(model.trainable_variables)
    # `variables` has what `weights` lacks: the state of the dropout's random numbers.
    variables = [*model.variables, *average.variables, *optimizer.variables]
    history = checkpoint.load(variables) if checkpoint else []
    run_epoch = _compile_epoch(model, average, teachers, optimizer, recipe)

    def draw(epoch):
        return draw_epoch(pixels, targets, recipe, np.random.default_rng([seed, epoch]))

    with ThreadPoolExecutor(1) as pool:  # draws the next epoch while this one is run
        drawn = pool.submit(draw, len(history))
        for epoch in range(len(history) + 1, recipe.epochs + 1):
            arrays = drawn.result()
            if epoch < recipe.epochs:
                drawn = pool.submit(draw, epoch)
            loss = float(run_epoch(*map(tf.constant, arrays)))
            if not np.isfinite(loss):
                raise TrainingError(
                    f"The training diverged in epoch {epoch}: lower learning_rate in fitting.py."
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


def _optimizer(recipe, steps):
    """AdamW, its rate warmed up over the first epochs and then falling by a cosine to nothing."""
    import keras

    warm_up = min(recipe.warm_up_epochs, recipe.epochs // 2) * steps
    rate = keras.optimizers.schedules.CosineDecay(
        recipe.learning_rate / 100 if warm_up else recipe.learning_rate,
        decay_steps=recipe.epochs * steps - warm_up,
        warmup_target=recipe.learning_rate if warm_up else None,
        warmup_steps=warm_up,
    )
    return keras.optimizers.AdamW(rate, weight_decay=recipe.weight_decay)


def _compile_epoch(model, average, teachers, optimizer, recipe):
    """Compile one pass over the arrays of `draw_epoch`; it returns the mean loss.

    One call an epoch: calling for each batch costs as much again as the computing.
    """
    import tensorflow as tf

    @tf.function(reduce_retracing=True)
    def run_epoch(pixels, targets, gains, offsets, shares):
        total = tf.constant(0.0)
        for step in tf.range(len(pixels)):
            images = tf.cast(pixels[step], tf.float32) / 255
            images = images * gains[step][:, None, None] + offsets[step][:, None, None]
            images = _mix(tf.clip_by_value(images, 0, 1), shares[step][:, None, None, None])
            target = _mix(targets[step], shares[step][:, None])
            # The teachers see what the student sees, the very turn, jitter and mixture of it: so
            # it learns a function and not one opinion on each image (Beyer et al., CVPR 2022).
            opinions = [teacher(255 * images, training=False) for teacher in teachers]
            with tf.GradientTape() as tape:
                probabilities = model(images, training=True)
                loss = distillation_loss(target, opinions, probabilities, recipe)
            gradients = tape.gradient(loss, model.trainable_variables)
            optimizer.apply(gradients, model.trainable_variables)
            done = tf.cast(optimizer.iterations, tf.float32)
            # An average that starts slowly would keep the fresh weights for a thousand steps.
            decay = tf.minimum(recipe.weight_average, (1 + done) / (10 + done))
            for mean, weight in zip(
                average.trainable_variables, model.trainable_variables, strict=True
            ):
                mean.assign(decay * mean + (1 - decay) * weight)
            total += loss
        return total / tf.cast(len(pixels), tf.float32)

    return run_epoch


def _mix(array, shares):
    """Mix each image, or its target, with the one before it in the batch."""
    import tensorflow as tf

    return shares * array + (1 - shares) * tf.roll(array, 1, axis=0)


def distillation_loss(targets, opinions, probabilities, recipe):
    """Cross-entropy with the labels, and with the teachers' mean opinion where there are teachers.

    The opinion, and what is compared to it, are softened by the temperature, and their share is
    multiplied by its square, which keeps the two gradients in proportion (Hinton, Vinyals & Dean,
    arXiv:1503.02531).

    Args:
        targets: float32 (B, 7), each row summing to 1.
        opinions: list of float32 (B, 7), one a teacher; may be empty.
        probabilities: float32 (B, 7), the network's.
        recipe: `Recipe`.

    Returns:
        float32 (), the mean over the batch.
    """
    import tensorflow as tf

    def log(values):
        return tf.math.log(tf.maximum(values, 1e-7))

    loss = -tf.reduce_sum(targets * log(probabilities), axis=1)
    if opinions:
        opinion = tf.nn.softmax(log(tf.add_n(opinions) / len(opinions)) / recipe.temperature)
        softened = tf.nn.log_softmax(log(probabilities) / recipe.temperature)
        distance = -tf.reduce_sum(opinion * softened, axis=1) * recipe.temperature**2
        loss = (1 - recipe.teacher_share) * loss + recipe.teacher_share * distance
    return tf.reduce_mean(loss)


def measure_batch_normalization(model, pixels):
    """Measure again, layer after layer, the mean and variance that BatchNormalization goes by.

    Those that training keeps belong to other weights than the moving average's, and to dropout and
    mixtures that are not there when the network is used.

    Args:
        model: a `build_model()` that takes pixels of 0–1; changed in place.
        pixels: uint8 (N, 28, 28, 3), the training images.
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


def _through(layers, values):
    for layer in layers:
        values = layer(values, training=False)
    return np.asarray(values)


def scaled(pixels):
    """Bring pixels from 0–255 to the float32 0–1 that training uses; `fold_scale` undoes it."""
    return pixels.astype(np.float32) / 255


def fold_scale(model):
    """Put the division by 255 into the first convolution, so that the model takes raw pixels.

    Exact but for rounding: the convolution is linear before its bias, and its padding is zero on
    both scales.

    Args:
        model: a `build_model()` trained on 0–1; changed in place.
    """
    first = next(layer for layer in model.layers if layer.weights)
    kernel, bias = first.get_weights()
    first.set_weights([kernel / 255, bias])


def _held_out_scores(model, pixels, labels):
    probabilities = model.predict(scaled(pixels), batch_size=512, verbose=0)
    present = np.unique(labels)  # a tenth of a small data set may lack a class
    aucs = [binary_auc(labels == c, probabilities[:, c]) for c in present if len(present) > 1]
    return {
        "held_out_log_loss": log_loss(labels, probabilities),
        "held_out_macro_auc": float(np.mean(aucs)) if aucs else None,
    }
