"""The API: images in, JSON out, as its OpenAPI document describes."""

import io
import json
import re
import shutil
from typing import Any

from flask import Blueprint, Response, current_app, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from markdown_it import MarkdownIt
from markupsafe import Markup
from werkzeug.datastructures import FileStorage
from werkzeug.exceptions import HTTPException, NotFound
from werkzeug.exceptions import MethodNotAllowed as WrongMethod
from werkzeug.http import parse_options_header

from lesion_lens.model.admission import admission
from lesion_lens.model.decoder import DecodedImage
from lesion_lens.model.errors import ImageError, ModelFileError, Problem
from lesion_lens.web.about import NOTICE, About
from lesion_lens.web.current import get_classifier
from lesion_lens.web.limits import API_FIELD, EXPLAIN
from lesion_lens.web.openapi import COMPATIBILITY, openapi_document
from lesion_lens.web.problems import (
    UNREAD,
    InvalidParameter,
    MalformedRequest,
    MethodNotAllowed,
    NoImageUsable,
    NoSuchAddress,
    NotAFile,
    ServerFailed,
    UnknownField,
    WrongContentType,
    hide_model_error,
    retry_header,
)
from lesion_lens.web.results import explain, to_dict
from lesion_lens.web.schemas import NAMELESS, OTHER_BODIES, PROBLEM_JSON
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
    """Classify the images in the form field `API_FIELD`, or the one image that is the body."""
    with_map = is_map_wanted()
    # Read the body before taking a turn, so that slow clients do not block others.
    files = image_of_body() if is_image(request.mimetype) else images_of_form()
    # Draw a picture only for a single image: those of a batch would take too much memory.
    with_picture = with_map and len(files) == 1
    with admission():
        results = [result_of(*one, with_map) for one in decoded(files, with_picture)]
    problems = [result["problem"] for result in results if "problem" in result]
    if len(problems) < len(results):
        head = about().head(url_for("pages.model_page"))
        return as_response(f'{head}, "results": {as_line(results)}}}')
    if len(problems) == 1:
        return as_problem(problems[0])
    problem = to_problem(NoImageUsable(count=len(results)))
    return as_problem(problem | {"results": results})


def is_map_wanted() -> bool:
    """Read the query parameter `EXPLAIN`; others are ignored, to stay compatible.

    Raises:
        InvalidParameter
    """
    values = request.args.getlist(EXPLAIN) or ["0"]
    if values not in (["0"], ["1"]):
        raise InvalidParameter(value=" and ".join(values))
    return values == ["1"]


def is_image(mimetype: str) -> bool:
    """Whether a body of this type is treated as an image; its bytes decide whether it is one."""
    return mimetype.startswith("image/") or mimetype in OTHER_BODIES


def image_of_body() -> list[FileStorage]:
    """Return the body as one file, named as `Content-Disposition` says.

    Raises:
        werkzeug.exceptions.HTTPException: the body is too large.
    """
    body = io.BytesIO()
    shutil.copyfileobj(request.stream, body)
    # Browsers and programs send UTF-8, which WSGI decodes as Latin-1.
    header = request.headers.get("Content-Disposition", "").encode("latin-1", "replace")
    _, options = parse_options_header(header.decode("utf-8", "replace"))
    return [FileStorage(body, options.get("filename") or NAMELESS)]


def images_of_form() -> list[FileStorage]:
    """Return the files of a form that has no other fields.

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


def result_of(
    name: str, image: DecodedImage | ImageError, with_map: bool = False
) -> dict[str, Any]:
    """Classify an image and return a `Result` of the OpenAPI document."""
    if isinstance(image, ImageError):
        return {"kind": "problem", "file": name, "problem": to_problem(image)}
    answer = get_classifier()(image.pixels, with_map)
    prediction = to_dict(answer)
    prediction["meaning"] = about().meaning(answer.risk_level, answer.familiarity)
    if with_map:
        prediction["explanation"] = explain(answer, image.preview)
    width, height = image.full_size
    return {
        "kind": "prediction",
        "file": name,
        "image": {"width": width, "height": height},
        "prediction": prediction,
    }


def about() -> About:
    """Return the `About` of the running app."""
    extensions = current_app.extensions
    if "about" not in extensions:  # harmless if two threads both create it
        extensions["about"] = About(get_classifier())
    found: About = extensions["about"]
    return found


@api.get("/openapi.json")
def document() -> Response:
    """Send the OpenAPI document."""
    return as_response(as_line(openapi_document(*places(), max_megabytes())))


@api.get("/docs")
def docs() -> str:
    """Show the OpenAPI document as a page."""
    described = openapi_document(*places(), max_megabytes())
    operation = described["paths"]["/predictions"]["post"]
    answer = operation["responses"].pop("200")
    return render_template(
        "api.html",
        notice=NOTICE,
        rule=COMPATIBILITY,
        operation=operation,
        answer=answer,
        example=as_text(answer["content"]["application/json"]["example"]),
        schemas=described["components"]["schemas"],
        origins=sorted(current_app.extensions["allowed_origins"]),
        markdown=markdown,
    )


@api.get("")
def index() -> ResponseReturnValue:
    """Redirect to the page that explains the API."""
    return redirect(url_for("api.docs"))


def places() -> tuple[str, str]:
    """Return the paths of the API and of its page, with the app's path prefix."""
    return url_for("api.index").rstrip("/"), url_for("api.docs")


def markdown(text: str) -> Markup:
    """Render a description in the OpenAPI document as HTML."""
    html = MarkdownIt("commonmark", {"html": False}).render(text)
    return Markup(html)  # noqa: S704 (the renderer has escaped any HTML of the text)


def as_text(value: Any) -> str:
    """Write JSON for people to read, with each row of numbers on one line."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return re.sub(r"\[[-\d.,\s]+\]", lambda row: " ".join(row[0].split()), text)


def as_line(value: Any) -> str:
    """Write JSON on one line and keep its order, which Flask's own `jsonify` would not."""
    return json.dumps(value, ensure_ascii=False)


def as_response(text: str, status: int = 200, kind: str = "application/json") -> Response:
    """Answer with JSON text."""
    return Response(text + "\n", status, content_type=kind)


# --- Problems --------------------------------------------------------------------------------


def to_problem(problem: Problem) -> dict[str, Any]:
    """Return a problem as a `Problem` of the OpenAPI document, a JSON-serialisable dict."""
    return {
        "type": url_for("api.docs", _anchor=problem.name),
        "title": problem.title,
        "status": problem.status,
        "detail": str(problem),
    }


def as_problem(problem: dict[str, Any]) -> Response:
    """Answer with a problem from `to_problem`."""
    return as_response(as_line(problem), problem["status"], PROBLEM_JSON)


@api.errorhandler(Problem)
def show_problem(problem: Problem) -> Response:
    """Answer with a problem."""
    if isinstance(problem, UNREAD):
        drain()
    response = as_problem(to_problem(problem))
    response.headers.update(retry_header(problem))
    if isinstance(problem, MethodNotAllowed):
        response.headers["Allow"] = ", ".join(problem.allowed)
    return response


@api.errorhandler(ModelFileError)
def show_model_error(error: ModelFileError) -> Response:
    """Answer that the model file has a fault, without its details."""
    return show_problem(hide_model_error(error))


def show_http_problem(error: HTTPException) -> Response:
    """Turn one of Flask's own errors into a problem.

    Args:
        error: including the 404 for unknown addresses below /api/.
    """
    path = request.root_path + request.path
    if isinstance(error, NotFound):
        predictions, docs = url_for("api.predict"), url_for("api.docs")
        return show_problem(NoSuchAddress(path=path, predictions=predictions, docs=docs))
    if isinstance(error, WrongMethod):
        allowed = error.valid_methods or ["OPTIONS"]  # every address allows it
        return show_problem(MethodNotAllowed(path, request.method, allowed))
    if error.code == 413:
        return show_problem(drain_oversized_body())
    if error.code == 500:
        return show_problem(ServerFailed())
    return show_problem(MalformedRequest(reason=error.description))
