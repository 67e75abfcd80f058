"""The command line for folders of images.

    flask --app app classify PATH… [--csv OUT] [--json OUT]

Three images are in memory at a time, however many there are. The answers are kept until the last,
as the most urgent come first.
"""

import contextlib
import json
import math
import os
import sys
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import NoReturn, TextIO

import click
from flask import current_app
from flask.cli import with_appcontext
from tqdm import tqdm

from lesion_lens.model.classifier import Answer, Classifier
from lesion_lens.model.decisions import LAST
from lesion_lens.model.decoding import DecoderPool
from lesion_lens.model.errors import Busy, ImageError, ModelFileError, NotProcessed
from lesion_lens.model.image_files import UnreadableFile, may_be_image, read
from lesion_lens.model.limits import MAX_DECODES, MEGA, SUFFIXES
from lesion_lens.model.wording import percent
from lesion_lens.web.current import get_classifier
from lesion_lens.web.outputs import standard_output, whole_file, writing
from lesion_lens.web.results import csv_header, csv_line, describe_classes, describe_model, to_dict
from skin_cancer_detection import CLASSES, CODES

OUT = click.Path(dir_okay=False, allow_dash=True, path_type=Path)
AHEAD = 32  # images begun before the answer to the first of them is written
NO_IMAGE, NO_MODEL, INTERRUPTED = 1, 3, 130  # exit codes; 2 is Click's, of a wrong command line


# Nobody else waits for these, so each has as much memory as the largest image needs, and its turn.
decode = DecoderPool(memory=MAX_DECODES * 400 * MEGA, answer_limit=math.inf).decode


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


# The name of a file, the answer or None, and what is wrong with the file where there is none.
Result = tuple[str, Answer | None, str | None]


def answers(paths: Iterable[Path], classifier: Classifier) -> Iterator[Result]:
    """Classify images, `MAX_DECODES` at a time, and give the results in the order of the files."""
    images = (path for path, is_image in files_in(paths) if is_image)
    with ThreadPoolExecutor(MAX_DECODES) as pool:
        begun = (pool.submit(answer_of, path, classifier) for path in images)
        try:
            ahead = deque(islice(begun, AHEAD))
            while ahead:
                yield ahead.popleft().result()
                ahead.extend(islice(begun, 1))
        finally:  # after an interruption only what is begun is waited for
            pool.shutdown(cancel_futures=True)


def answer_of(path: str, classifier: Classifier) -> Result:
    """Classify one image.

    Raises:
        ModelFileError
    """
    try:
        return shown(path), classifier(decode(read(path)).pixels), None
    except (ImageError, UnreadableFile) as error:
        return shown(path), None, error.at_the_command_line()
    except Busy:  # the machine left its decoder no time, or let none be started
        return shown(path), None, str(NotProcessed())


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


# --- Reading ---------------------------------------------------------------------------------


def files_in(paths: Iterable[Path]) -> Iterator[tuple[str, bool]]:
    """Walk through folders in the order of the alphabet, following no links to folders.

    Args:
        paths: files and folders that exist.

    Yields:
        (path, is_image): the second says whether to classify it: a file that is named itself, or
        one in a folder that `may_be_image`. A folder that may not be looked into counts as an
        image, so that reading it says why.
    """
    for path in paths:
        if not path.is_dir():
            yield str(path), True
            continue
        closed: list[OSError] = []
        for folder, folders, names in os.walk(path, onerror=closed.append):
            folders.sort()
            for name in sorted(names):
                found = os.path.join(folder, name)
                yield found, may_be_image(found)
        yield from ((error.filename, True) for error in closed)


def check_outputs(outputs: dict[str, Path]) -> None:
    """See that no output would take the place of a picture, as `--csv *.png` would, or the model.

    Args:
        outputs: option -> the path that it names.

    Raises:
        click.UsageError
    """
    model = identity(str(current_app.config["MODEL_PATH"]))
    for option, path in outputs.items():
        if path.suffix.lower() in SUFFIXES:
            raise click.UsageError(
                f"{option} names {path}, which ends as an image does. Name another file."
            )
        if model and identity(str(path)) == model:
            raise click.UsageError(f"{option} names the model file. Name another file.")


def spared(
    files: Iterable[tuple[str, bool]], outputs: dict[str, Path]
) -> Iterator[tuple[str, bool]]:
    """Pass on what `files_in` yields, and see that none of the images would be overwritten.

    Raises:
        click.UsageError: an output is one of the images, whatever it is called.
    """
    options = {identity(str(path)): option for option, path in outputs.items()}
    options.pop(None, None)  # what is not there yet overwrites nothing
    for path, is_image in files:
        if options and is_image and (option := options.get(identity(path))):
            raise click.UsageError(
                f"{option} names {printable(shown(path))}, which is one of the images. Name "
                "another file."
            )
        yield path, is_image


def identity(path: str) -> tuple[int, int] | None:
    """What is the same for all names of a file; None where there is no such file."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino


def shown(path: str) -> str:
    """Write a path so that every output can hold it, whatever its bytes are."""
    return os.fsencode(path).decode("utf-8", "replace")


def printable(name: str) -> str:
    """Write a name so that it stays on its line and gives a terminal no orders."""
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in name)


# --- Writing ---------------------------------------------------------------------------------


class Writer:
    """Keeps a text for each image, to write them the most urgent first."""

    def __init__(self) -> None:
        self._texts: list[tuple[float, str]] = []

    def take(self, name: str, answer: Answer | None, fault: str | None) -> None:
        """Keep what is to be written of an image: its answer, or what is wrong with its file."""
        urgency = LAST if answer is None else answer.urgency
        self._texts.append((urgency, self.text(name, answer, fault)))

    def text(self, name: str, answer: Answer | None, fault: str | None) -> str:
        """Write down one image."""
        raise NotImplementedError

    def in_order(self) -> list[str]:
        """All texts; of equally urgent ones the first that came is the first."""
        return [text for _, text in sorted(self._texts, key=lambda pair: pair[0])]

    def end(self) -> None:
        """Write everything."""
        raise NotImplementedError


class LineWriter(Writer):
    """Prints a line for each answer; the faults are told at the end."""

    def text(self, name: str, answer: Answer | None, fault: str | None) -> str:
        return "" if answer is None else line_of(name, answer)

    def end(self) -> None:
        with writing(Path("-")):
            for line in filter(None, self.in_order()):
                tqdm.write(line, file=standard_output())
            standard_output().flush()


class CsvWriter(Writer):
    """Writes answers as lines of CSV (RFC 4180)."""

    def __init__(self, path: Path, file: TextIO, classifier: Classifier) -> None:
        super().__init__()
        self._path, self._file, self._sha256 = path, file, classifier.sha256

    def text(self, name: str, answer: Answer | None, fault: str | None) -> str:
        return csv_line(name, answer, self._sha256, fault)

    def end(self) -> None:
        with writing(self._path):
            for line in (csv_header(), *self.in_order()):
                self._file.write(line + "\r\n")


class JsonWriter(Writer):
    """Writes answers as one document of JSON, an answer a line."""

    def __init__(self, path: Path, file: TextIO, classifier: Classifier) -> None:
        super().__init__()
        self._path, self._file = path, file
        self._head = {"model": describe_model(classifier), "classes": describe_classes()}

    def text(self, name: str, answer: Answer | None, fault: str | None) -> str:
        what = {"error": fault} if answer is None else {"prediction": to_dict(answer)}
        return json.dumps({"file": name} | what, ensure_ascii=False)

    def end(self) -> None:
        head = json.dumps(self._head, ensure_ascii=False)[:-1]
        with writing(self._path):
            self._file.write(head + ', "results": [\n' + ",\n".join(self.in_order()) + "\n]}\n")


def line_of(name: str, answer: Answer) -> str:
    """Say of one image what a reader of a terminal looks for."""
    record = to_dict(answer)
    likely = CLASSES[CODES.index(record["most_likely"])].name
    probability = percent(record["probabilities"][record["most_likely"]])
    said = [record["sentence"]]
    if record["familiarity"] in ("unfamiliar", "not dermatoscopic"):
        said.append(f"The image is {record['familiarity']}.")
    said.append(f"Most likely class: {likely}, {probability}.")
    said.append(f"Cancer or precancer: {percent(record['malignant_probability'])}.")
    return f"{printable(name)}: {' '.join(said)}"
