"""Train the classifier on HAM10000 and write best_model.h5.

    python train.py --download                          fetch the two files into data/, then train
    python train.py                                     train on what is in data/
    python train.py --csv A.csv --metadata B.csv        train on files elsewhere
    python train.py --images DIR --labels LABELS.csv    train on images of your own
                                                        (columns image_id,dx[,lesion_id])

Beside the model it writes metrics.json, figures/learning_curves.png and
figures/confusion_matrix.png. The old model stays in place until the new one is complete.
"""

import argparse
import importlib.metadata
import json
import math
import os
import platform
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

import dataset
from scores import evaluate
from skin_cancer_detection import (
    CODES,
    DEFAULT_MODEL_PATH,
    SIDE,
    SkinCancerDetectionError,
    build_model,
    save_model,
)

# --- The recipe ------------------------------------------------------------------------------

SEED = 1
EPOCHS = 80  # about six minutes on two cores; the cosine below ends at nothing, so none is picked
BATCH_SIZE = 64
LEARNING_RATE = 2e-3  # the peak, reached after the warm-up
WARM_UP_EPOCHS = 5  # BatchNormalization's averages settle before the steps are large
WEIGHT_DECAY = 0.05  # AdamW's; strong, as there are 77 parameters for each training image
DROPOUT = 0.3
# Class weights are the inverse frequency to this power: 0 leaves the 67 % of naevi to rule, 1 lets
# a dermatofibroma count as much as 58 naevi.
CLASS_WEIGHT_POWER = 0.5
MAX_SHIFT = 2  # pixels, of 28
MAX_LOG_SCALE = 0.2  # from 0.82 to 1.22 times the size

FIGURES = ("figures/learning_curves.png", "figures/confusion_matrix.png")
DATA_DIRECTORY = Path(__file__).with_name("data")


class TrainingError(SkinCancerDetectionError):
    """A request for training that cannot be carried out."""


# --- Fitting ---------------------------------------------------------------------------------


def augment(pixels, rng):
    """Mirror, turn, scale and shift each image at random, as if the lesion had been taken again.

    A lesion has no right way up, so half are mirrored and all are turned by any angle. What comes
    in from outside the image is its own mirror image.

    Args:
        pixels: uint8 (N, 28, 28, 3), RGB, 0–255.
        rng: numpy.random.Generator.

    Returns:
        A new array of the same shape and dtype.
    """
    margin = SIDE // 2
    padded = np.pad(pixels, ((0, 0), (margin, margin), (margin, margin), (0, 0)), "reflect")
    padded = np.where(rng.random((len(pixels), 1, 1, 1)) < 0.5, padded, padded[:, :, ::-1])
    angles = rng.uniform(0, 2 * np.pi, len(pixels))
    scales = np.exp(rng.uniform(-MAX_LOG_SCALE, MAX_LOG_SCALE, len(pixels)))
    # Pillow wants the place in the padded image from which each pixel of the result comes:
    # rotation and scale about the middle, then the shift.
    cosines, sines = np.cos(angles) * scales, np.sin(angles) * scales
    middle = SIDE / 2
    x = margin + middle - (cosines - sines) * middle
    y = margin + middle - (sines + cosines) * middle
    shifts = rng.uniform(-MAX_SHIFT, MAX_SHIFT, (2, len(pixels)))
    coefficients = np.stack([cosines, -sines, x + shifts[0], sines, cosines, y + shifts[1]], axis=1)
    return np.stack(
        [
            Image.fromarray(image).transform(
                (SIDE, SIDE), Image.Transform.AFFINE, matrix.tolist(), Image.Resampling.BICUBIC
            )
            for image, matrix in zip(padded, coefficients, strict=True)
        ]
    )


def class_weights(labels):
    """Weigh each class by its inverse frequency to CLASS_WEIGHT_POWER; an image's mean weight is 1.

    Args:
        labels: int (N,), 0–6; every class must be there.

    Returns:
        float64 (7,).
    """
    counts = np.bincount(labels, minlength=len(CODES))
    weights = counts ** -float(CLASS_WEIGHT_POWER)
    return weights * len(labels) / (weights * counts).sum()


def batches(pixels, labels, weights, rng):
    """Yield shuffled, augmented batches for ever, an epoch after the other.

    Args:
        pixels: uint8 (N, 28, 28, 3), 0–255.
        labels: int (N,).
        weights: float (7,), one a class.
        rng: numpy.random.Generator.

    Yields:
        float32 (B, 28, 28, 3), 0–1; labels (B,); sample weights float32 (B,).
    """
    while True:
        order = rng.permutation(len(pixels))
        for start in range(0, len(order), BATCH_SIZE):
            rows = order[start : start + BATCH_SIZE]
            yield scaled(augment(pixels[rows], rng)), labels[rows], weights[labels[rows]]


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


def fit(data, parts, seed=SEED, epochs=EPOCHS):
    """Fit a fresh network to the training part, watching the calibration part.

    No epoch is picked: what comes out is the network as the last epoch leaves it.

    Args:
        data: `dataset.Dataset`.
        parts: str (N,), from `dataset.split_by_lesion`.
        seed: fixes weights, order, turns and dropout; the same seed on the same machine gives the
            same model.
        epochs: passes over the training part.

    Returns:
        The model, taking raw pixels, and its history: a dict of lists with one value an epoch.
    """
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    training, calibration = parts == "training", parts == "calibration"
    weights = class_weights(data.labels[training]).astype(np.float32)
    steps = math.ceil(training.sum() / BATCH_SIZE)
    warm_up = min(WARM_UP_EPOCHS, epochs // 2) * steps
    model = build_model(DROPOUT)
    model.compile(
        optimizer=keras.optimizers.AdamW(
            keras.optimizers.schedules.CosineDecay(
                LEARNING_RATE / 100 if warm_up else LEARNING_RATE,
                decay_steps=epochs * steps - warm_up,
                warmup_target=LEARNING_RATE if warm_up else None,
                warmup_steps=warm_up,
            ),
            weight_decay=WEIGHT_DECAY,
        ),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    history = model.fit(
        batches(data.pixels[training], data.labels[training], weights, np.random.default_rng(seed)),
        steps_per_epoch=steps,
        epochs=epochs,
        validation_data=(
            scaled(data.pixels[calibration]),
            data.labels[calibration],
            weights[data.labels[calibration]],
        ),
        validation_batch_size=512,
        shuffle=False,  # `batches` shuffles
        callbacks=[_progress(epochs)],
        verbose=0,
    ).history
    fold_scale(model)
    return model, history


def _progress(epochs):
    """A callback that prints one line an epoch, with the time left."""
    import keras

    begin = time.monotonic()

    def report(epoch, logs):
        done = epoch + 1
        left = (time.monotonic() - begin) / done * (epochs - done)
        print(
            f"epoch {done:3}/{epochs}  training loss {logs['loss']:.3f}, accuracy "
            f"{logs['accuracy']:.3f}  calibration loss {logs['val_loss']:.3f}, accuracy "
            f"{logs['val_accuracy']:.3f}  {left / 60:.1f} min left",
            flush=True,
        )

    return keras.callbacks.LambdaCallback(on_epoch_end=report)


def probabilities_of(model, pixels):
    """Give the class probabilities of many images.

    Args:
        model: takes raw pixels.
        pixels: uint8 (N, 28, 28, 3), 0–255.

    Returns:
        float32 (N, 7).
    """
    return model.predict(pixels, batch_size=512, verbose=0)


# --- What is written down --------------------------------------------------------------------


def training_facts(data, parts, seed, epochs):
    """Gather what a reader of the model file needs to know of its making.

    Returns:
        dict that JSON can hold; `rows_may_share_lesions` is True where the lesions are not known
        and the scores are therefore inflated.
    """
    lesions = {}
    if data.lesion_ids is not None:
        lesions = {part: len(set(data.lesion_ids[parts == part])) for part in dataset.PARTS}
    return {
        "data": data.source,
        "data_sha256": data.sha256,
        "split": f"{'row' if data.lesion_ids is None else 'lesion'}-wise by SHA-256 rank, "
        f"{dataset.TEST_SHARE} % test, {dataset.CALIBRATION_SHARE} % calibration",
        "rows_may_share_lesions": data.lesion_ids is None,
        "images": {part: int((parts == part).sum()) for part in dataset.PARTS},
        "lesions": lesions,
        "seed": seed,
        "epochs": epochs,
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in ("keras", "numpy", "pillow")},
            "tensorflow": _tensorflow_version(),
        },
    }


def _tensorflow_version():
    import tensorflow as tf

    return tf.__version__


def score_table(scores):
    """Lay out the result of `scores.evaluate` as lines of text."""
    lines = ["class  images  sensitivity  specificity  precision    AUC"]
    for code, row in scores["per_class"].items():
        precision = "–" if row["precision"] is None else f"{row['precision']:.3f}"
        lines.append(
            f"{code:6} {row['images']:6} {row['sensitivity']:12.3f} {row['specificity']:12.3f} "
            f"{precision:>10} {row['auc']:6.3f}"
        )
    lines += [
        f"accuracy           {scores['accuracy']:.3f}",
        f"balanced accuracy  {scores['balanced_accuracy']:.3f}",
        f"macro AUC          {scores['macro_auc']:.3f}",
    ]
    return "\n".join(lines)


def draw_learning_curves(history):
    """Draw loss and accuracy by epoch.

    Args:
        history: from `fit`.

    Returns:
        matplotlib.figure.Figure
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    for axes, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        epochs = range(1, len(history[name]) + 1)
        axes.plot(epochs, history[name], label="training")
        axes.plot(epochs, history[f"val_{name}"], "--", label="calibration")
        axes.set(xlabel="epoch", ylabel=name)
        axes.grid(alpha=0.3)
        axes.legend()
    return figure


def draw_confusion_matrix(matrix):
    """Draw a confusion matrix: colour is the share of the true class, the number a count of images.

    Args:
        matrix: (7, 7) counts, rows true, columns predicted.

    Returns:
        matplotlib.figure.Figure
    """
    import seaborn
    from matplotlib.figure import Figure

    matrix = np.asarray(matrix)
    figure = Figure(figsize=(6, 5), layout="constrained")
    axes = figure.subplots()
    seaborn.heatmap(
        matrix / matrix.sum(axis=1, keepdims=True),
        annot=matrix,
        fmt="d",
        cmap="Blues",
        vmin=0,
        vmax=1,
        xticklabels=CODES,
        yticklabels=CODES,
        cbar_kws={"label": "share of the true class"},
        ax=axes,
    )
    axes.set(xlabel="most likely class", ylabel="true class")
    return figure


# --- The command -----------------------------------------------------------------------------


def find_data(csv_path, metadata_path, directory=DATA_DIRECTORY):
    """Find the two files of the data set.

    Args:
        csv_path, metadata_path: where the user says they are, or None to look in `directory`; the
            metadata of a CSV elsewhere is looked for beside it.

    Returns:
        The two paths; the second is None where there is no metadata.

    Raises:
        TrainingError: no CSV was named and none is in `directory`.
    """
    if csv_path is None:
        candidates = [directory / name for name in dataset.CSV_NAMES]
        csv_path = next((path for path in candidates if path.exists()), None)
        if csv_path is None:
            raise TrainingError(
                f"There is no {' or '.join(dataset.CSV_NAMES)} in {directory}. To fetch it: pip "
                "install kagglehub && python train.py --download\n"
                f"Or download it and {dataset.METADATA_NAME} from "
                f"https://www.kaggle.com/datasets/{dataset.KAGGLE_HANDLE} into {directory}."
            )
    if metadata_path is None:
        beside = csv_path.with_name(dataset.METADATA_NAME)
        metadata_path = beside if beside.exists() else None
    return csv_path, metadata_path


def download(directory=DATA_DIRECTORY):
    """Fetch the CSV and the metadata, and nothing else of the data set, by Kaggle's own client.

    Raises:
        TrainingError: kagglehub is not installed, or the download failed.
    """
    try:
        import kagglehub
    except ImportError as error:
        raise TrainingError("--download needs Kaggle’s client: pip install kagglehub") from error
    directory.mkdir(exist_ok=True)
    for name in (dataset.CSV_NAMES[0], dataset.METADATA_NAME):
        print(f"Fetching {name} from Kaggle …", flush=True)
        unfinished = directory / f".{name}"
        try:
            shutil.copyfile(
                kagglehub.dataset_download(dataset.KAGGLE_HANDLE, path=name), unfinished
            )
            unfinished.replace(directory / name)
        except Exception as error:  # the network, Kaggle, the disk: the client has no base class
            raise TrainingError(
                f"Kaggle did not give {name} ({error}): try again later."
            ) from error
        finally:
            unfinished.unlink(missing_ok=True)


def train(data, output, seed=SEED, epochs=EPOCHS):
    """Split, fit, score on the test part and write everything down.

    Args:
        data: `dataset.Dataset`.
        output: path of the model file; metrics.json and figures/ go beside it.

    Returns:
        The test part's scores, from `scores.evaluate`.

    Raises:
        DataError: a class has too few lesions to be split.
        ModelFileError: the model cannot be written.
        TrainingError: the output cannot be written, or the training diverged.
    """
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        # Everything is made here first, so that what is replaced is replaced by something whole;
        # and a place that cannot be written is found before the training, not after it.
        staging = tempfile.TemporaryDirectory(prefix=".training-", dir=output.parent)
    except OSError as error:
        raise TrainingError(f"{output} cannot be written ({error}): choose another.") from error
    with staging as folder:
        scores = _train_into(Path(folder), data, output, seed, epochs)
        (output.parent / "figures").mkdir(exist_ok=True)
        for name in (*FIGURES, "metrics.json", output.name):  # the model last: it is what counts
            os.replace(Path(folder) / name, output.parent / name)
    return scores


def _train_into(folder, data, output, seed, epochs):
    parts = dataset.split_by_lesion(data.lesion_ids, data.labels)
    facts = training_facts(data, parts, seed, epochs)
    for part in dataset.PARTS:
        lesions = f" of {facts['lesions'][part]:,} lesions" if facts["lesions"] else ""
        print(f"  {part:12} {facts['images'][part]:6,} images{lesions}")
    print(f"Will train for {epochs} epochs with seed {seed} and write {output}.", flush=True)

    model, history = fit(data, parts, seed, epochs)
    test = parts == "test"
    probabilities = probabilities_of(model, data.pixels[test])
    if not np.isfinite(probabilities).all():
        raise TrainingError("The training diverged, nothing was saved: lower LEARNING_RATE.")
    scores = evaluate(data.labels[test], probabilities, CODES)
    facts["test"] = scores

    (folder / "figures").mkdir()
    draw_learning_curves(history).savefig(folder / FIGURES[0], dpi=120)
    draw_confusion_matrix(scores["confusion_matrix"]).savefig(folder / FIGURES[1], dpi=120)
    (folder / "metrics.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    save_model(model, folder / output.name, facts)
    return scores


def parse_arguments(arguments):
    """Parse the command line; argparse ends it with exit code 2 where it is wrong."""
    parser = argparse.ArgumentParser(
        description="Train the classifier on HAM10000 and write best_model.h5.",
    )
    parser.add_argument(
        "--csv", type=Path, help="hmnist_28_28_RGB.csv or .csv.zip (default: data/)"
    )
    parser.add_argument("--metadata", type=Path, help="HAM10000_metadata.csv (default: beside it)")
    parser.add_argument("--images", type=Path, help="folder of images of your own")
    parser.add_argument("--labels", type=Path, help="their CSV: image_id,dx[,lesion_id]")
    parser.add_argument("--download", action="store_true", help="fetch the two files into data/")
    parser.add_argument("--output", type=Path, default=DEFAULT_MODEL_PATH, help="the model file")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    options = parser.parse_args(arguments)
    if (options.images is None) != (options.labels is None):
        parser.error("--images and --labels go together")
    if options.images and (options.csv or options.metadata or options.download):
        parser.error("--images takes the place of --csv, --metadata and --download")
    if options.download and options.csv:
        parser.error("--download and --csv exclude each other")
    if options.epochs < 1:
        parser.error("--epochs must be at least 1")
    if not 0 <= options.seed < 2**32:
        parser.error("--seed must be 0 or more and below 4,294,967,296")
    if options.output.suffix != ".h5":
        parser.error(f"--output must end in .h5, and {options.output} does not")
    if options.output.is_dir():
        parser.error(f"--output must be a file, and {options.output} is a folder")
    return options


def main(arguments=None):
    """Run the command; returns its exit code."""
    options = parse_arguments(arguments)
    begin = time.monotonic()
    try:
        if options.images:
            print(f"Reading the images in {options.images} …", flush=True)
            data = dataset.read_images(options.images, options.labels)
        else:
            if options.download:
                download()
            csv_path, metadata_path = find_data(options.csv, options.metadata)
            print(f"Reading {csv_path} and {metadata_path or 'no metadata'} …", flush=True)
            data = dataset.read_dataset(csv_path, metadata_path)
        if data.lesion_ids is None:
            missing = f"{dataset.METADATA_NAME} beside the CSV"
            if options.images:
                missing = f"a column lesion_id in {options.labels}"
            print(
                "WARNING: it is not known which images show the same lesion. Images of one lesion "
                "may stand on both sides of the split, so the scores below are inflated. What "
                f"would tell: {missing}."
            )
        scores = train(data, options.output, options.seed, options.epochs)
    except SkinCancerDetectionError as error:
        print(error, file=sys.stderr)
        return 2
    except OSError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\nInterrupted: {options.output} is as it was.", file=sys.stderr)
        return 130
    print(f"\nOn the test part, {scores['images']:,} images that took no part in training:")
    print(score_table(scores))
    if data.lesion_ids is None:
        print("These scores are inflated: images of one lesion may stand on both sides.")
    minutes = (time.monotonic() - begin) / 60
    print(f"Wrote {options.output}, and metrics.json and figures/ beside it, in {minutes:.1f} min.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
