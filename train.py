"""Train the classifier on HAM10000 and write best_model.h5.

    python train.py --download                          fetch the two files into data/, then train
    python train.py                                     train on what is in data/
    python train.py --resume                            go on with an interrupted training
    python train.py --quick                             a usable model in under two minutes
    python train.py --evaluate                          score best_model.h5 again, without training
    python train.py --csv A.csv --metadata B.csv        train on files elsewhere
    python train.py --images DIR --labels LABELS.csv    train on images of your own
                                                        (columns image_id,dx[,lesion_id])
    python train.py --split SPLIT.csv                   train on somebody else's split, in runs/
    python train.py --export best_model.tflite          write best_model.h5 for LiteRT, without
                                                        training

Beside the model it writes metrics.json and the pictures of figures/. The old model stays in place
until the new one is complete. How the network is fitted: fitting.py.
"""

import argparse
import contextlib
import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

import calibration
import dataset
import figures
from fitting import Checkpoint, Progress, Recipe, TrainingError, fit, fit_teachers
from lesion_lens.model.decisions import DecisionFacts, combine_views
from lesion_lens.model.errors import SkinCancerDetectionError
from lesion_lens.model.files import (
    DEFAULT_MODEL_PATH,
    check_model_file,
    export_model,
    is_litert,
    load_model,
    read_attributes,
    save_model,
    write_training_facts,
)
from lesion_lens.model.outliers import Likeness
from lesion_lens.model.outliers import fit as fit_likeness
from lesion_lens.model.views import eight_views
from lesion_lens.model.wording import interval, number
from scores import evaluate, subgroups
from skin_cancer_detection import CODES

DATA_DIRECTORY = Path(__file__).with_name("data")
RUNS_DIRECTORY = Path(__file__).with_name("runs")
SEED = 1
MOST_TEACHERS = 100
QUICK = Recipe(teachers=0, epochs=20)  # ends long before the scores' best, in under two minutes


# --- From the data to a finished model -------------------------------------------------------


def train(data, parts, output, recipe, seed=SEED, resume=False):
    """Fit, calibrate, score on the test part and write everything down.

    Args:
        data: `dataset.Dataset`.
        parts: str (N,), from `dataset.split_by_lesion` or `dataset.read_split`.
        output: path of the model file; metrics.json and figures/ go beside it.
        recipe: `fitting.Recipe`.
        seed: of the student; its teachers have the numbers after it.
        resume: go on from the checkpoints of an interrupted training of the same kind.

    Returns:
        dict, what metrics.json holds.

    Raises:
        ModelFileError: the model cannot be written.
        TrainingError: the output cannot be written, the training diverged, there is nothing to go
            on from, or something to go on from and no `resume`.
    """
    checkpoints = checkpoints_of(output)
    if resume and not is_unfinished(output):
        raise TrainingError(
            f"{checkpoints} has no checkpoint, so there is nothing to go on from: train without "
            "--resume."
        )
    if is_unfinished(output) and not resume:
        raise TrainingError(
            f"{checkpoints} holds a training that is not finished: go on with --resume, or remove "
            "it to begin anew."
        )
    identity = identity_of(data, parts, recipe, seed)
    for path in checkpoints.glob("*.npz"):
        Checkpoint(path, identity).check()  # all of them before any is gone on with
    try:
        checkpoints.mkdir(parents=True, exist_ok=True)
    except OSError as error:  # better now than after the training
        raise TrainingError(f"{output} cannot be written ({error}): choose another.") from error
    model, histories = _fit(data.only(parts == "training"), recipe, seed, checkpoints, identity)
    attributes = calibrate(model, data.only(parts == "calibration"), data.only(parts == "training"))
    with _staging(output) as folder:
        path = folder / output.name
        save_model(model, path, training_facts(data, parts, recipe, seed), attributes)
        curves = figures.draw_learning_curves(histories)
        curves.savefig(folder / "figures" / "learning_curves.png", dpi=120)
        metrics = _write_scores(folder, path, data, parts)
        write_training_facts(path, metrics)  # now with the scores, which the pages tell
    shutil.rmtree(checkpoints)
    return metrics


def evaluate_again(path, data, parts):
    """Score a model file on the test part again and write metrics.json and the pictures anew.

    Args and raises: see `score_file`.

    Returns:
        dict, what metrics.json holds.
    """
    check_model_file(path)  # before a folder is made beside it
    with _staging(path) as folder:
        metrics = _write_scores(folder, path, data, parts)
    if metrics["data_sha256"] != data.sha256:
        print(
            f"WARNING: {path} was trained on rows that differ from these, as rows made of smaller "
            "copies of the images do; so do its scores, a little."
        )
    return metrics


@contextlib.contextmanager
def _staging(output):
    """Give a folder; what is in it at the end takes the place of what is beside `output`.

    So every file is replaced by something whole, and none is if anything fails before the end.
    """
    with tempfile.TemporaryDirectory(prefix=".training-", dir=output.parent) as name:
        folder = Path(name)
        (folder / "figures").mkdir()
        yield folder
        (output.parent / "figures").mkdir(exist_ok=True)
        files = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
        for file in sorted(files, key=lambda file: file.suffix == ".h5"):  # the model last
            os.replace(folder / file, output.parent / file)


def _fit(training, recipe, seed, checkpoints, identity):
    """Fit the teachers, if there are any, and the network; returns it and all their histories."""
    teachers, histories = (), {}
    if recipe.teachers:
        print(f"\n1 of 2: {recipe.teachers} teachers, each without a tenth of the lesions")
        teachers, histories = fit_teachers(training, recipe, seed, checkpoints, identity)
        print("\n2 of 2: the student, which is kept")
    print("No score until the end: it learns from every training lesion.", flush=True)
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


def checkpoints_of(output):
    """The folder of the checkpoints of a training that is not finished."""
    return output.parent / f".{output.stem}-checkpoints"


def is_unfinished(output):
    """Whether there is a checkpoint to go on from."""
    return any(checkpoints_of(output).glob("*.npz"))


def identity_of(data, parts, recipe, seed):
    """What a checkpoint must share with the training that goes on from it; a dict for JSON."""
    return {
        "data checksum": data.sha256,
        "split": _checksum_of(parts),
        "seed": seed,
        "recipe": asdict(recipe),
    }


def calibrate(model, calibration_part, training_part):
    """Make the probabilities honest, and fit the facts that decisions go by.

    The order is that of their use: the file's own probabilities, the mean of eight views, its
    temperature, the rest.

    Args:
        model: takes raw pixels; its last layer is changed in place.
        calibration_part: `dataset.Dataset` that no choice about the model has touched.
        training_part: `dataset.Dataset`, whose images tell what a dermatoscopic image looks like.

    Returns:
        dict of HDF5 attributes, for `save_model`.
    """
    pixels, labels = calibration_part.pixels, calibration_part.labels
    calibration.fold_calibration(
        model, *calibration.fit_bias_and_temperature(probabilities_of(model, pixels), labels)
    )
    chosen = calibration.one_image_per_lesion(calibration_part.lesion_ids, pixels)
    facts = calibration.fit_decision_facts(
        view_probabilities(model, pixels).mean(axis=0),
        labels,
        chosen,
        class_shares=np.bincount(labels, minlength=len(CODES)) / len(labels),
    )
    likeness = fit_likeness(training_part.pixels, training_part.labels, pixels[chosen])
    return facts.to_attributes() | likeness.to_attributes()


def score_file(path, data, parts):
    """Score a model file on the test part.

    Args:
        path: the HDF5 file.
        data: `dataset.Dataset` that it was trained on.
        parts: str (N,), as the training had them.

    Returns:
        dict that JSON can hold: the facts of the file's training and, as `test`, the scores of one
        view and of eight (`scores.evaluate`), what the decisions are worth
        (`calibration.decision_scores`) and the scores by sex, age and site; and the test part's
        labels, int (M,), and probabilities of eight views, float64 (M, 7).

    Raises:
        ModelFileError: the file breaks the contract.
        TrainingError: the file was trained on another split, or has no decision facts.
    """
    facts, attributes = check_model_file(path), read_attributes(path)
    if facts.get("split_sha256") != _checksum_of(parts):
        raise TrainingError(
            f"{path} was trained on another data set or another split, so its test part is not "
            "known: name the data that it was made of."
        )
    try:
        decision_facts = DecisionFacts.from_attributes(attributes)
        likeness = Likeness.from_attributes(attributes)
    except ValueError as error:
        raise TrainingError(f"{path}: {error}; run `python train.py` to make it again.") from error
    model, test = load_model(path), data.only(parts == "test")
    labels, lesion_ids = test.labels, test.lesion_ids
    views = view_probabilities(model, test.pixels)
    one, eight = views[0], combine_views(views, decision_facts.eight_view_temperature)
    unlike = likeness.is_unlike(test.pixels)
    chosen = calibration.one_image_per_lesion(lesion_ids, test.pixels)
    decisions = calibration.decision_scores(eight, labels, chosen, decision_facts, unlike)
    metrics = facts | {
        "test": {
            "data_sha256": data.sha256,  # not always that of the training: see the README
            "one_view": evaluate(labels, one, lesion_ids, decision_facts.class_shares),
            "eight_views": evaluate(labels, eight, lesion_ids, decision_facts.class_shares),
            "decisions": decisions | {"unlike": float(unlike[chosen].mean())},
            "subgroups": {
                name: subgroups(labels, eight, lesion_ids, groups)
                for name, groups in test.groups.items()
            },
        }
    }
    return metrics, labels, eight


def probabilities_of(model, pixels):
    """Give the class probabilities of many images.

    Args:
        model: takes raw pixels.
        pixels: uint8 (N, 28, 28, 3), 0–255.

    Returns:
        float32 (N, 7).
    """
    return model.predict(pixels, batch_size=512, verbose=0)


def view_probabilities(model, pixels):
    """Give the probabilities of the eight views of many images.

    Args:
        model: takes raw pixels.
        pixels: uint8 (N, 28, 28, 3), 0–255.

    Returns:
        float32 (8, N, 7); the first is the image as it came.
    """
    return np.stack([probabilities_of(model, view) for view in eight_views(pixels)])


def _checksum_of(parts):
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


# --- What is written down --------------------------------------------------------------------


def training_facts(data, parts, recipe, seed):
    """Gather what a reader of the model file needs to know of its making.

    Returns:
        dict that JSON can hold; `rows_may_share_lesions` is True where images of one lesion may
        stand on both sides of the split and the scores are therefore inflated.
    """
    lesions = {}
    if data.lesion_ids is not None:
        lesions = {part: len(set(data.lesion_ids[parts == part])) for part in dataset.PARTS}
    return {
        "data": data.source,
        "data_sha256": data.sha256,
        "split_sha256": _checksum_of(parts),
        "rows_may_share_lesions": shared_lesions(data.lesion_ids, parts) != 0,
        "images": {part: int((parts == part).sum()) for part in dataset.PARTS},
        "lesions": lesions,
        "seed": seed,
        "recipe": asdict(recipe),
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in ("keras", "numpy", "pillow")},
            "tensorflow": _tensorflow_version(),
        },
    }


def shared_lesions(lesion_ids, parts):
    """Count the test images whose lesion has an image in another part too.

    Args:
        lesion_ids: str (N,), or None where they are not known.
        parts: str (N,).

    Returns:
        int; None where the lesions are not known.
    """
    if lesion_ids is None:
        return None
    test = parts == "test"
    return int(np.isin(lesion_ids[test], lesion_ids[~test]).sum())


def _tensorflow_version():
    import tensorflow as tf

    return tf.__version__


def _write_scores(folder, path, data, parts):
    """Score the model file, write metrics.json and the pictures; returns what the former holds."""
    metrics, labels, eight = score_file(path, data, parts)
    text = json.dumps(metrics, indent=1, ensure_ascii=False) + "\n"
    (folder / "metrics.json").write_text(text, encoding="utf-8")
    pictures = {
        "confusion_matrix": figures.draw_confusion_matrix(
            metrics["test"]["eight_views"]["confusion_matrix"]
        ),
        "roc_curves": figures.draw_roc_curves(labels, eight),
        "reliability": figures.draw_reliability(labels, eight, "eight views"),
    }
    for name, picture in pictures.items():
        picture.savefig(folder / "figures" / f"{name}.png", dpi=120)
    return metrics


SCORES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_auc": "macro AUC",
    "malignant_auc": "akiec, bcc or mel against benign, AUC",
    "melanoma_sensitivity_at_specificity_0.80": "melanoma sensitivity at specificity 0.80",
    "calibration_error": "expected calibration error",
    "brier_score": "Brier score",
    "log_loss": "log loss",
}


def score_table(metrics):
    """Lay out what metrics.json holds as lines of text, for the console."""
    test = metrics["test"]
    both = test["one_view"], test["eight_views"]

    def row(name, cells):
        return f"{name:44}" + "".join(f"{cell:22}" for cell in cells).rstrip()

    lines = [row("", ("one view", "eight views"))]
    lines += [row(name, [interval(scores[key]) for scores in both]) for key, name in SCORES.items()]
    lines.append(
        row(
            "  if perfectly calibrated: mean, 95 %",
            [
                f"{simulated['mean']:.3f}, {simulated['percentile_95']:.3f}"
                for simulated in (scores["simulated_calibration_error"] for scores in both)
            ],
        )
    )
    lines += [
        row(
            f"{SCORES[key]}, prior divided out",
            [interval(s["prior_divided"][key]) for s in both],
        )
        for key in ("accuracy", "balanced_accuracy")
    ]
    for name, scores in zip(("one view", "eight views"), both, strict=True):
        keys = ("sensitivity", "specificity", "precision", "auc")
        lines += ["", f"{name:11}  images  " + "".join(f"{key:22}" for key in keys).rstrip()]
        for code, figures_of in scores["per_class"].items():
            cells = "".join(f"{interval(figures_of[key]):22}" for key in keys)
            lines.append(f"{code:11}  {figures_of['images']:6}  {cells.rstrip()}")
        lines += ["", f"{name}: rows are the true classes, columns the most likely ones"]
        lines.append("       " + "".join(f"{code:>7}" for code in CODES))
        for code, counts in zip(CODES, scores["confusion_matrix"], strict=True):
            lines.append(f"{code:7}" + "".join(f"{count:7}" for count in counts))
    decisions = test["decisions"]
    said, conformal = decisions["low_risk"]["statement"], decisions["conformal"]
    low, high = (100 * (1 - said["sensitivity"][end]) for end in ("high", "low"))
    low_risk = (
        f"‘low risk’ is said of {number(said['specificity'])} of the benign lesions, and misses "
        f"about {number(said['missed_per_100'], 1)} ({low:.1f}–{high:.1f}) in 100 of the others"
    )
    lines += [
        "",
        low_risk if said["share"] else "‘low risk’ is said of no test lesion",
        f"sets of classes that cannot be excluded: {number(conformal['coverage'])} hold the "
        f"true one, {number(conformal['mean_set_size'], 2)} classes on average",
        f"unlike the training images: {number(decisions['unlike'])} of the test lesions",
    ]
    return "\n".join(lines)


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
    parser.add_argument(
        "--split", type=Path, help="CSV image_id,split (train, val, test); writes to runs/"
    )
    parser.add_argument("--output", type=Path, help="the model file (default: best_model.h5)")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--teachers", type=int, help=f"(default: {Recipe.teachers})")
    parser.add_argument("--epochs", type=int, help=f"of each network (default: {Recipe.epochs})")
    parser.add_argument(
        "--quick",
        action="store_true",
        help=f"no teachers and {QUICK.epochs} epochs: under two minutes",
    )
    parser.add_argument("--resume", action="store_true", help="go on after an interruption")
    parser.add_argument(
        "--evaluate", action="store_true", help="score the model file again, without training"
    )
    parser.add_argument(
        "--export", type=Path, help="write the model file (--output) for LiteRT to this .tflite"
    )
    options = parser.parse_args(arguments)
    check_export(parser, options)
    if (options.images is None) != (options.labels is None):
        parser.error("--images and --labels go together")
    if options.images and (options.csv or options.metadata or options.download):
        parser.error("--images takes the place of --csv, --metadata and --download")
    if options.download and options.csv:
        parser.error("--download and --csv exclude each other")
    if options.evaluate and (
        options.quick or options.resume or (options.epochs, options.teachers) != (None, None)
    ):
        parser.error("--evaluate does not train, so it takes no option of training")
    if options.quick and (options.epochs or options.teachers is not None):
        parser.error("--quick says itself how many --epochs and --teachers there are")
    if options.epochs is not None and options.epochs < 1:
        parser.error("--epochs must be at least 1")
    if options.teachers is not None and not 0 <= options.teachers <= MOST_TEACHERS:
        parser.error(f"--teachers must be 0 to {MOST_TEACHERS}")
    if not 0 <= options.seed < 2**31:
        parser.error("--seed must be 0 or more and below 2,147,483,648")
    home = DEFAULT_MODEL_PATH.resolve().parent
    if options.split and options.output and options.output.resolve().parent == home:
        parser.error(
            f"--split never writes beside {DEFAULT_MODEL_PATH.name}: name an --output elsewhere"
        )
    if options.output is None:
        options.output = (
            RUNS_DIRECTORY / options.split.stem / "model.h5"
            if options.split
            else DEFAULT_MODEL_PATH
        )
    if options.output.suffix != ".h5":
        parser.error(f"--output must end in .h5, and {options.output} does not")
    if options.output.is_dir():
        parser.error(f"--output must be a file, and {options.output} is a folder")
    return options


def check_export(parser, options):
    """See that --export names a .tflite, and that no option is there that it would pass over."""
    if options.export is None:
        return
    if not is_litert(options.export):
        parser.error(f"--export must end in .tflite, and {options.export} does not")
    others = set(vars(options)) - {"export", "output"}
    if any(getattr(options, name) != parser.get_default(name) for name in others):
        parser.error("--export does not train, so it goes with --output alone")


def recipe_of(options):
    """The recipe that the command line asks for."""
    recipe = QUICK if options.quick else Recipe()
    named = {"epochs": options.epochs, "teachers": options.teachers}
    return replace(recipe, **{name: value for name, value in named.items() if value is not None})


def read_data(options):
    """Read the data set that the command line names.

    Raises:
        DataError, TrainingError: it is not there, or not in order.
    """
    if options.images:
        print(f"Reading the images in {options.images} …", flush=True)
        return dataset.read_images(options.images, options.labels)
    if options.download:
        download()
    csv_path, metadata_path = find_data(options.csv, options.metadata)
    print(f"Reading {csv_path} and {metadata_path or 'no metadata'} …", flush=True)
    return dataset.read_dataset(csv_path, metadata_path)


def describe(data, parts):
    """Print the sizes of the parts; returns a warning if images of one lesion may be in two."""
    for part in dataset.PARTS:
        rows = parts == part
        lesions = ""
        if data.lesion_ids is not None:
            lesions = f" of {len(set(data.lesion_ids[rows])):,} lesions"
        print(f"  {part:12} {rows.sum():6,} images{lesions}", flush=True)
    shared = shared_lesions(data.lesion_ids, parts)
    if shared is None:
        return (
            "it is not known which images show the same lesion: images of one lesion may stand on "
            "both sides of the split"
        )
    if shared:
        return f"{shared:,} of the test images show a lesion that stands in another part too"
    return None


def run(options):
    """Carry out the command.

    Raises:
        SkinCancerDetectionError: whatever the user can mend.
    """
    if options.export:
        deviation = export_model(options.output, options.export)
        print(f"Wrote {options.export}, whose probabilities differ by {deviation:.0e} at most.")
        return
    begin = time.monotonic()
    data = read_data(options)
    if options.split:
        parts = dataset.read_split(options.split, data.image_ids, data.labels)
    else:
        parts = dataset.split_by_lesion(data.lesion_ids, data.labels)
    warning = describe(data, parts)
    if warning:
        print(f"WARNING: {warning}, so the scores below are inflated.", flush=True)
    if options.evaluate:
        metrics = evaluate_again(options.output, data, parts)
    else:
        recipe = recipe_of(options)
        print(f"Will write {options.output}.", flush=True)
        metrics = train(data, parts, options.output, recipe, options.seed, options.resume)
    print(f"\nOn the test part, {(parts == 'test').sum():,} images; in brackets the 95 % interval:")
    print(score_table(metrics))
    if warning:
        print(f"These scores are inflated: {warning}.")
    written = "metrics.json and figures/ beside"
    if not options.evaluate:
        written = "it, and metrics.json and figures/ beside"
    minutes = (time.monotonic() - begin) / 60
    print(f"Wrote {written} {options.output}, in {minutes:.1f} min.")
    exported = options.output.with_suffix(".tflite")
    if exported.exists() and not options.evaluate:
        command = f"python train.py --output {options.output} --export {exported}"
        print(f"{exported} is of the model before: make it again by `{command}`.")


def main(arguments=None):
    """Run the command; returns its exit code."""
    options = parse_arguments(arguments)
    try:
        run(options)
    except (SkinCancerDetectionError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        written = options.export or options.output
        print(f"\nInterrupted: {written} is as it was.", file=sys.stderr)
        if is_unfinished(options.output) and not (options.evaluate or options.export):
            print("Go on with the same command and --resume.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
