"""Measure what the model is worth on images of a clinic or camera that it has never seen.

    python -m scripts.leave_one_clinic_out                    on what is in data/
    python -m scripts.leave_one_clinic_out --csv A.csv --metadata B.csv --sources C.csv

Takes the recipe of a model file, without teachers; fits a network without the images of each source
in turn; calibrates it on what is left; and scores it on the source that was left out. The test
part is not used. The figures go into the model file and into metrics.json beside it; `make card`
then writes them into the documents. The networks are kept in runs/leave_one_clinic_out/. To
continue after an interruption, run the same command again.
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
    """Run the command; returns its exit code."""
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
        help="the model file that the figures are added to (default: best_model.h5)",
    )
    parser.add_argument("--runs", type=Path, default=RUNS, help="the networks are kept there")
    options = parser.parse_args(arguments)
    if options.model.suffix != ".h5":
        parser.error(f"--model must end in .h5, and {options.model} does not")
    return options


def measure(options: argparse.Namespace) -> None:
    """Leave out each clinic, print the scores and write them down.

    Raises:
        LesionLensError: whatever the user can mend.
    """
    begin = time.monotonic()
    facts = check_facts_can_be_added(options.model)  # before the hour that the networks may take
    recipe, seed = recipe_of(options.model, facts)
    csv_path, metadata_path = find_data(options.csv, options.metadata)
    print(f"Reading {csv_path} and {metadata_path or 'no metadata'} …", flush=True)
    data = read_dataset(csv_path, metadata_path)
    data = add_clinics(data, options.sources, beside=metadata_path or csv_path)
    parts = split_by_lesion(data.lesion_ids, data.labels)
    if facts.get("split_sha256") != split_checksum(parts):
        raise TrainingError(
            f"{options.model} was trained on another data set or with --split: name the data that "
            "it was made of, and a model of train.py's own split."
        )
    if facts.get("data_sha256") != data.sha256:
        print(other_rows_warning(options.model))
    scores = leave_out_clinics(data, parts, recipe, seed, options.runs)
    print(f"\n{report(facts, scores['clinics'])}\n")
    add_facts(options.model, {"other_clinics": scores})
    minutes = (time.monotonic() - begin) / 60
    print(f"Wrote them into {options.model} and metrics.json beside it, in {minutes:.1f} min.")
    exported = options.model.with_suffix(".tflite")
    if exported.exists():
        command = f"python train.py --output {options.model} --export {exported}"
        print(f"{exported} does not have them yet: make it again by `{command}`.")


def recipe_of(path: Path, facts: dict[str, Any]) -> tuple[Recipe, int]:
    """The recipe of a model file, without the teachers, and its seed.

    Raises:
        TrainingError: the file does not say it, or has settings that are not known.
    """
    try:
        return replace(Recipe(**facts["recipe"]), teachers=0), operator.index(facts["seed"])
    except (KeyError, TypeError) as error:
        raise TrainingError(
            f"{path} does not say what recipe and seed it was made by: run `python train.py` to "
            "make it again."
        ) from error


def report(facts: dict[str, Any], clinics: dict[str, Any]) -> str:
    """Lay out the scores on each clinic and what the statements meant there, as the card does."""
    test = facts["test"] if can_fill_card(facts) else None
    columns = clinic_columns(test, clinics)
    parts = [clinic_table(columns)]
    for question, heading in QUESTIONS.items():
        parts += [f"{heading}:", statement_table(columns, question)]
    return "\n\n".join(parts)


if __name__ == "__main__":
    sys.exit(main())
