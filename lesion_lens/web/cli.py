"""The command line for folders of images.

    flask --app app classify PATH… [--csv OUT] [--json OUT]

Three images are in memory at a time, however many there are. The answers are kept until the last,
as the most urgent come first.
"""

import contextlib
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import click
from flask.cli import with_appcontext
from tqdm import tqdm

from lesion_lens.model.classifier import Classifier
from lesion_lens.model.errors import ModelFileError
from lesion_lens.web.bulk import answers
from lesion_lens.web.current import get_classifier
from lesion_lens.web.folders import check_outputs, files_in, printable, spared
from lesion_lens.web.outputs import whole_file
from lesion_lens.web.reports import CsvWriter, JsonWriter, LineWriter, Writer

OUT = click.Path(dir_okay=False, allow_dash=True, path_type=Path)
NO_IMAGE, NO_MODEL, INTERRUPTED = 1, 3, 130  # exit codes; 2 is Click's, of a wrong command line


@click.command("classify")
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--csv", "csv_path", type=OUT, help="Write a table to this file; - for the output.")
@click.option("--json", "json_path", type=OUT, help="Write all that is said to this file, or -.")
@with_appcontext
def classify(paths: tuple[Path, ...], csv_path: Path | None, json_path: Path | None) -> None:
    """Classify images: files, and whatever images are in folders and in their folders.

    Without --csv and --json, a line for each image is printed. The most urgent come first: by risk
    level, then by the probability of a cancer or precancer. A file that cannot be used is named at
    the end and stops nothing.
    """
    named = {"--csv": csv_path, "--json": json_path}
    outputs_named = {option: path for option, path in named.items() if path}
    if csv_path and json_path and csv_path.resolve() == json_path.resolve():
        raise click.UsageError("--csv and --json name the same file. Give each one of its own.")
    classifier = get_classifier()
    check_outputs(outputs_named)
    try:
        found = Counter(is_image for _, is_image in spared(files_in(paths), outputs_named))
    except KeyboardInterrupt:
        exit_before_the_first()
    total, passed_over = found[True], found[False]
    outcome = Outcome()
    if total:
        with contextlib.ExitStack() as outputs:
            writers: list[Writer] = [
                kind(path, outputs.enter_context(whole_file(path)), classifier)
                for kind, path in ((CsvWriter, csv_path), (JsonWriter, json_path))
                if path
            ]
            bar = outputs.enter_context(tqdm(total=total, unit=" images", disable=None))
            outcome = classify_all(paths, classifier, writers or [LineWriter()], bar)
    say_outcome(outcome, total, passed_over)
    if outcome.exit_code:
        sys.exit(outcome.exit_code)


@dataclass
class Outcome:
    """How it went.

    Attributes:
        done: images that have an answer.
        faults: a line for each image that could not be used.
        interrupted: whether there would have been more.
    """

    done: int = 0
    faults: list[str] = field(default_factory=list)
    interrupted: bool = False

    @property
    def exit_code(self) -> int:
        if self.interrupted:
            return INTERRUPTED
        return 0 if self.done else NO_IMAGE


def classify_all(
    paths: Iterable[Path],
    classifier: Classifier,
    writers: "list[Writer]",
    bar: "tqdm[NoReturn]",
) -> Outcome:
    """Classify images and write the answers, the most urgent first."""
    outcome = Outcome()
    try:
        classifier.load()
        for name, answer, fault in answers(paths, classifier):
            if answer is None:
                outcome.faults.append(f"{printable(name)}: {fault}")
            else:
                outcome.done += 1
            for writer in writers:
                writer.take(name, answer, fault)
            bar.update()
    except ModelFileError as error:
        say(str(error))
        sys.exit(NO_MODEL)
    except KeyboardInterrupt:
        if not outcome.done and not outcome.faults:
            exit_before_the_first()
        outcome.interrupted = True
    for writer in writers:
        writer.end()
    return outcome


def exit_before_the_first() -> NoReturn:
    """End after an interruption that left nothing to keep."""
    say("Interrupted before the first image; nothing was written.")
    sys.exit(INTERRUPTED)


def say_outcome(outcome: Outcome, total: int, passed_over: int) -> None:
    """Say on standard error how it went."""
    if outcome.interrupted:
        say("Interrupted; what was done until then is kept.")
    if total:
        say(f"{outcome.done:,} of {total:,} images classified.")
    else:
        say("No image was found. Name a folder with images, or the images themselves.")
    if passed_over:
        say(f"{passed_over:,} of other kinds passed over.")
    if outcome.faults:
        say(f"{len(outcome.faults):,} could not be used:")
    for fault in outcome.faults:
        say(f"  {fault}")


def say(text: str) -> None:
    """Print a line where it does not mix with the answers."""
    print(text, file=sys.stderr)
