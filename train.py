"""Train the classifier on HAM10000 and write best_model.h5.

    python train.py --download                          fetch the data into data/, then train
    python train.py                                     train on what is in data/
    python train.py --resume                            continue an interrupted training
    python train.py --quick                             a usable model in under two minutes
    python train.py --evaluate                          score best_model.h5 again, without training
    python train.py --csv A.csv --metadata B.csv        train on files elsewhere
    python train.py --images DIR --labels LABELS.csv --output runs/mine/model.h5
                                                        train on images of your own
    python train.py --evaluate --images DIR --labels LABELS.csv
                                                        score best_model.h5 on them
    python train.py --sources SOURCES.csv               also score each clinic separately
    python train.py --split SPLIT.csv                   train on another split, in runs/
    python train.py --export best_model.tflite          convert best_model.h5 for LiteRT, without
                                                        training; for ONNX: best_model.onnx

It also writes metrics.json and figures/ next to the model. The old model stays in place until the
new one is complete. For the steps, see lesion_lens/training/pipeline.py.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lesion_lens import ROOT
from lesion_lens.model.backends import chosen_backend
from lesion_lens.model.decisions import CLASS_COUNTS
from lesion_lens.model.errors import LesionLensError
from lesion_lens.model.exports import EXPORTS, export_model
from lesion_lens.model.files import DEFAULT_MODEL_PATH

try:
    from lesion_lens.training import own_scores
    from lesion_lens.training.data import Dataset, read_dataset
    from lesion_lens.training.download import add_clinics, download, find_data
    from lesion_lens.training.errors import DataError, TrainingError
    from lesion_lens.training.evaluation import check_split
    from lesion_lens.training.medmnist import read_medmnist
    from lesion_lens.training.own_images import ReadingOptions, read_images
    from lesion_lens.training.pipeline import evaluate_again, is_unfinished, train_model
    from lesion_lens.training.recipe import QUICK, SEED, Recipe
    from lesion_lens.training.score_table import picture_warning, score_table, table_of_images
    from lesion_lens.training.split import PARTS, read_split, shared_lesions, split_by_lesion
except ModuleNotFoundError as error:  # as with requirements-slim.txt
    print(
        f"train.py needs {error.name}, which is not installed: pip install -r requirements.txt",
        file=sys.stderr,
    )
    sys.exit(2)

RUNS_DIRECTORY = ROOT / "runs"
MOST_TEACHERS = 100


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = parse_arguments(arguments)
    try:
        if options.export:
            export(options)
        else:
            train_or_evaluate(options)
    except LesionLensError as error:
        print(error, file=sys.stderr)
        return 2
    except OSError as error:  # not an error of ours, for example a closed console
        what = f"{error.filename} cannot be used" if error.filename else "The output cannot be used"
        print(
            f"{what} ({error.strerror or error}): free some space, or choose another place.",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        written = options.export or options.output
        state = "is unchanged" if written.exists() else "was not written"
        print(f"\nInterrupted: {written} {state}.", file=sys.stderr)
        if is_unfinished(options.output) and not (options.evaluate or options.export):
            print("To continue, run the same command with --resume.", file=sys.stderr)
        return 130
    return 0


def export(options: argparse.Namespace) -> None:
    """Write the model file in the format that the suffix names."""
    deviation = export_model(options.output, options.export, options.classes)
    print(
        f"Wrote {options.export}. Its probabilities differ from those of {options.output} by at "
        f"most {deviation:.0e}."
    )


def train_or_evaluate(options: argparse.Namespace) -> None:
    """Train and score, or only score again, and print the scores.

    Raises:
        LesionLensError: anything that the user can fix.
    """
    begin = time.monotonic()
    chosen_backend()  # fail now, not after minutes of reading and training
    data = read_data(options)
    for remark in data.remarks:
        print(f"  {remark}")
    if options.evaluate:
        parts = parts_to_evaluate(options, data)
        if parts is None or options.images or options.report:
            evaluate_images(options, data, parts)
            return
    else:
        parts = split(options, data)
    print_sizes(data, parts)
    warning = leak_warning(data, parts)
    if warning:
        print(f"WARNING: {warning}, so expect the scores below to be inflated.", flush=True)
    if options.evaluate:
        metrics = evaluate_again(options.output, data, parts)
    else:
        recipe = recipe_of(options)
        print(f"Will write {options.output}.", flush=True)
        metrics = train_model(data, parts, options.output, recipe, options.seed, options.resume)
    images = (parts == "test").sum()
    print(f"\nScores on the test part ({images:,} images), with 95 % intervals in brackets:")
    print(score_table(metrics))
    if about_pictures := picture_warning(metrics):
        print(f"WARNING: {about_pictures}")
    if warning:
        print(f"Expect these scores to be inflated: {warning}.")
    written = f"{options.output}, and metrics.json and figures/ beside it,"
    if options.evaluate:
        written = f"metrics.json and figures/ beside {options.output}"
    minutes = (time.monotonic() - begin) / 60
    print(f"Wrote {written} in {minutes:.1f} min.")
    exported = options.output.with_suffix(".tflite")
    if exported.exists() and not options.evaluate:
        command = f"python train.py --output {options.output} --export {exported}"
        print(f"{exported} still holds the previous model. To update it, run `{command}`.")


def split(options: argparse.Namespace, data: Dataset) -> NDArray[np.str_]:
    """Split the data: as --split says, as the data came, or by lesion.

    Raises:
        DataError: see `read_split` and `split_by_lesion`.
    """
    if options.split:
        return read_split(options.split, data.image_ids, data.labels)
    if data.parts is not None:
        return data.parts
    return split_by_lesion(data.lesion_ids, data.labels)


def parts_to_evaluate(options: argparse.Namespace, data: Dataset) -> NDArray[np.str_] | None:
    """Return the split of the data that the model was trained on; None for any other data.

    Raises:
        LesionLensError: the model file is invalid, or --split is wrong.
    """
    if options.split:  # must be the model's own split
        parts = split(options, data)
        check_split(options.output, parts)
        return parts
    try:
        parts = split(options, data)
        check_split(options.output, parts)
    except (DataError, TrainingError):  # such as too few images of a class: other data
        return None
    return parts


def evaluate_images(
    options: argparse.Namespace, data: Dataset, parts: NDArray[np.str_] | None
) -> None:
    """Score the model file on the user's own images, and print the scores.

    On the data that the model was trained on, only the test part is scored.
    """
    if parts is None:
        warning = own_scores.warning_of(options.output, data)
    else:
        print("The model was trained on these images, so only their test part is scored.")
        warning = leak_warning(data, parts)
        data = data.only(parts == "test")
    if warning:
        print(f"WARNING: {warning}, so expect the scores below to be inflated.", flush=True)
    doubt = own_scores.doubt_of(options.output, data) if parts is None and not warning else None
    if options.report:
        own_scores.check_report(options.report)
    result, eight = own_scores.score_own(options.output, data)
    counts = ", ".join(f"{code} {count:,}" for code, count in result["images"].items() if count)
    lesions = "" if result["lesions"] is None else f" of {result['lesions']:,} lesions"
    print(f"\n{options.output} on {len(data.labels):,} images{lesions}: {counts}")
    if result["missing_classes"]:
        print(
            f"No image of {', '.join(result['missing_classes'])}: balanced accuracy and macro AUC "
            "cover the other classes."
        )
    print("The 95 % intervals are in brackets.")
    if result["lesions"] is None:
        print("Lesion ids are missing, so each image counts as its own lesion.")
    if doubt:
        print(f"WARNING: {doubt}")
    print()
    print(table_of_images(result["scores"]))
    if warning:
        print(f"Expect these scores to be inflated: {warning}.")
    elif parts is None:
        print("If the model has learned from some of these images, these scores are inflated.")
    if options.report:
        own_scores.write_report(options.report, result, data.labels, eight)
        print(f"Wrote scores.json and three plots to {options.report}.")


def read_data(options: argparse.Namespace) -> Dataset:
    """Read the data set that the command line names.

    Raises:
        DataError, TrainingError: it is missing or invalid.
    """
    if options.images and is_medmnist(options.images):
        print(f"Reading {options.images[0]} …", flush=True)
        return read_medmnist(options.images[0])
    if options.images:
        print(f"Reading the images in {', '.join(map(str, options.images))} …", flush=True)
        reading = ReadingOptions(options.group, options.skip_unknown, options.skip_missing)
        return add_clinics(read_images(options.images, options.labels, reading), options.sources)
    if options.download:
        download()
    csv_path, metadata_path = find_data(options.csv, options.metadata)
    print(f"Reading {csv_path} and {metadata_path or 'no metadata'} …", flush=True)
    data = read_dataset(csv_path, metadata_path, options.group)
    return add_clinics(data, options.sources, beside=metadata_path or csv_path)


def is_medmnist(images: Sequence[Path]) -> bool:
    """Whether --images names a file of MedMNIST rather than folders or zips."""
    return any(path.suffix.lower() == ".npz" for path in images)


def print_sizes(data: Dataset, parts: NDArray[np.str_]) -> None:
    """Print how many images and lesions each part has."""
    for part in PARTS:
        rows = parts == part
        lesions = ""
        if data.lesion_ids is not None:
            lesions = f" of {len(set(data.lesion_ids[rows])):,} lesions"
        print(f"  {part:12} {rows.sum():6,} images{lesions}", flush=True)


def leak_warning(data: Dataset, parts: NDArray[np.str_]) -> str | None:
    """Warn that images of one lesion are, or may be, in two parts; None if none are."""
    shared = shared_lesions(data.lesion_ids, parts)
    if shared is None:
        return "lesion ids are missing, and images of one lesion may be on both sides of the split"
    if shared:
        return f"{shared:,} of the test images show a lesion that is also in another part"
    return None


# --- The command line ------------------------------------------------------------------------


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line; if it is wrong, argparse exits with code 2."""
    parser = make_parser()
    options = parser.parse_args(arguments)
    check_export(parser, options)
    check_images(parser, options)
    check_training(parser, options)
    if options.output is None:
        split_file = split_file_of(options)
        options.output = (
            RUNS_DIRECTORY / split_file.stem / "model.h5" if split_file else DEFAULT_MODEL_PATH
        )
    if options.output.suffix != ".h5" and not options.export:
        parser.error(f"--output must end in .h5, but {options.output} does not")
    if options.output.is_dir():
        parser.error(f"--output must be a file, but {options.output} is a folder")
    return options


def make_parser() -> argparse.ArgumentParser:
    """Make the parser, with every option and its help."""
    parser = argparse.ArgumentParser(
        description="Train the classifier on HAM10000 and write best_model.h5.",
        allow_abbrev=False,  # else --image would be --images
    )
    parser.add_argument(
        "--csv", type=Path, help="hmnist_28_28_RGB.csv or .csv.zip (default: in data/)"
    )
    parser.add_argument(
        "--metadata", type=Path, help="HAM10000_metadata.csv (default: beside the CSV)"
    )
    parser.add_argument(
        "--sources",
        type=Path,
        help="CSV image_id,dataset: the clinic and camera of each image (default: the metadata's "
        "dataset column, or HAM10000_sources.csv beside it)",
    )
    parser.add_argument(
        "--images",
        type=Path,
        action="append",
        help="folder or zip of your own images (repeat for more), or DermaMNIST's .npz",
    )
    parser.add_argument(
        "--labels",
        type=Path,
        help="their labels: a CSV image_id,dx[,lesion_id], or an ISIC table (default: the names "
        "of the folders that hold the images)",
    )
    parser.add_argument(
        "--group",
        action="append",
        default=[],
        help="table column by which to break down the scores (repeat for more)",
    )
    parser.add_argument(
        "--skip-unknown",
        action="store_true",
        help=f"leave out images whose diagnosis is outside the {CLASS_COUNTS['all']} classes",
    )
    parser.add_argument(
        "--skip-missing", action="store_true", help="leave out rows whose image is missing"
    )
    parser.add_argument(
        "--download",
        action="store_true",
        help="fetch the CSV and the metadata from Kaggle into data/",
    )
    parser.add_argument(
        "--split", type=Path, help="CSV image_id,split (train, val, test); writes to runs/"
    )
    parser.add_argument("--output", type=Path, help="the model file (default: best_model.h5)")
    parser.add_argument(
        "--seed", type=int, default=SEED, help=f"seed for all random numbers (default: {SEED})"
    )
    parser.add_argument(
        "--teachers",
        type=int,
        help=f"number of teachers, whose predictions the model learns from (default: "
        f"{Recipe.teachers})",
    )
    parser.add_argument(
        "--epochs", type=int, help=f"epochs of each network (default: {Recipe.epochs})"
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help=f"no teachers and {QUICK.epochs} epochs: under two minutes",
    )
    parser.add_argument("--resume", action="store_true", help="continue an interrupted training")
    parser.add_argument(
        "--evaluate", action="store_true", help="score the model file instead of training"
    )
    parser.add_argument(
        "--report",
        type=Path,
        help="with --evaluate: write the scores and plots to this folder, not beside the model",
    )
    parser.add_argument(
        "--export",
        type=Path,
        help="convert the model file (--output) to this .tflite, .onnx or .h5 (for Keras 2 and 3)",
    )
    parser.add_argument(
        "--classes",
        help="with --export to .h5: the classes in the order of the outputs, if the file lacks it",
    )
    return parser


def check_export(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Check that --export names a known format, and that no given option would be ignored."""
    if options.classes and (options.export is None or options.export.suffix != ".h5"):
        parser.error("--classes needs an --export that ends in .h5")
    if options.export is None:
        return
    if options.export.suffix not in EXPORTS:
        parser.error(f"--export must end in {' or '.join(EXPORTS)}, but {options.export} does not")
    others = set(vars(options)) - {"export", "output", "classes"}
    if any(getattr(options, name) != parser.get_default(name) for name in others):
        parser.error("--export does not train: combine it only with --output and --classes")


def check_images(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Check that the options for the user's own images can be combined."""
    if options.labels and not options.images:
        parser.error("--labels needs --images, the folder of the images")
    if options.images and (options.csv or options.metadata or options.download):
        parser.error("--images replaces --csv, --metadata and --download")
    if (options.skip_unknown or options.skip_missing) and not options.images:
        parser.error("--skip-unknown and --skip-missing need --images")
    if options.images and is_medmnist(options.images):
        others = ("labels", "group", "skip_unknown", "skip_missing", "split", "sources")
        if len(options.images) > 1 or any(getattr(options, name) for name in others):
            parser.error(
                "an .npz in --images cannot be combined with another --images, or with --labels, "
                "--group, --split, --sources or a --skip option"
            )
    if options.report and not options.evaluate:
        parser.error("--report needs --evaluate")


def split_file_of(options: argparse.Namespace) -> Path | None:
    """Return the file that defines another split, if there is one."""
    if options.images and is_medmnist(options.images) and not options.evaluate:
        return Path(options.images[0])
    return options.split


def check_training(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Check that the data and training options are in range and can be combined."""
    if options.download and options.csv:
        parser.error("--download and --csv cannot be combined")
    if options.evaluate and (
        options.quick or options.resume or (options.epochs, options.teachers) != (None, None)
    ):
        parser.error("--evaluate does not train, so it takes no training options")
    if options.quick and (options.epochs or options.teachers is not None):
        parser.error("--quick sets --epochs and --teachers itself")
    if options.epochs is not None and options.epochs < 1:
        parser.error("--epochs must be at least 1")
    if options.teachers is not None and not 0 <= options.teachers <= MOST_TEACHERS:
        parser.error(f"--teachers must be from 0 to {MOST_TEACHERS}")
    if not 0 <= options.seed < 2**31:
        parser.error("--seed must be from 0 to 2,147,483,647")
    home = DEFAULT_MODEL_PATH.resolve().parent
    if split_file_of(options) and options.output and options.output.resolve().parent == home:
        parser.error(
            f"a model of another split may not be written beside {DEFAULT_MODEL_PATH.name}: choose "
            "an --output in another folder"
        )


def recipe_of(options: argparse.Namespace) -> Recipe:
    """Return the recipe that the command line asks for."""
    recipe = QUICK if options.quick else Recipe()
    named = {"epochs": options.epochs, "teachers": options.teachers}
    return replace(recipe, **{name: value for name, value in named.items() if value is not None})


if __name__ == "__main__":
    sys.exit(main())
