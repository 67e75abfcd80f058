"""The views of the pages: upload form, result, table of results, model card, health."""

import base64
import io
import threading
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
from flask import Blueprint, current_app, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image
from werkzeug.datastructures import FileStorage
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

from lesion_lens import version
from lesion_lens.model.admission import admission
from lesion_lens.model.classifier import Answer
from lesion_lens.model.crops import LEAST_KEPT, LEAST_VIEW, ROUNDING, Crop
from lesion_lens.model.decisions import HEADLINES, LAST, LEVELS
from lesion_lens.model.decoder import THUMBNAIL_SIDE, DecodedImage
from lesion_lens.model.errors import ImageError, ModelFileError, Problem
from lesion_lens.model.limits import (
    MAX_PIXELS,
    MAX_SIDE,
    MEGA,
    MIME_TYPES,
    PIXEL_LIMITS,
    READABLE,
    SUFFIXES,
)
from lesion_lens.model.outliers import REASONS
from lesion_lens.web import api, language
from lesion_lens.web.about import SHORT_CHECKSUM
from lesion_lens.web.card_page import card_page
from lesion_lens.web.card_tables import meaning, pairs
from lesion_lens.web.current import get_classifier
from lesion_lens.web.limits import MAX_IMAGES
from lesion_lens.web.occlusion_map import strongest_region, visible_patches
from lesion_lens.web.problems import UNREAD, hide_model_error, retry_header
from lesion_lens.web.results import csv_header, csv_line, to_dict
from lesion_lens.web.uploads import (
    decoded,
    drain,
    drain_oversized_body,
    max_megabytes,
    uploaded_crop,
    uploaded_images,
)
from skin_cancer_detection import CLASSES, CODES

CLASS_OF = dict(zip(CODES, CLASSES, strict=True))

pages = Blueprint("pages", __name__)

# Held while the sample is classified: the first visitor starts it, and the others wait for the
# result. So it needs no admission, which a server busy with uploads would refuse.
_drawing = threading.Lock()


@pages.get("/")
def index() -> str:
    """Show the upload form."""
    return render_template("index.html")


@pages.post("/showresult")
def show_result() -> ResponseReturnValue:
    """Classify the images in the form's field `pic` and show the result."""
    # Read the body before taking a turn, so that slow clients do not block others.
    files = uploaded_images("pic")
    crop = uploaded_crop(len(files))
    with admission():
        if len(files) > 1:
            return show_batch(files)
        return render_template("result.html", **result_context(files[0], crop))


@pages.get("/showresult")
def back_to_index() -> ResponseReturnValue:
    """Redirect to the form, because no result is kept at this address."""
    return redirect(url_for("pages.index"))


@pages.get("/sample")
def show_sample() -> str:
    """Show the result of a drawn picture, for visitors who have no image to try."""
    with _drawing:
        if "sample" not in current_app.extensions:  # only once: `RATE_LIMIT` does not count this
            data = (Path(current_app.root_path) / "static" / "sample.jpg").read_bytes()
            file = FileStorage(io.BytesIO(data), "sample.jpg")
            current_app.extensions["sample"] = result_context(file)
    context = current_app.extensions["sample"] | {"today": today()}
    return render_template("result.html", is_sample=True, **context)


@pages.get("/model")
def model_page() -> str:
    """Show the card of the served model."""
    repository = current_app.config.get("REPOSITORY_URL") or ""
    return render_template("model.html", card=card_page(get_classifier(), repository))


@pages.get("/healthz")
def healthz() -> ResponseReturnValue:
    """Say that the process is alive."""
    return "ok\n", {"Content-Type": "text/plain"}


@pages.get("/readyz")
def readyz() -> ResponseReturnValue:
    """Say whether the model is loaded."""
    ready = get_classifier().is_loaded
    text, status = ("ready\n", 200) if ready else ("the model is being loaded\n", 503)
    return text, status, {"Content-Type": "text/plain"}


# --- A result, and a table of them -----------------------------------------------------------


def result_context(file: FileStorage, crop: Crop | None = None) -> dict[str, Any]:
    """Classify an uploaded file and return the context of result.html.

    Args:
        crop: what was cut away from it; None for a whole picture.

    Raises:
        ImageError, ModelFileError
    """
    classifier = get_classifier()
    ((name, image),) = decoded([file], with_preview=True)
    if isinstance(image, ImageError):
        raise image
    return context_of(name, image, classifier(image.pixels, True, crop))


def context_of(name: str, image: DecodedImage, answer: Answer) -> dict[str, Any]:
    """The context of result.html; static/device_page.js builds the same on a device.

    Args:
        name: of the file.
        image: with a preview.
        answer: of the classifier, with an occlusion map.
    """
    classifier = get_classifier()
    assert image.preview is not None  # noqa: S101 (for mypy: the callers ask for one)
    assert answer.occlusion is not None  # noqa: S101 (for mypy, likewise)
    ranking = sorted(
        zip(CLASSES, answer.probabilities.tolist(), strict=True),
        key=lambda pair: pair[1],
        reverse=True,
    )
    return {
        "answer": answer,
        "reason": answer.reason and REASONS[answer.reason],
        # These figures were counted on whole pictures.
        "meaning": meaning(classifier.facts, answer.risk_level, answer.familiarity)
        if answer.crop is None or answer.crop.is_harmless
        else None,
        "statements": answer.statements,
        "ranking": ranking,
        "pooled": [CLASS_OF[code].name for code in classifier.pooled_classes],
        "patches": visible_patches(answer.occlusion),
        "region": strongest_region(answer.occlusion),
        "preview": data_address(image.preview, "image/jpeg"),
        "preview_size": image.size,
        "pixels": data_address(as_png(image.pixels), "image/png"),
        "row": row_of(name, answer),
        "today": today(),
    }


def today() -> date:
    """The date in UTC, which `str` writes in ISO 8601."""
    return datetime.now(UTC).date()


def show_batch(files: list[FileStorage]) -> ResponseReturnValue:
    """Classify one image after the other and show a table that includes the failures."""
    classifier = get_classifier()
    rows = [
        error_row(name, image)
        if isinstance(image, ImageError)
        else row_of(name, classifier(image.pixels), image.preview)
        for name, image in decoded(files, with_preview=True, preview_side=THUMBNAIL_SIDE)
    ]
    rows.sort(key=lambda row: row["urgency"])
    csv = "\r\n".join([table_header(), *(row["csv"] for row in rows)]) + "\r\n"
    page = render_template(
        "batch.html",
        rows=rows,
        counts=counts_of(rows),
        csv_address=data_address(csv.encode("utf-8-sig"), "text/csv"),
    )
    return page, 200 if any("likely" in row for row in rows) else 422


def row_of(name: str, answer: Answer, preview: bytes | None = None) -> dict[str, Any]:
    """The context of a row in the table of results, with its line of CSV.

    Args:
        name: of the file.
        answer: of the classifier.
        preview: a JPEG for the row; None if static/rows.js takes the one of the result.
    """
    return {
        "name": name,
        "preview": preview and data_address(preview, "image/jpeg"),
        "level": answer.risk_level,
        "next_step": answer.next_step,
        "familiarity": answer.familiarity,
        "reason": answer.reason and REASONS[answer.reason],
        "is_cropped": answer.crop is not None,
        "urgency": answer.urgency,
        "likely": CLASS_OF[answer.statements.most_likely],
        "probability": float(answer.probabilities.max()),
        "malignant_probability": answer.statements.malignant_probability,
        "date": today(),
        "csv": f"{csv_line(name, to_dict(answer), get_classifier().sha256)},{today()},",
    }


def error_row(name: str, error: ImageError) -> dict[str, Any]:
    """The same for a file that could not be classified."""
    return {
        "name": name,
        "error": error,
        "urgency": LAST,
        "csv": f"{csv_line(name, error=str(error))},,",
    }


def table_header() -> str:
    """The first line of the CSV of a table: `csv_header`, the date and the reader's note.

    The note comes last because only the browser has it and appends it to the line of a row.
    """
    return f"{csv_header()},date,note"


def counts_of(rows: list[dict[str, Any]]) -> dict[str, int]:
    """Count the rows of each risk level; those that were not classified are `failed`."""
    found = [row.get("level", "failed") for row in rows]
    return {level: found.count(level) for level in (*LEVELS, "failed")}


def data_address(data: bytes, kind: str) -> Markup:
    """Put bytes into a data: address, because the server keeps nothing that it could link to."""
    text = f"data:{kind};base64,{base64.b64encode(data).decode()}"
    return Markup(text)  # noqa: S704 (there is nothing to escape, and checking takes 0.5 ms)


def as_png(pixels: NDArray[np.uint8]) -> bytes:
    """Encode pixels, (28, 28, 3), RGB, 0–255, as a PNG."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


# --- What went wrong -------------------------------------------------------------------------


def show_problem(problem: Problem) -> ResponseReturnValue:
    """Show the upload page again with a problem's sentence and its status."""
    if request.path.startswith("/api/"):  # an address that does not exist there
        return api.show_problem(problem)
    if isinstance(problem, UNREAD):
        drain()
    return upload_page_with(str(problem)), problem.status, retry_header(problem)


def show_model_error(error: ModelFileError) -> ResponseReturnValue:
    """Show the upload page again and say that the model cannot be used."""
    return show_problem(hide_model_error(error))


def show_http_error(error: HTTPException) -> Response:
    """Show Flask's own errors as pages, and those of an upload on the upload page."""
    if request.path.startswith("/api/"):
        return api.show_http_problem(error)
    response = error.get_response()  # with the headers that belong to the status
    if request.endpoint != "pages.show_result" or error.code not in (400, 413):
        page = render_template("error.html", error=error)
    elif error.code == 413:
        page = upload_page_with(str(drain_oversized_body()))
    else:
        page = upload_page_with("The form could not be read. Choose one image and send it again.")
    response.set_data(page)
    return response


def upload_page_with(sentence: str) -> str:
    """The upload page with an error."""
    return render_template("index.html", error=sentence)


# --- What every template can use -------------------------------------------------------------


def template_context() -> dict[str, Any]:
    """What every template can use: the limits, the model's facts and more."""
    classifier = get_classifier()
    return {
        "language": language.LANGUAGE,
        "direction": language.DIRECTION,
        "max_images": MAX_IMAGES,
        "max_megabytes": max_megabytes(),
        "max_megapixels": MAX_PIXELS // MEGA,
        "max_jpeg_megapixels": PIXEL_LIMITS["JPEG"] // MEGA,
        "max_webp_megapixels": PIXEL_LIMITS["WEBP"] // MEGA,
        "max_avif_megapixels": PIXEL_LIMITS["AVIF"] // MEGA,
        "max_side": MAX_SIDE,
        "facts": classifier.facts,
        "repository_url": current_app.config["REPOSITORY_URL"],  # "" if there is none
        "model_sha256": classifier.sha256,
        "short_checksum": SHORT_CHECKSUM,
        "class_of": CLASS_OF,
        "headlines": HEADLINES,
        "accept": ",".join((*MIME_TYPES, *SUFFIXES)),  # some systems do not know every type
        "formats": READABLE,
        "least_kept": LEAST_KEPT,
        "least_view": LEAST_VIEW,
        "rounding": ROUNDING,
        "csv_header": table_header(),
        "app_version": version(),
        "today": today(),
        "pairs": pairs(classifier.facts),
    }
