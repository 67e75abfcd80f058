"""Measure how well the model does on images of a clinic or camera that it has never seen.

    python -m scripts.leave_one_clinic_out                    on what is in data/
    python -m scripts.leave_one_clinic_out --csv A.csv --metadata B.csv --sources C.csv

For each source in turn, this fits a network without the source's images, with the recipe of a model
file but without teachers. It calibrates the network on the calibration images that are left, and
scores it on the source that was left out. The test part is not used. The figures are written to the
model file and to metrics.json beside it; `make card` then writes them into the documents. The
networks are kept in runs/leave_one_clinic_out/. To continue after an interruption, run the same
command again.
"""

import argparse
import operator
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lesion_lens import ROOT
from lesion_lens.model.errors import LesionLensError
from lesion_lens.model.facts import can_fill_card
from lesion_lens.model.files import DEFAULT_MODEL_PATH
from lesion_lens.training.clinics import leave_out_clinics
from lesion_lens.training.data import read_dataset
from lesion_lens.training.download import add_clinics, find_data
from lesion_lens.training.errors import TrainingError
from lesion_lens.training.pipeline import add_facts, check_facts_can_be_added, other_rows_warning
from lesion_lens.training.recipe import Recipe
from lesion_lens.training.split import split_by_lesion, split_checksum
from lesion_lens.web.card_tables import QUESTIONS, clinic_columns, clinic_table, statement_table

RUNS = ROOT / "runs" / "leave_one_clinic_out"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = parse_arguments(arguments)
    try:
        measure(options)
    except (LesionLensError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nInterrupted. To continue, run the same command again.", file=sys.stderr)
        return 130
    return 0


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--csv", type=Path, help="as for train.py (default: data/)")
    parser.add_argument("--metadata", type=Path, help="as for train.py")
    parser.add_argument("--sources", type=Path, help="CSV image_id,dataset, as for train.py")
    parser.add_argument(
        "--model",
        type=Path,
        default=DEFAULT_MODEL_PATH,
        help="the model file to add the figures to (default: best_model.h5)",
    )
    parser.add_argument("--runs", type=Path, default=RUNS, help="folder for the networks")
    options = parser.parse_args(arguments)
    if options.model.suffix != ".h5":
        parser.error(f"--model must end in .h5, and {options.model} does not")
    return options


def measure(options: argparse.Namespace) -> None:
    """Leave out each clinic, print the scores and write them to the files.

    Raises:
        LesionLensError: anything that the user can fix.
    """
    begin = time.monotonic()
    facts = check_facts_can_be_added(options.model)  # fail now, not after up to an hour of fitting
    recipe, seed = recipe_of(options.model, facts)
    csv_path, metadata_path = find_data(options.csv, options.metadata)
    print(f"Reading {csv_path} and {metadata_path or 'no metadata'} …", flush=True)
    data = read_dataset(csv_path, metadata_path)
    data = add_clinics(data, options.sources, beside=metadata_path or csv_path)
    parts = split_by_lesion(data.lesion_ids, data.labels)
    if facts.get("split_sha256") != split_checksum(parts):
        raise TrainingError(
            f"{options.model} was trained on a different data set or with --split: pass the data "
            "that it was trained on, or a model with train.py's own split."
        )
    if facts.get("data_sha256") != data.sha256:
        print(other_rows_warning(options.model))
    scores = leave_out_clinics(data, parts, recipe, seed, options.runs)
    print(f"\n{report(facts, scores['clinics'])}\n")
    add_facts(options.model, {"other_clinics": scores})
    minutes = (time.monotonic() - begin) / 60
    print(f"Wrote them to {options.model} and metrics.json beside it, in {minutes:.1f} min.")
    exported = options.model.with_suffix(".tflite")
    if exported.exists():
        command = f"python train.py --output {options.model} --export {exported}"
        print(f"{exported} does not have them yet. To update it, run `{command}`.")


def recipe_of(path: Path, facts: dict[str, Any]) -> tuple[Recipe, int]:
    """Return the recipe of a model file, without the teachers, and its seed.

    Raises:
        TrainingError: the file does not have them, or has unknown settings.
    """
    try:
        return replace(Recipe(**facts["recipe"]), teachers=0), operator.index(facts["seed"])
    except (KeyError, TypeError) as error:
        raise TrainingError(
            f"{path} does not say with which recipe and seed it was made: run `python train.py` to "
            "make it again."
        ) from error


def report(facts: dict[str, Any], clinics: dict[str, Any]) -> str:
    """Lay out the scores for each clinic and what the statements meant there, like the card."""
    test = facts["test"] if can_fill_card(facts) else None
    columns = clinic_columns(test, clinics)
    parts = [clinic_table(columns)]
    for question, heading in QUESTIONS.items():
        parts += [f"{heading}:", statement_table(columns, question)]
    return "\n\n".join(parts)


if __name__ == "__main__":
    sys.exit(main())
