"""An answer as JSON and as a CSV row, the same for pages, the API and the command line."""

import base64
import csv
import io
import math
import os
from collections.abc import Iterable
from typing import Any

from lesion_lens import version
from lesion_lens.model.classifier import Answer
from lesion_lens.model.decisions import HEADLINES
from lesion_lens.model.outliers import REASONS
from lesion_lens.web.heat_maps import draw_map
from lesion_lens.web.occlusion_map import strongest_region
from skin_cancer_detection import CODES

# A page passes these columns to static/csv.js in its header line, and tests/csv_cases.json checks
# that both write the same rows.
CSV_COLUMNS = (
    "file",
    "risk_level",
    "familiarity",
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
    "version",  # last, so that the others keep their places for older programs
)
# https://challenge.isic-archive.com/landing/2018/47/
ISIC_COLUMNS = ("image", "MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC")
# The values of `verdict`. 'inconclusive' is no longer sent.
VERDICTS = ("unlike", "unknown", "inconclusive", "low risk", "see a doctor")
DECIMALS = 6  # of a probability


def to_dict(answer: Answer) -> dict[str, Any]:
    """Return an answer as a JSON-serialisable dict.

    Returns:
        `risk_level` (of `LEVELS`); its headline and the next step as `sentence`; `familiarity` (of
        `FAMILIARITIES`); `verdict` (of `VERDICTS`, kept for older programs); `most_likely` (a
        code); `probabilities` (of each code, 0–1); `malignant_probability` (0–1);
        `cannot_be_excluded` (a list of codes), `flagged` (a code), `inconclusive`, `low_risk` and
        `unlike` (booleans); `headline` and `next_step`, the parts of `sentence`;
        `likeliest_cancer` (a code); `unproven` (a boolean: the risk would be called low if that had
        proved right for such images); `familiarity_distance` (0 or more) and `familiarity_reason`
        (of `REASONS`: its `code` and `text`). Some are None: what the model file has no facts or
        rules for, `flagged` if nothing is flagged, and the reason unless the image is unfamiliar.
    """
    statements = answer.statements
    possible = statements.cannot_be_excluded
    return {
        "risk_level": answer.risk_level,
        "familiarity": answer.familiarity,
        "verdict": verdict(answer.risk_level, answer.familiarity),
        "sentence": f"{HEADLINES[answer.risk_level]} {answer.next_step}",
        "most_likely": statements.most_likely,
        "probabilities": {
            code: round(share, DECIMALS)
            for code, share in zip(CODES, answer.probabilities.tolist(), strict=True)
        },
        "malignant_probability": round(statements.malignant_probability, DECIMALS),
        "cannot_be_excluded": None if possible is None else list(possible),
        "flagged": statements.flagged,
        "inconclusive": statements.inconclusive,
        "low_risk": statements.low_risk,
        "unlike": None if answer.familiarity is None else answer.familiarity != "familiar",
        "headline": HEADLINES[answer.risk_level],
        "next_step": answer.next_step,
        "likeliest_cancer": statements.likeliest_cancer,
        "unproven": None if statements.low_risk is None else statements.unproven,
        "familiarity_distance": _finite(answer.distance),
        "familiarity_reason": answer.reason
        and {"code": answer.reason, "text": REASONS[answer.reason]},
    }


def _finite(value: float | None) -> float | None:
    """Round a number; None if it is not finite, which JSON cannot express."""
    return None if value is None or not math.isfinite(value) else round(value, DECIMALS)


def explain(answer: Answer, preview: bytes | None) -> dict[str, Any]:
    """Return an answer's occlusion map as a JSON-serialisable dict.

    Args:
        answer: with a map.
        preview: a JPEG, from `DecodedImage`; None for no picture.

    Returns:
        `map` (7 rows of 7 floats, −1 to 1); `region` (words, from `strongest_region`, or None);
        `picture` (a data: address of the PNG that `draw_map` draws, or None).
    """
    assert answer.occlusion is not None  # noqa: S101 (for mypy: the caller asked for it)
    picture = None
    if preview is not None:
        png = base64.b64encode(draw_map(preview, answer.occlusion)).decode()
        picture = f"data:image/png;base64,{png}"
    return {
        "map": [[round(fall, DECIMALS) for fall in row] for row in answer.occlusion.tolist()],
        "region": strongest_region(answer.occlusion),
        "picture": picture,
    }


def verdict(level: str, familiarity: str | None) -> str:
    """Return the value of `VERDICTS` that is closest to a risk level."""
    if level == "unknown":
        return "unlike" if familiarity == "not dermatoscopic" else "unknown"
    return "low risk" if level == "low" else "see a doctor"


def csv_line(
    file: str,
    record: dict[str, Any] | None = None,
    model_sha256: str | None = None,
    error: str | None = None,
) -> str:
    """Write one image as a line of CSV with `CSV_COLUMNS`.

    Args:
        file: the file's name.
        record: the answer, from `to_dict`; None if there is an error.
        model_sha256: of the `Classifier` that gave the answer.
        error: a sentence on why the file could not be classified; None if it could.

    Returns:
        The line, without a line end. A list of classes is separated by spaces, a boolean is `true`
        or `false`, and an unknown value is empty.
    """
    values: dict[str, Any] = {"file": _harmless(file), "error": error}
    if record is not None:
        shares = record["probabilities"]
        values |= record | shares | {"probability": shares[record["most_likely"]]}
        values |= {"model_sha256": model_sha256, "version": version()}
    return _joined(_text(values.get(column)) for column in CSV_COLUMNS)


def isic_line(file: str, record: dict[str, Any]) -> str:
    """Write one image as a line of the ISIC challenge's CSV of classes (task 3 of 2018).

    Args:
        file: the file's name.
        record: the answer, from `to_dict`.

    Returns:
        The line, without a line end: the name from `isic_name`, and the probabilities, 0–1, in the
        order of `ISIC_COLUMNS`.
    """
    shares = (record["probabilities"][column.lower()] for column in ISIC_COLUMNS[1:])
    return _joined([isic_name(file), *map(str, shares)])


def codes_without_isic_column() -> list[str]:
    """Return the classes that the ISIC challenge's CSV has no column for."""
    return [code for code in CODES if code.upper() not in ISIC_COLUMNS]


def isic_name(file: str) -> str:
    """Return an image's name in the ISIC challenge: the file name without folder and suffix."""
    return os.path.splitext(os.path.basename(file))[0]


def isic_header() -> str:
    """Return the header of a CSV of `isic_line`s, without a line end."""
    return _joined(ISIC_COLUMNS)


def csv_header() -> str:
    """Return the header of a CSV of `csv_line`s, without a line end."""
    return _joined(CSV_COLUMNS)


def _joined(cells: Iterable[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(cells)
    return line.getvalue().removesuffix("\r\n")  # the writer quotes names with this line end


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return " ".join(value) if isinstance(value, list) else str(value)


def _harmless(name: str) -> str:
    # A spreadsheet treats a cell that begins like this as a formula (OWASP, CSV injection).
    return "'" + name if name.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) else name
