"""Fitting the network: the recipe, its augmentation, and distillation from teachers.

A network is fitted to labels alone (a teacher) or to labels and the teachers' opinions (the
student, which is what is kept). Knows no files of data and no command line.
"""

import json
import multiprocessing
import os
import signal
import threading
import time
import zipfile
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from dataset import lesion_folds
from lesion_lens.model.errors import SkinCancerDetectionError
from scores import binary_auc, log_loss
from skin_cancer_detection import CODES, SIDE, build_model

WATCH_EVERY = 10  # epochs, as BatchNormalization has to be measured anew for it
HELD_OUT_FOLDS = 10  # a teacher leaves out one of these
SAVE_EVERY = 5  # epochs, so that an interruption costs no more than half a minute


class TrainingError(SkinCancerDetectionError):
    """A request for training that cannot be carried out."""


@dataclass(frozen=True)
class Recipe:
    """Everything that is chosen about training; docs/experiments.md says how it was chosen."""

    teachers: int = 2  # networks of the same shape whose mean opinion the student learns
    epochs: int = 200  # of each network
    batch_size: int = 64
    learning_rate: float = 2e-3  # the peak, reached after the warm-up; a cosine then takes it to 0
    warm_up_epochs: int = 5  # BatchNormalization's averages settle before the steps are large
    weight_decay: float = 0.05  # AdamW's; strong, as there are 77 parameters for each image
    dropout: float = 0.3
    mixup: float = 0.2  # both parameters of the Beta distribution (Zhang et al., ICLR 2018)
    weight_average: float = 0.999  # decay of the moving average of the weights, for each step
    min_scale: float = 0.8  # of the lesion's size
    max_scale: float = 1.15
    max_stretch: float = 0.1  # of one axis against the other
    max_shift: float = 2.5  # pixels, of 28
    max_brightness: float = 0.15  # of 1: the range of the contrast; that of the brightness is half
    max_colour: float = 0.08  # by which each channel is multiplied, on its own
    teacher_share: float = 0.7  # of the loss; the labels have the rest
    temperature: float = 2.0  # of the teachers' opinions in that share (Hinton et al., 2015)


def augment(pixels, recipe, rng):
    """Mirror, turn, scale and shift each image at random, as if the lesion had been taken again.

    A lesion has no right way up, so half are mirrored and all are turned by any angle. What comes
    in from outside the image is its own mirror image.

    Args:
        pixels: uint8 (N, 28, 28, 3), RGB, 0–255.
        recipe: `Recipe`.
        rng: numpy.random.Generator.

    Returns:
        A new array of the same shape and dtype.
    """
    count = len(pixels)
    margin = SIDE // 2
    padded = np.pad(pixels, ((0, 0), (margin, margin), (margin, margin), (0, 0)), "reflect")
    padded = np.where(rng.random((count, 1, 1, 1)) < 0.5, padded, padded[:, :, ::-1])
    angles = rng.uniform(0, 2 * np.pi, count)
    scales = 1 / np.exp(rng.uniform(np.log(recipe.min_scale), np.log(recipe.max_scale), count))
    stretch = np.exp(rng.uniform(-recipe.max_stretch, recipe.max_stretch, count) / 2)
    # Pillow wants the place in the padded image from which each pixel of the result comes:
    # rotation and scale about the middle, then the shift.
    cosines, sines = np.cos(angles) * scales, np.sin(angles) * scales
    a, b, d, e = cosines * stretch, -sines / stretch, sines * stretch, cosines / stretch
    middle = SIDE / 2
    shifts = rng.uniform(-recipe.max_shift, recipe.max_shift, (2, count))
    c = margin + middle - (a + b) * middle + shifts[0]
    f = margin + middle - (d + e) * middle + shifts[1]
    coefficients = np.stack([a, b, c, d, e, f], axis=1)
    return np.stack(
        [
            Image.fromarray(image).transform(
                (SIDE, SIDE), Image.Transform.AFFINE, matrix.tolist(), Image.Resampling.BICUBIC
            )
            for image, matrix in zip(padded, coefficients, strict=True)
        ]
    )


def draw_epoch(pixels, targets, recipe, rng):
    """Draw one epoch: every image once, augmented, in a random order, cut into batches.

    Args:
        pixels: uint8 (N, 28, 28, 3), 0–255.
        targets: float32 (N, 7), each row summing to 1.
        recipe: `Recipe`.
        rng: numpy.random.Generator.

    Returns:
        Five arrays that begin with (steps, batch): uint8 pixels (…, 28, 28, 3); float32 targets
        (…, 7); float32 gains and offsets of the channels (…, 3), for pixels of 0–1; float32 shares
        (…,) of an image in its mixture with the one before.
    """
    size = min(recipe.batch_size, len(pixels))
    steps = len(pixels) // size  # the few images that are left over stand elsewhere next time
    order = rng.permutation(len(pixels))[: steps * size]
    count = len(order)
    gains = 1 + rng.uniform(-recipe.max_colour, recipe.max_colour, (count, 3))
    contrast = 1 + rng.uniform(-recipe.max_brightness, recipe.max_brightness, (count, 1))
    brightness = rng.uniform(-recipe.max_brightness, recipe.max_brightness, (count, 1)) / 2
    mean = pixels.mean((0, 1, 2)) / 255
    offsets = brightness + mean * (1 - contrast) * gains
    shares = rng.beta(recipe.mixup, recipe.mixup, count) if recipe.mixup else np.ones(count)
    arrays = (
        augment(pixels[order], recipe, rng),
        targets[order],
        (gains * contrast).astype(np.float32),
        offsets.astype(np.float32),
        shares.astype(np.float32),
    )
    return tuple(array.reshape(steps, size, *array.shape[1:]) for array in arrays)


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


# --- Teachers --------------------------------------------------------------------------------


def fit_teachers(data, recipe, seed, folder, identity, workers=None):
    """Fit networks of the same shape, side by side, each without another tenth of the lesions.

    What a teacher left out tells how good it is while it is trained. Each has a process and a core
    of its own, because one network of this size keeps no second core busy; so the result does not
    depend on how many there are.

    Args:
        data: `dataset.Dataset`, the training part alone.
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


class Progress:
    """Prints a line now and then: the epoch, the loss, the held-out scores and the time left."""

    def __init__(self, name, epochs):
        self.name, self.epochs = name, epochs
        self.begin, self.first = time.monotonic(), None

    def __call__(self, history):
        done = len(history)
        if self.first is None:
            self.first = done - 1  # what was done before a resumption took no time
        if done % WATCH_EVERY and done != self.epochs:
            return
        pace = (time.monotonic() - self.begin) / (done - self.first)
        scores = [row["held_out_macro_auc"] for row in history if row.get("held_out_macro_auc")]
        watched = f"  held-out AUC {scores[-1]:.3f}, best {max(scores):.3f}" if scores else ""
        print(
            f"{self.name:9}  epoch {done:3}/{self.epochs}  loss {history[-1]['loss']:.3f}"
            f"{watched}  {pace * (self.epochs - done) / 60:.1f} min left",
            flush=True,
        )


# --- Going on after an interruption ----------------------------------------------------------


class Checkpoint:
    """The state of a fit that is not finished, in one file that is replaced whole.

    Args:
        path: the .npz file.
        identity: dict of whatever makes the fit what it is: data, split, seed, recipe.
    """

    def __init__(self, path, identity):
        self.path = Path(path)
        self.identity = json.loads(json.dumps(identity))

    def save(self, variables, history):
        """Write every variable's value, the history and the identity."""
        unfinished = self.path.with_suffix(".unfinished")  # which no search for *.npz finds
        values = {str(place): variable.numpy() for place, variable in enumerate(variables)}
        text = json.dumps({"identity": self.identity, "history": history})
        with open(unfinished, "wb") as file:  # np.savez would add a suffix to a name
            np.savez(file, about=text, **values)
        os.replace(unfinished, self.path)

    def load(self, variables):
        """Put the values back into the variables, if the file is there.

        Returns:
            The history up to then; empty without the file.

        Raises:
            TrainingError: the file is spoiled, or of another fit.
        """
        if not self.path.exists():
            return []
        try:
            with np.load(self.path, allow_pickle=False) as file:
                about = json.loads(str(file["about"]))
                self._compare(about["identity"])
                values = [file[str(place)] for place in range(len(variables))]
                history = about["history"]
        except (OSError, ValueError, LookupError, EOFError, zipfile.BadZipFile) as error:
            raise TrainingError(
                f"{self.path} is damaged. Remove {self.path.parent} to begin anew."
            ) from error
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        return history

    def check(self):
        """Raise what `load` raises, without loading anything."""
        self.load([])

    def _compare(self, identity):
        for name, value in self.identity.items():
            if identity.get(name) != value:
                raise TrainingError(
                    f"{self.path} was made with another {_difference(name, identity, value)}. "
                    f"Remove {self.path.parent} to begin anew."
                )


def _difference(name, identity, value):
    """Name what differs; of a recipe, the settings that do."""
    other = identity.get(name)
    if not (isinstance(value, dict) and isinstance(other, dict)):
        return f"{name} ({other}, not {value})"
    settings = [
        f"{key} {other.get(key)}, not {value.get(key)}"
        for key in sorted(value.keys() | other.keys())
        if other.get(key) != value.get(key)
    ]
    return f"{name} ({'; '.join(settings)})"
