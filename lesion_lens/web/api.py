"""The API: images in, JSON out, as its OpenAPI document says."""

import json
from typing import Any

from flask import Blueprint, Response, current_app, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from markdown_it import MarkdownIt
from markupsafe import Markup
from werkzeug.datastructures import FileStorage
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as AnyResponse

from lesion_lens.model.admission import admission
from lesion_lens.model.decoder import DecodedImage
from lesion_lens.model.errors import ImageError, ModelFileError, Problem
from lesion_lens.web.current import get_classifier
from lesion_lens.web.limits import API_FIELD
from lesion_lens.web.openapi import PROBLEM_JSON, openapi_document
from lesion_lens.web.problems import (
    UNREAD,
    NoImageUsable,
    NotAFile,
    ServerFailed,
    UnknownField,
    WrongContentType,
    hide_model_error,
    retry_header,
)
from lesion_lens.web.results import describe_classes, describe_model, to_dict
from lesion_lens.web.uploads import (
    decoded,
    drain,
    drain_oversized_body,
    max_megabytes,
    uploaded_images,
)

api = Blueprint("api", __name__, url_prefix="/api/v1")


@api.post("/predictions")
def predict() -> Response:
    """Classify the images in the form's field `API_FIELD`."""
    # Read the body before taking a turn, so that slow clients do not block others.
    files = images_of_form()
    with admission():
        results = [result_of(name, image) for name, image in decoded(files)]
    problems = [result["problem"] for result in results if "problem" in result]
    if len(problems) < len(results):
        model = describe_model(get_classifier()) | {"card": url_for("pages.model_page")}
        return as_json({"model": model, "classes": describe_classes(), "results": results})
    if len(problems) == 1:
        return as_problem(problems[0])
    problem = to_problem(NoImageUsable(count=len(results)))
    return as_problem(problem | {"results": results})


def images_of_form() -> list[FileStorage]:
    """Give the files of a form that holds nothing else.

    Returns:
        1 to `MAX_IMAGES` files.

    Raises:
        WrongContentType, UnknownField, NotAFile, NoImage, TooManyImages
        werkzeug.exceptions.HTTPException: the form cannot be read, or is too large.
    """
    if request.mimetype != "multipart/form-data":
        raise WrongContentType
    for name in (*request.form, *request.files):
        if name != API_FIELD:
            raise UnknownField(field=name)
    files = request.files.getlist(API_FIELD)
    if API_FIELD in request.form or not all(file.filename for file in files):
        raise NotAFile
    return uploaded_images(API_FIELD)


def result_of(name: str, image: DecodedImage | ImageError) -> dict[str, Any]:
    """Classify an image; returns a `Result` of the OpenAPI document."""
    if isinstance(image, ImageError):
        return {"file": name, "problem": to_problem(image)}
    return {"file": name, "prediction": to_dict(get_classifier()(image.pixels))}


@api.get("/openapi.json")
def document() -> Response:
    """Give the OpenAPI document."""
    return as_json(openapi_document(*places(), max_megabytes()))


@api.get("/docs")
def docs() -> str:
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
        origins=sorted(current_app.extensions["allowed_origins"]),
        markdown=markdown,
    )


@api.get("/")
def index() -> ResponseReturnValue:
    """Lead to the page that explains the API."""
    return redirect(url_for("api.docs"))


def places() -> tuple[str, str]:
    """The paths of the API and of its page, with the prefix that the app stands under."""
    return url_for("api.index").rstrip("/"), url_for("api.docs")


def markdown(text: str) -> Markup:
    """Make HTML of a description of the OpenAPI document."""
    html = MarkdownIt("commonmark", {"html": False}).render(text)
    return Markup(html)  # noqa: S704 (the renderer has escaped any HTML of the text)


def as_text(value: Any) -> str:
    """Write JSON for readers."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def as_json(value: Any, status: int = 200, kind: str = "application/json") -> Response:
    """Answer with JSON in the order in which it was laid out, which Flask's own would not keep."""
    text = json.dumps(value, ensure_ascii=False)  # on one line, which is six times as fast
    return Response(text + "\n", status, content_type=kind)


# --- Problems --------------------------------------------------------------------------------


def to_problem(problem: Problem) -> dict[str, Any]:
    """Lay out a problem as a `Problem` of the OpenAPI document, a dict that JSON can hold."""
    return {
        "type": url_for("api.docs", _anchor=problem.name),
        "title": problem.title,
        "status": problem.status,
        "detail": str(problem),
    }


def as_problem(problem: dict[str, Any]) -> Response:
    """Answer with what `to_problem` laid out."""
    return as_json(problem, problem["status"], PROBLEM_JSON)


@api.errorhandler(Problem)
def show_problem(problem: Problem) -> Response:
    """Answer with a problem."""
    if isinstance(problem, UNREAD):
        drain()
    response = as_problem(to_problem(problem))
    response.headers.update(retry_header(problem))
    return response


@api.errorhandler(ModelFileError)
def show_model_error(error: ModelFileError) -> Response:
    """Answer that something is wrong with the model file."""
    return show_problem(hide_model_error(error))


def show_http_problem(error: HTTPException) -> AnyResponse:
    """Answer with the problem that an error of Flask's own is.

    Args:
        error: also of addresses below /api/ that lead nowhere.
    """
    if error.code == 413:
        return show_problem(drain_oversized_body())
    if error.code == 500:
        return show_problem(ServerFailed())
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
