"""The pages: an uploaded image in, a results page out."""

import base64
import io
from datetime import UTC, datetime

import numpy as np
from flask import current_app, redirect, render_template, request, url_for
from PIL import Image

from lesion_lens.model.classifier import admission, decode
from lesion_lens.model.decisions import MALIGNANT, VERDICTS, verdict
from lesion_lens.model.errors import ImageError, ModelFileError
from lesion_lens.model.images import MAX_PIXELS, MAX_SIDE, MIME_TYPES, READABLE
from lesion_lens.web.api import show_http_problem
from lesion_lens.web.card_page import card_page
from lesion_lens.web.problems import PROBLEM_TYPES
from lesion_lens.web.results import csv_header, csv_line
from lesion_lens.web.uploads import (
    MAX_IMAGES,
    MODEL_UNUSABLE,
    RETRY_AFTER,
    max_megabytes,
    refuse_too_much,
    uploaded_images,
)
from skin_cancer_detection import CLASSES, CODES

CLASS_OF = dict(zip(CODES, CLASSES, strict=True))
# The order in which the table of results sorts its sentences.
URGENCY = ("see a doctor", "inconclusive", "unlike", "unknown", "low risk")
# How the occlusion map is drawn, chosen for the eye; nothing is decided by it.
NOTICEABLE_FALL = 0.02  # of the probability; a patch is shown if covering it takes so much
STRONGEST = 0.6  # opacity of the strongest patch, so that the image is seen through it


def index():
    """Show the upload form."""
    return render_template("index.html")


def show_result():
    """Classify the image in the form's field `pic`, or several, and show what came out."""
    uploads = uploaded_images("pic")  # read before, so that a slow line keeps nobody waiting
    with admission():
        if len(uploads) > 1:
            return show_batch(uploads)
        return render_template("result.html", **result_context(uploads[0]))


def result_context(upload):
    """Classify an upload; returns all that result.html speaks of.

    Raises:
        ImageError, ModelFileError
    """
    classifier = current_app.extensions["classifier"]
    image = decode(bytes_of(upload), with_preview=True)
    answer = classifier(image.pixels, with_map=True)
    ranking = sorted(
        zip(CLASSES, answer.probabilities.tolist(), strict=True),
        key=lambda pair: pair[1],
        reverse=True,
    )
    return {
        "answer": answer,
        "statements": answer.statements,
        "verdict": verdict(answer.statements, answer.unlike),
        "ranking": ranking,
        "pooled": [CLASS_OF[code].name for code in classifier.pooled_classes],
        "patches": visible_patches(answer.occlusion),
        "region": strongest_region(answer.occlusion),
        "preview": data_address(image.preview, "image/jpeg"),
        "preview_size": image.size,
        "row": row_of(upload.filename, image.pixels, answer),
        "today": datetime.now(UTC).date().isoformat(),
    }


def show_batch(uploads):
    """Classify one image after the other and show them in a table, the spoiled ones by name."""
    classifier = current_app.extensions["classifier"]
    rows = []
    for upload in uploads:
        try:
            pixels = decode(bytes_of(upload)).pixels
        except ImageError as error:
            rows.append(error_row(upload.filename, error))
        else:
            rows.append(row_of(upload.filename, pixels, classifier(pixels)))
    csv = "\r\n".join([csv_header(), *(row["csv"] for row in rows)]) + "\r\n"
    page = render_template(
        "batch.html", rows=rows, csv_address=data_address(csv.encode("utf-8-sig"), "text/csv")
    )
    return page, 200 if any("likely" in row for row in rows) else 422


def bytes_of(upload):
    """Take the bytes out of an upload, so that they are in memory once."""
    data = upload.read()
    upload.close()
    return data


def row_of(name, pixels, answer):
    """All that a row of the table of results speaks of, and the same as a line of CSV."""
    classifier = current_app.extensions["classifier"]
    statements = answer.statements
    said = verdict(statements, answer.unlike)
    return {
        "name": name,
        "pixels": data_address(as_png(pixels), "image/png"),
        "verdict": said,
        "urgency": URGENCY.index(said),
        "likely": CLASS_OF[statements.most_likely],
        "probability": float(answer.probabilities.max()),
        "malignant_probability": statements.malignant_probability,
        "csv": csv_line(name, answer, classifier.sha256),
    }


def error_row(name, error):
    """The same of a file that could not be classified."""
    return {"name": name, "error": error, "csv": csv_line(name, error=str(error))}


def back_to_index():
    """A result is not kept, so its address leads back to the form."""
    return redirect(url_for("index"))


def model_page():
    """Show the card of the model that is served."""
    card = card_page(current_app.extensions["classifier"])
    return render_template("model.html", card=card)


def healthz():
    """Say that the process lives."""
    return "ok\n", {"Content-Type": "text/plain"}


def readyz():
    """Say whether the model is loaded."""
    ready = current_app.extensions["classifier"].is_loaded
    text, status = ("ready\n", 200) if ready else ("the model is being loaded\n", 503)
    return text, status, {"Content-Type": "text/plain"}


def data_address(data, kind):
    """Make a data: address of bytes, as nothing is kept that another address could lead to."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def as_png(pixels):
    """Encode pixels, uint8 (28, 28, 3), RGB, 0–255, as they are."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def visible_patches(occlusion):
    """Choose the patches of an occlusion map that are drawn over the image.

    Args:
        occlusion: float (7, 7), by how much the probability falls for each covered patch.

    Returns:
        list of (row, column, opacity), for falls of `NOTICEABLE_FALL` or more; the largest has the
        opacity `STRONGEST`, and the others are in proportion.
    """
    return [
        (row, column, STRONGEST * float(occlusion[row, column] / occlusion.max()))
        for row, column in np.argwhere(occlusion >= NOTICEABLE_FALL).tolist()
    ]


def strongest_region(occlusion):
    """Say in words where covering the image counts most: the text in the place of the map.

    Args:
        occlusion: float (7, 7).

    Returns:
        str, the ninth of the image with the strongest patch; None where no patch is noticeable.
    """
    if occlusion.max() < NOTICEABLE_FALL:
        return None
    row, column = np.unravel_index(occlusion.argmax(), occlusion.shape)
    words = (
        ("upper left", "top", "upper right"),
        ("left", "centre", "right"),
        ("lower left", "bottom", "lower right"),
    )
    return words[(row + 1) // 3][(column + 1) // 3]  # of seven: two, three, two


def show_error(error):
    """Show the upload page again with the error's sentence and its status."""
    if isinstance(error, ModelFileError):
        current_app.logger.error("%s", error)
        sentence = MODEL_UNUSABLE
    else:
        sentence = str(error)
    status = PROBLEM_TYPES[type(error)].status
    headers = {"Retry-After": str(RETRY_AFTER)} if status == 503 else {}
    return upload_page_with(sentence), status, headers


def show_http_error(error):
    """Show Flask's own errors as pages; those of an upload as the upload page."""
    if request.path.startswith("/api/"):
        return show_http_problem(error)
    response = error.get_response()  # with the headers that belong to the status
    if request.endpoint != "show_result" or error.code not in (400, 413):
        page = render_template("error.html", error=error)
    elif error.code == 413:
        page = upload_page_with(refuse_too_much())
    else:
        page = upload_page_with("The form could not be read. Choose one image and send it again.")
    response.set_data(page)
    return response


def upload_page_with(sentence):
    """The upload page that tells of an error."""
    return render_template("index.html", error=sentence)


def template_context():
    """What every template may say of the limits and of the model's scores."""
    facts = current_app.extensions["classifier"].facts
    scores = facts["test"]["eight_views"] if facts.get("test") else None
    return {
        "max_images": MAX_IMAGES,
        "max_megabytes": max_megabytes(),
        "max_megapixels": MAX_PIXELS // 1_000_000,
        "max_side": MAX_SIDE,
        "facts": facts,
        "model_sha256": current_app.extensions["classifier"].sha256,
        "class_of": CLASS_OF,
        "verdicts": VERDICTS,
        "accept": ",".join(MIME_TYPES),
        "formats": READABLE,
        "csv_header": csv_header(),
        "melanomas_called_benign": melanomas_called_benign(scores) if scores else None,
    }


def melanomas_called_benign(scores):
    """The share of the test melanomas whose most likely class was a benign one.

    Args:
        scores: from `scores.evaluate`.

    Returns:
        float, 0–1; None where there was no melanoma.
    """
    row = np.asarray(scores["confusion_matrix"])[CODES.index("mel")]
    return float(row[~MALIGNANT].sum() / row.sum()) if row.any() else None
