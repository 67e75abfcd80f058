"""The command line's output formats: lines, CSV and JSON."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol, TextIO

from tqdm import tqdm

from lesion_lens.model.classifier import Classifier
from lesion_lens.model.wording import percent
from lesion_lens.web.about import describe
from lesion_lens.web.folders import printable
from lesion_lens.web.outputs import standard_output, writing
from lesion_lens.web.progress import Entry
from lesion_lens.web.results import (
    csv_header,
    csv_line,
    isic_header,
    isic_line,
    isic_name,
)
from skin_cancer_detection import CLASSES, CODES


class Writer(Protocol):
    """Writes the results for the images."""

    def write(self, entries: Iterable[Entry]) -> None:
        """Write all of it.

        Args:
            entries: the images that are done, the most urgent first.

        Raises:
            UnwritableFile
        """


class LineWriter:
    """Prints a line for each answer; the caller prints the faults at the end."""

    def write(self, entries: Iterable[Entry]) -> None:
        with writing(Path("-")):
            for entry in entries:
                if entry.record is not None:
                    tqdm.write(line_of(entry.name, entry.record), file=standard_output())
            standard_output().flush()


class CsvWriter:
    """Writes answers as lines of CSV (RFC 4180)."""

    def __init__(self, path: Path, file: TextIO, classifier: Classifier) -> None:
        self._path, self._file, self._sha256 = path, file, classifier.sha256

    def write(self, entries: Iterable[Entry]) -> None:
        with writing(self._path):
            self._file.write(csv_header() + "\r\n")
            for entry in entries:
                line = csv_line(entry.name, entry.record, self._sha256, entry.fault)
                self._file.write(line + "\r\n")


class IsicWriter:
    """Writes answers as the ISIC challenge's CSV, in the order of the images' names.

    An image without an answer has no line, because it has no probabilities.
    """

    def __init__(self, path: Path, file: TextIO, _: Classifier) -> None:
        self._path, self._file = path, file

    def write(self, entries: Iterable[Entry]) -> None:
        lines = sorted(
            (isic_name(entry.name), isic_line(entry.name, entry.record))
            for entry in entries
            if entry.record is not None
        )
        with writing(self._path):
            for line in (isic_header(), *(line for _, line in lines)):
                self._file.write(line + "\n")


class JsonWriter:
    """Writes answers as one JSON document, with one answer per line."""

    def __init__(self, path: Path, file: TextIO, classifier: Classifier) -> None:
        self._path, self._file = path, file
        self._head = describe(classifier)

    def write(self, entries: Iterable[Entry]) -> None:
        head = json.dumps(self._head, ensure_ascii=False)[:-1]
        with writing(self._path):
            self._file.write(head + ', "results": [')
            for number, entry in enumerate(entries):
                what = {"prediction": entry.record} if entry.record else {"error": entry.fault}
                line = json.dumps({"file": entry.name} | what, ensure_ascii=False)
                self._file.write((",\n" if number else "\n") + line)
            self._file.write("\n]}\n")


def line_of(name: str, record: dict[str, Any]) -> str:
    """Summarise one image in a line for the terminal.

    Args:
        name: of its file.
        record: its answer, from `to_dict`.
    """
    likely = CLASSES[CODES.index(record["most_likely"])].name
    probability = percent(record["probabilities"][record["most_likely"]])
    said = [record["sentence"]]
    if record["familiarity"] in ("unfamiliar", "not dermatoscopic"):
        said.append(f"The image is {record['familiarity']}.")
    said.append(f"Most likely class: {likely}, {probability}.")
    said.append(f"Cancer or precancer: {percent(record['malignant_probability'])}.")
    return f"{printable(name)}: {' '.join(said)}"
