"""An answer as JSON, as CSV and in figures: the same for pages, programs and the command line."""

import csv
import io

from lesion_lens.model.decisions import VERDICTS, verdict
from skin_cancer_detection import CLASSES, CODES

CSV_COLUMNS = (
    "file",
    "verdict",
    "most_likely",
    "probability",
    *CODES,
    "malignant_probability",
    "cannot_be_excluded",
    "flagged",
    "inconclusive",
    "low_risk",
    "unlike",
    "model_sha256",
    "error",
)
_DECIMALS = 6


def to_dict(answer):
    """Lay out an answer as a dict that JSON can hold.

    Args:
        answer: `classifier.Answer`.

    Returns:
        dict: `verdict` (a key of `decisions.VERDICTS`) and its `sentence`; `most_likely` (a code);
        `probabilities` (of each code, 0–1); `malignant_probability` (0–1); `cannot_be_excluded` (a
        list of codes), `flagged` (a code), `inconclusive`, `low_risk` and `unlike` (booleans), each
        of them None where the model file cannot say it, and `flagged` where nothing is flagged.
    """
    statements = answer.statements
    said = verdict(statements, answer.unlike)
    possible = statements.cannot_be_excluded
    return {
        "verdict": said,
        "sentence": VERDICTS[said],
        "most_likely": statements.most_likely,
        "probabilities": {
            code: round(share, _DECIMALS)
            for code, share in zip(CODES, answer.probabilities.tolist(), strict=True)
        },
        "malignant_probability": round(statements.malignant_probability, _DECIMALS),
        "cannot_be_excluded": None if possible is None else list(possible),
        "flagged": statements.flagged,
        "inconclusive": statements.inconclusive,
        "low_risk": statements.low_risk,
        "unlike": answer.unlike,
    }


def describe_model(classifier):
    """Say which model answers, as a dict that JSON can hold.

    Args:
        classifier: `classifier.Classifier`.

    Returns:
        dict: `sha256` of the model file, `data_sha256` of what it was trained on or None.
    """
    return {"sha256": classifier.sha256, "data_sha256": classifier.facts.get("data_sha256")}


def describe_classes():
    """Name the seven classes, as a list of dicts that JSON can hold."""
    return [{"code": kind.code, "name": kind.name, "risk": kind.risk} for kind in CLASSES]


def csv_line(file, answer=None, model_sha256=None, error=None):
    """Lay out one image as a line of CSV with `CSV_COLUMNS`.

    Args:
        file: the file's name.
        answer: `classifier.Answer`, or None where there is an error.
        model_sha256: of the `Classifier` that gave the answer.
        error: the sentence of the fault where the file could not be classified.

    Returns:
        str, without a line end. A class list is separated by spaces, a boolean is `true` or
        `false`, and what is not known is empty.
    """
    values = {"file": _harmless(file), "error": error}
    if answer is not None:
        record = to_dict(answer)
        shares = record["probabilities"]
        values |= record | shares
        values |= {"probability": shares[record["most_likely"]], "model_sha256": model_sha256}
    return _joined(_text(values.get(column)) for column in CSV_COLUMNS)


def csv_header():
    """The first line of a CSV of `csv_line`s, without a line end."""
    return _joined(CSV_COLUMNS)


def _joined(cells):
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(cells)
    return line.getvalue().removesuffix("\r\n")  # which it must know of to quote a name with one


def _text(value):
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return " ".join(value) if isinstance(value, list) else str(value)


def _harmless(name):
    # A spreadsheet takes a cell that begins so for a formula (OWASP, CSV injection).
    return "'" + name if name.startswith(("=", "+", "-", "@", "\t", "\r")) else name
