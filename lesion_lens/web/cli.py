"""The command line for folders of images.

    flask --app app classify PATH… [--csv OUT] [--json OUT]

Two images are in memory at a time, however many there are.
"""

import contextlib
import json
import os
import stat
import sys
from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import click
from flask import current_app
from flask.cli import with_appcontext
from PIL import Image
from tqdm import tqdm

from lesion_lens.model.classifier import MAX_DECODES, decode
from lesion_lens.model.errors import ImageError, LesionLensError, ModelFileError
from lesion_lens.model.images import FORMATS, MAX_PIXELS
from lesion_lens.model.wording import percent
from lesion_lens.web.results import csv_header, csv_line, describe_classes, describe_model, to_dict
from skin_cancer_detection import CLASSES, CODES

OUT = click.Path(dir_okay=False, allow_dash=True, path_type=Path)
MAX_BYTES = 8 * MAX_PIXELS  # of a file: no image that may be read has more, even uncompressed
AHEAD = 32  # images begun before the answer to the first of them is written
NO_IMAGE, NO_MODEL, INTERRUPTED = 1, 3, 130  # exit codes; 2 is Click's, of a wrong command line


class UnreadableFile(LesionLensError):
    """A file that the system does not let us read."""


class UnwritableFile(click.ClickException):
    """A file that the system does not let us write."""

    exit_code = 2


@click.command("classify")
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--csv", "csv_path", type=OUT, help="Write a table to this file; - for the output.")
@click.option("--json", "json_path", type=OUT, help="Write all that is said to this file, or -.")
@with_appcontext
def classify(paths, csv_path, json_path):
    """Classify images: files, and whatever images are in folders and in their folders.

    Without --csv and --json, a line for each image is printed. A file that cannot be used is named
    at the end and stops nothing.
    """
    if csv_path and json_path and csv_path.resolve() == json_path.resolve():
        raise click.UsageError("--csv and --json name the same file. Give each one of its own.")
    classifier = current_app.extensions["classifier"]
    try:
        found = Counter(is_image for _, is_image in files_in(paths))
    except KeyboardInterrupt:
        stop_before_the_first()
    total, passed_over = found[True], found[False]
    if total == 0:
        report(0, 0, passed_over)
    done, faults, interrupted = 0, [], False
    with contextlib.ExitStack() as outputs:
        writers = [
            kind(outputs.enter_context(whole_file(path)), classifier)
            for kind, path in ((CsvWriter, csv_path), (JsonWriter, json_path))
            if path
        ]
        bar = outputs.enter_context(tqdm(total=total, unit=" images", disable=None))
        try:
            classifier.load()
            for name, answer, fault in answers(paths, classifier):
                if answer is None:
                    faults.append(f"{printable(name)}: {fault}")
                else:
                    done += 1
                for writer in writers:
                    writer.write(name, answer, fault)
                if answer and not writers:
                    tqdm.write(line_of(name, answer))
                bar.update()
        except ModelFileError as error:
            say(error)
            sys.exit(NO_MODEL)
        except KeyboardInterrupt:
            if not done and not faults:
                stop_before_the_first()
            interrupted = True
        for writer in writers:
            writer.end()
    report(done, total, passed_over, faults, interrupted)


def answers(paths, classifier):
    """Classify images, `MAX_DECODES` at a time, and give the answers in the order of the files.

    Yields:
        (name, answer, fault), from `answer_of`.
    """
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


def answer_of(path, classifier):
    """Classify one image.

    Returns:
        (name, answer, fault): a str, a `classifier.Answer` or None, and what is wrong with the file
        where there is no answer.

    Raises:
        ModelFileError
    """
    try:
        return shown(path), classifier(decode(read(path)).pixels), None
    except (ImageError, UnreadableFile) as error:
        return shown(path), None, str(error)


def report(done, total, passed_over, faults=(), interrupted=False):
    """Say on standard error how it went, and end with the exit code that says the same."""
    if interrupted:
        say("Interrupted; what was done until then is kept.")
    if total == 0:
        say("No image was found. Name a folder with images, or the images themselves.")
    else:
        say(f"{done:,} of {total:,} images classified.")
    if passed_over:
        say(f"{passed_over:,} of other kinds passed over.")
    if faults:
        say(f"{len(faults):,} could not be used:")
        for fault in faults:
            say(f"  {fault}")
    if interrupted or not done:
        sys.exit(INTERRUPTED if interrupted else NO_IMAGE)


def stop_before_the_first():
    """End after an interruption that left nothing to keep."""
    say("Interrupted before the first image; nothing was written.")
    sys.exit(INTERRUPTED)


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
        a folder whose suffix is that of a format of `FORMATS`. A folder that may not be looked
        into counts as an image, so that reading it says why.
    """
    Image.init()
    suffixes = {suffix for suffix, name in Image.EXTENSION.items() if name in FORMATS}
    for path in paths:
        if not path.is_dir():
            yield str(path), True
            continue
        closed = []
        for folder, folders, names in os.walk(path, onerror=closed.append):
            folders.sort()
            for name in sorted(names):
                is_image = os.path.splitext(name)[1].lower() in suffixes
                yield os.path.join(folder, name), is_image and not name.startswith(".")
        yield from ((error.filename, True) for error in closed)


def read(path):
    """Read a file's bytes.

    Raises:
        UnreadableFile: the system refuses, or there are more than `MAX_BYTES`.
    """
    # Not by pathlib, which keeps each name that it has seen for ever (Python 3.12 and later).
    try:
        found = os.stat(path)
        if stat.S_ISFIFO(found.st_mode):  # reading it may wait for ever
            raise UnreadableFile("This is not a file that holds an image. Choose another.")
        if found.st_size > MAX_BYTES:
            raise UnreadableFile(
                f"The file has more than {MAX_BYTES // 1_000_000} MB. Make it smaller and retry."
            )
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise UnreadableFile(f"The file cannot be read ({error.strerror}).") from error


def shown(path):
    """Write a path so that every output can hold it, whatever its bytes are."""
    return os.fsencode(path).decode("utf-8", "replace")


def printable(name):
    """Write a name so that it stays on its line and gives a terminal no orders."""
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in name)


# --- Writing ---------------------------------------------------------------------------------


@contextlib.contextmanager
def whole_file(path):
    """Open a text file that takes the place of an older one only when it is finished.

    What is no file, such as a pipe or `-`, the standard output, is written to as it is.

    Raises:
        UnwritableFile
    """
    if str(path) == "-":
        yield sys.stdout
        return
    in_place = path.exists() and not path.is_file()  # nothing may take the place of /dev/null
    goal = path.resolve()  # so that a link goes on leading there
    written = goal if in_place else goal.with_name(f".{goal.name}.{os.getpid()}")
    try:
        with written.open("w", encoding="utf-8", newline="") as file:
            yield file
        if not in_place:
            os.replace(written, goal)
    except OSError as error:
        raise UnwritableFile(
            f"{path} cannot be written ({error.strerror}). Choose another place."
        ) from error
    finally:
        if not in_place:
            written.unlink(missing_ok=True)


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
        head = {"model": describe_model(classifier), "classes": describe_classes()}
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
    probability = percent(record["probabilities"][record["most_likely"]])
    return f"{printable(name)}: {record['sentence']} Most likely class: {likely}, {probability}."
