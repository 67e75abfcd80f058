"""The command line for folders of images.

    flask --app app classify PATH… [--csv OUT] [--json OUT]

One image is in memory at a time, however many there are.
"""

import contextlib
import json
import os
import sys
from pathlib import Path

import click
from flask import current_app
from flask.cli import with_appcontext
from PIL import Image
from tqdm import tqdm

from classifier import decode
from records import classes, csv_header, csv_line, model, to_dict
from skin_cancer_detection import (
    CLASSES,
    CODES,
    FORMATS,
    ImageError,
    ModelFileError,
    SkinCancerDetectionError,
)

OUT = click.Path(dir_okay=False, path_type=Path)
NO_IMAGE, NO_MODEL, INTERRUPTED = 1, 3, 130  # exit codes; 2 is Click's, of a wrong command line


class UnreadableFile(SkinCancerDetectionError):
    """A file that the system does not let us read."""


class UnwritableFile(click.ClickException):
    """A file that the system does not let us write."""

    exit_code = 2


@click.command("classify")
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--csv", "csv_path", type=OUT, help="Write a table to this file.")
@click.option("--json", "json_path", type=OUT, help="Write all that is said to this file.")
@with_appcontext
def classify(paths, csv_path, json_path):
    """Classify images: files, and whatever images are in folders and in their folders.

    Without --csv and --json, a line for each image is printed. A file that cannot be used is named
    at the end and stops nothing.
    """
    classifier = current_app.extensions["classifier"]
    found = [is_image for _, is_image in files_in(paths)]
    total, passed_over = sum(found), len(found) - sum(found)
    done, faults, interrupted = 0, [], False
    with contextlib.ExitStack() as outputs:
        writers = []
        if csv_path:
            writers.append(CsvWriter(outputs.enter_context(whole_file(csv_path)), classifier))
        if json_path:
            writers.append(JsonWriter(outputs.enter_context(whole_file(json_path)), classifier))
        try:
            classifier.load()
        except ModelFileError as error:
            say(error)
            sys.exit(NO_MODEL)
        bar = outputs.enter_context(tqdm(total=total, unit="image", disable=None))
        try:
            for path in (path for path, is_image in files_in(paths) if is_image):
                name, answer, fault = shown(path), None, None
                try:
                    answer = classifier(decode(read(path)).pixels)
                    done += 1
                except (ImageError, UnreadableFile) as error:
                    fault = str(error)
                    faults.append(f"{name}: {fault}")
                for writer in writers:
                    writer.write(name, answer, fault)
                if answer and not writers:
                    tqdm.write(line_of(name, answer))
                bar.update()
        except KeyboardInterrupt:
            interrupted = True  # what is done is kept
        for writer in writers:
            writer.end()
    report(done, total, passed_over, faults, interrupted)


def report(done, total, passed_over, faults, interrupted):
    """Say on standard error how it went, and end with the exit code that says the same."""
    if interrupted:
        say("Interrupted; what was done until then is kept.")
    if total == 0:
        say("No image was found. Name a folder with images, or the images themselves.")
    else:
        say(f"{done:,} of {total:,} images classified.")
    if passed_over:
        say(f"{passed_over:,} files of other kinds were passed over.")
    if faults:
        say(f"{len(faults):,} could not be used:")
        for fault in faults:
            say(f"  {fault}")
    if interrupted or not done:
        sys.exit(INTERRUPTED if interrupted else NO_IMAGE)


def say(text):
    """Print a line where it does not mix with the answers."""
    print(text, file=sys.stderr)


# --- Reading ---------------------------------------------------------------------------------


def files_in(paths):
    """Walk through folders in the order of the alphabet, following no links to folders.

    Args:
        paths: iterable of pathlib.Path, files and folders that exist.

    Yields:
        (path, is_image): a str, and whether to classify it: a file that is named itself, or one in
        a folder whose suffix is that of a format of `FORMATS`.
    """
    Image.init()
    suffixes = {suffix for suffix, name in Image.EXTENSION.items() if name in FORMATS}
    for path in paths:
        if not path.is_dir():
            yield str(path), True
        for folder, folders, names in os.walk(path):
            folders.sort()
            for name in sorted(names):
                yield os.path.join(folder, name), os.path.splitext(name)[1].lower() in suffixes


def read(path):
    """Read a file's bytes.

    Raises:
        UnreadableFile
    """
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UnreadableFile(f"The file cannot be read ({error.strerror}).") from error


def shown(path):
    """Write a path so that every output can hold it, whatever its bytes are."""
    return os.fsencode(path).decode("utf-8", "replace")


# --- Writing ---------------------------------------------------------------------------------


@contextlib.contextmanager
def whole_file(path):
    """Open a text file that takes the place of an older one only when it is finished.

    Raises:
        UnwritableFile
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with unfinished.open("w", encoding="utf-8", newline="") as file:
            yield file
        os.replace(unfinished, path)
    except OSError as error:
        raise UnwritableFile(
            f"{path} cannot be written ({error.strerror}). Choose another place."
        ) from error
    finally:
        unfinished.unlink(missing_ok=True)


class CsvWriter:
    """Writes answers as lines of CSV (RFC 4180)."""

    def __init__(self, file, classifier):
        self._file, self._sha256 = file, classifier.sha256
        self._file.write(csv_header() + "\r\n")

    def write(self, name, answer, fault):
        self._file.write(csv_line(name, answer, self._sha256, fault) + "\r\n")

    def end(self):
        """A table has no end of its own."""


class JsonWriter:
    """Writes answers as one document of JSON, an answer a line."""

    def __init__(self, file, classifier):
        self._file, self._between = file, "\n"
        head = {"model": model(classifier), "classes": classes()}
        self._file.write(json.dumps(head, ensure_ascii=False)[:-1] + ', "results": [')

    def write(self, name, answer, fault):
        what = {"error": fault} if answer is None else {"prediction": to_dict(answer)}
        line = json.dumps({"file": name} | what, ensure_ascii=False)
        self._file.write(self._between + line)
        self._between = ",\n"

    def end(self):
        self._file.write("\n]}\n")


def line_of(name, answer):
    """Say of one image what a reader of a terminal looks for."""
    record = to_dict(answer)
    likely = CLASSES[CODES.index(record["most_likely"])].name
    probability = 100 * record["probabilities"][record["most_likely"]]
    return f"{name}: {record['sentence']} Most likely class: {likely}, {probability:.0f} %."
