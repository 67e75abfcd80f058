"""What the command line writes of its answers: lines, CSV and JSON, the most urgent first."""

import json
from pathlib import Path
from typing import TextIO

from tqdm import tqdm

from lesion_lens.model.classifier import Answer, Classifier
from lesion_lens.model.decisions import LAST
from lesion_lens.model.wording import percent
from lesion_lens.web.folders import printable
from lesion_lens.web.outputs import standard_output, writing
from lesion_lens.web.results import csv_header, csv_line, describe_classes, describe_model, to_dict
from skin_cancer_detection import CLASSES, CODES


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
