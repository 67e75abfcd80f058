"""The interface for programs: images in, JSON out, as its OpenAPI document says."""

import json

from flask import Blueprint, Response, current_app, redirect, render_template, request, url_for
from markdown_it import MarkdownIt
from markupsafe import Markup

from lesion_lens.model.classifier import admission, decode
from lesion_lens.model.errors import ImageError, LesionLensError, ModelFileError
from lesion_lens.web.openapi import PROBLEM_JSON, openapi_document
from lesion_lens.web.problems import (
    PROBLEM_TYPES,
    NoImageUsable,
    NotAFile,
    RequestTooLarge,
    ServerFailed,
    UnknownField,
    WrongContentType,
)
from lesion_lens.web.results import describe_classes, describe_model, to_dict
from lesion_lens.web.uploads import (
    MODEL_UNUSABLE,
    RETRY_AFTER,
    drain,
    max_megabytes,
    refuse_too_much,
    uploaded_images,
)

FIELD = "image"
api = Blueprint("api", __name__, url_prefix="/api/v1")


@api.post("/predictions")
def predict():
    """Classify the images in the form's field `image`."""
    files = images_of_form()  # read before, so that a slow line keeps nobody waiting
    with admission():
        results = [classify_file(file) for file in files]
    problems = [result["problem"] for result in results if "problem" in result]
    if len(problems) < len(results):
        made_by = describe_model(current_app.extensions["classifier"]) | {
            "card": url_for("model_page")
        }
        return as_json({"model": made_by, "classes": describe_classes(), "results": results})
    if len(problems) == 1:
        return as_problem(problems[0])
    error = NoImageUsable(
        f"None of the {len(results)} images can be used. Each of the results says why."
    )
    return as_problem(problem_of(error) | {"results": results})


def images_of_form():
    """Give the files of a form that holds nothing else.

    Returns:
        list of werkzeug.datastructures.FileStorage, 1 to `MAX_IMAGES`.

    Raises:
        WrongContentType, UnknownField, NotAFile, NoImage, TooManyImages
        werkzeug.exceptions.HTTPException: the form cannot be read, or is too large.
    """
    if request.mimetype != "multipart/form-data":
        raise WrongContentType(
            "The request is not multipart/form-data. Send the images as files of a form."
        )
    for name in (*request.form, *request.files):
        if name != FIELD:
            raise UnknownField(
                f"The form has a field {name!r}. Send images in the field {FIELD}, and nothing "
                "else."
            )
    if FIELD in request.form or not all(file.filename for file in request.files.getlist(FIELD)):
        raise NotAFile(f"A part named {FIELD} has no file name. Send each image as a file.")
    return uploaded_images(FIELD)


def classify_file(file):
    """Classify a file and let go of its bytes; returns a `Result` of the OpenAPI document."""
    data = file.read()
    file.close()  # and with it a second copy of the bytes
    try:
        pixels = decode(data).pixels
    except ImageError as error:
        return {"file": file.filename, "problem": problem_of(error)}
    answer = current_app.extensions["classifier"](pixels)
    return {"file": file.filename, "prediction": to_dict(answer)}


@api.get("/openapi.json")
def document():
    """Give the OpenAPI document."""
    return as_json(openapi_document(*places(), max_megabytes()))


@api.get("/docs")
def docs():
    """Show the OpenAPI document as a page."""
    described = openapi_document(*places(), max_megabytes())
    operation = described["paths"]["/predictions"]["post"]
    answer = operation["responses"].pop("200")
    return render_template(
        "api.html",
        info=described["info"],
        operation=operation,
        answer=answer,
        example=as_text(answer["content"]["application/json"]["example"]),
        schemas=described["components"]["schemas"],
        markdown=markdown,
    )


@api.get("/")
def index():
    """Lead to the page that explains the interface."""
    return redirect(url_for("api.docs"))


def places():
    """The paths of the interface and of its page, with the prefix that the app stands under."""
    return url_for("api.index").rstrip("/"), url_for("api.docs")


def markdown(text):
    """Make HTML of a description of the OpenAPI document."""
    return Markup(MarkdownIt().render(text))


def as_text(value):
    """Write JSON for readers."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def as_json(value, status=200, kind="application/json"):
    """Answer with JSON in the order in which it was laid out, which Flask's own would not keep."""
    text = json.dumps(value, ensure_ascii=False)  # on one line, which is six times as fast
    return Response(text + "\n", status, content_type=kind)


# --- Problems --------------------------------------------------------------------------------


def problem_of(error):
    """Lay out an error as a `Problem` of the OpenAPI document.

    Args:
        error: of one of the classes of `PROBLEM_TYPES`.

    Returns:
        dict that JSON can hold.
    """
    kind = PROBLEM_TYPES[type(error)]
    return {
        "type": url_for("api.docs", _anchor=kind.name),
        "title": kind.title,
        "status": kind.status,
        "detail": str(error),
    }


def as_problem(problem):
    """Answer with a problem."""
    response = as_json(problem, problem["status"], PROBLEM_JSON)
    if response.status_code == 503:
        response.headers["Retry-After"] = str(RETRY_AFTER)
    return response


@api.errorhandler(LesionLensError)
def show_problem(error):
    """Answer with the problem that an error of ours is."""
    if isinstance(error, WrongContentType) and request.content_length:
        drain()  # nothing of the body was read yet
    if isinstance(error, ModelFileError):
        current_app.logger.error("%s", error)  # its sentence is for whoever runs the server
        error = ModelFileError(MODEL_UNUSABLE)
    return as_problem(problem_of(error))


def show_http_problem(error):
    """Answer with the problem that an error of Flask's own is.

    Args:
        error: werkzeug.exceptions.HTTPException, also of addresses below /api/ that lead nowhere.
    """
    if error.code == 413:
        return as_problem(problem_of(RequestTooLarge(refuse_too_much())))
    if error.code == 500:
        return as_problem(
            problem_of(ServerFailed("The server failed. Nothing was wrong with the request."))
        )
    # What the status says all of; RFC 9457, section 4.2.1.
    problem = {
        "type": "about:blank",
        "title": error.name,
        "status": error.code,
        "detail": error.description,
    }
    response = error.get_response()  # with the headers that belong to the status
    response.set_data(as_text(problem))
    response.content_type = PROBLEM_JSON
    return response
