"""The web app: an uploaded image in, a results page out.

    python app.py               http://localhost:5000, or the port in PORT
    gunicorn app:app            as gunicorn.conf.py says

Nothing that is uploaded is written to disk or logged.
"""

import base64
import contextlib
import io
import os
import sys
import threading
import warnings
from dataclasses import dataclass

import numpy as np
from flask import Flask, Request, current_app, redirect, render_template, request, url_for
from werkzeug.exceptions import HTTPException

from decisions import MALIGNANT, DecisionFacts, Statements, combine_views, decide
from likeness import Likeness
from skin_cancer_detection import (
    CLASSES,
    CODES,
    DEFAULT_MODEL_PATH,
    MAX_PIXELS,
    DamagedImage,
    EmptyImage,
    ImageTooLarge,
    ModelFileError,
    SkinCancerDetectionError,
    UnsupportedImage,
    check_model_file,
    load_model,
    predict,
    preprocess,
    read_attributes,
    read_image,
)

MEGABYTE = 1_000_000
PREVIEW_SIDE = 600  # pixels, as wide as the originals of HAM10000
CLASS_OF = dict(zip(CODES, CLASSES, strict=True))
# How the occlusion map is drawn, chosen for the eye; nothing is decided by it.
NOTICEABLE_FALL = 0.02  # of the probability; a patch is shown if covering it takes so much
STRONGEST = 0.6  # opacity of the strongest patch, so that the image is seen through it
# A decoded image may take 100 MB, so no more than two stand in memory at once; others wait.
DECODES = threading.BoundedSemaphore(2)


class NoImage(SkinCancerDetectionError):
    """A form that was sent without a file."""


STATUS_OF = {
    NoImage: 400,
    EmptyImage: 400,
    ImageTooLarge: 413,
    UnsupportedImage: 415,
    DamagedImage: 422,
    ModelFileError: 503,
}


class InMemoryRequest(Request):
    """A request whose uploads stay in memory: Werkzeug spools those above 500 kB to disk."""

    def _get_file_stream(
        self, total_content_length, content_type, filename=None, content_length=None
    ):
        return io.BytesIO()


@dataclass(frozen=True)
class Answer:
    """Everything that a page says of one image.

    Attributes:
        probabilities: float64 (7,), summing to 1, in the order of `CLASSES`.
        statements: `decisions.Statements` of these probabilities.
        unlike: whether the image is unlike every training image; None where the model file does
            not say how to tell.
        occlusion: float32 (7, 7), from `Prediction`.
    """

    probabilities: np.ndarray
    statements: Statements
    unlike: bool | None
    occlusion: np.ndarray


class Classifier:
    """The model of this process. Checked when made, loaded once, used by all threads.

    Attributes:
        facts: dict, what the model file says of its training; empty where it says nothing.
        decision_facts: `decisions.DecisionFacts`; None where the file has none.
        likeness: `likeness.Likeness`; None where the file has none.

    Raises:
        ModelFileError: at once if the file breaks the contract.
    """

    def __init__(self, path):
        self.facts = check_model_file(path)
        attributes = read_attributes(path)
        self.decision_facts = facts_of(DecisionFacts, "decision_facts", attributes, path)
        self.likeness = facts_of(Likeness, "likeness", attributes, path)
        self._path = path
        self._model = None
        self._lock = threading.Lock()
        self._loader = None

    @property
    def pooled_classes(self):
        """Codes of the classes that were too rare to have a threshold of their own."""
        return () if self.decision_facts is None else self.decision_facts.pooled_classes

    @property
    def is_loaded(self):
        return self._model is not None

    def load(self):
        """Load the weights unless they are; a second caller waits for the first."""
        with self._lock:
            if self._model is None:
                self._model = load_model(self._path)

    def start_loading(self):
        """Begin to load in the background, so that the upload page need not wait for it."""
        if self._model is None and self._loader is None:
            self._loader = threading.Thread(target=self._load_quietly, daemon=True)
            self._loader.start()

    def _load_quietly(self):
        with contextlib.suppress(ModelFileError):  # raised again for whoever asks for a result
            self.load()

    def __call__(self, pixels):
        """Give the `Answer` for pixels, uint8 (28, 28, 3), as `preprocess` returns them."""
        self.load()
        prediction = predict(self._model, pixels)
        facts = self.decision_facts
        temperature = 1 if facts is None else facts.eight_view_temperature
        probabilities = combine_views(prediction.views, temperature)
        unlike = None
        if self.likeness is not None:
            unlike = bool(self.likeness.is_unlike(pixels[np.newaxis])[0])
        statements = decide(probabilities, facts, unlike)
        return Answer(probabilities, statements, unlike, prediction.occlusion)


def facts_of(kind, name, attributes, path):
    """Read the facts of one kind from a model file's attributes.

    Args:
        kind: a class with `from_attributes`.
        name: what the names of its attributes begin with.
        attributes: dict, from `read_attributes`.
        path: the file's, for the error's sentence.

    Returns:
        A `kind`, or None where the file has none of its attributes.

    Raises:
        ModelFileError: the attributes are there, but not all of them or spoiled.
    """
    if not any(attribute.startswith(name) for attribute in attributes):
        return None
    try:
        return kind.from_attributes(attributes)
    except ValueError as error:
        raise ModelFileError(
            f"{path} holds spoiled {name} attributes: run `python train.py` to make it again."
        ) from error


def create_app(config=None):
    """Make the Flask app.

    Args:
        config: settings that take precedence over the environment's. `MODEL_PATH` is the model
            file, `MAX_CONTENT_LENGTH` the largest upload in bytes.

    Returns:
        flask.Flask; its `extensions["classifier"]` is the `Classifier`, not yet loaded.

    Raises:
        ModelFileError: the model file breaks the contract.
    """
    app = Flask(__name__)
    app.request_class = InMemoryRequest
    app.config.from_mapping(
        MODEL_PATH=os.environ.get("MODEL_PATH", DEFAULT_MODEL_PATH),
        MAX_CONTENT_LENGTH=16 * MEGABYTE,
    )
    app.config.from_mapping(config or {})
    app.extensions["classifier"] = Classifier(app.config["MODEL_PATH"])
    # Under gunicorn the weights are there already; elsewhere the first request, whichever it is,
    # sets them loading.
    app.before_request(app.extensions["classifier"].start_loading)
    app.add_url_rule("/", view_func=index)
    app.add_url_rule("/showresult", view_func=show_result, methods=["POST"])
    app.add_url_rule("/showresult", view_func=back_to_index, methods=["GET"])
    app.add_url_rule("/healthz", view_func=healthz)
    app.add_url_rule("/readyz", view_func=readyz)
    app.register_error_handler(SkinCancerDetectionError, show_error)
    app.register_error_handler(HTTPException, show_http_error)
    app.context_processor(page_facts)
    app.add_template_filter(percent)
    app.add_template_filter(in_100)
    # Pillow's remarks on an upload's oddities are nobody's business and would fill the log.
    warnings.filterwarnings("ignore", module="PIL")
    return app


def index():
    """Show the upload form."""
    return render_template("index.html")


def show_result():
    """Classify the image in the form's field `pic` and show what came out."""
    upload = request.files.get("pic")
    if upload is None or not upload.filename:
        raise NoImage("No image was chosen. Choose one and send it again.")
    with DECODES:
        image = read_image(upload.read())
        pixels, shown = preprocess(image), preview(image)
        del image
    classifier = current_app.extensions["classifier"]
    answer = classifier(pixels)
    ranking = sorted(
        zip(CLASSES, answer.probabilities.tolist(), strict=True),
        key=lambda pair: pair[1],
        reverse=True,
    )
    page = render_template(
        "result.html",
        answer=answer,
        statements=answer.statements,
        ranking=ranking,
        class_of=CLASS_OF,
        pooled=[CLASS_OF[code].name for code in classifier.pooled_classes],
        patches=visible_patches(answer.occlusion),
        region=strongest_region(answer.occlusion),
        preview=shown,
    )
    return page, {"Cache-Control": "no-store"}


def back_to_index():
    """A result is not kept, so its address leads back to the form."""
    return redirect(url_for("index"))


def healthz():
    """Say that the process lives."""
    return "ok\n", {"Content-Type": "text/plain"}


def readyz():
    """Say whether the model is loaded."""
    ready = current_app.extensions["classifier"].is_loaded
    text, status = ("ready\n", 200) if ready else ("the model is being loaded\n", 503)
    return text, status, {"Content-Type": "text/plain"}


def preview(image):
    """Make a data: address of the upload, small and without metadata, as nothing is kept.

    Args:
        image: PIL.Image.Image of mode "RGB"; it is made smaller in place.

    Returns:
        str, a JPEG of at most PREVIEW_SIDE pixels a side in base64.
    """
    image.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


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
        error = "The model cannot be used at the moment. Try again later."
        return render_template("index.html", error=error), 503
    return render_template("index.html", error=error), STATUS_OF[type(error)]


def show_http_error(error):
    """Show Flask's own errors as pages; those of an upload as the upload page."""
    limit = current_app.config["MAX_CONTENT_LENGTH"]
    response = error.get_response()  # with the headers that belong to the status
    if request.endpoint != "show_result" or error.code not in (400, 413):
        page = render_template("error.html", error=error)
    elif error.code == 413 and (request.content_length or 0) > limit:
        drain()
        sentence = f"The file is larger than {limit // MEGABYTE} MB. Make the image smaller and "
        page = render_template("index.html", error=sentence + "send it again.")
    else:
        sentence = "The form could not be read. Choose one image and send it again."
        page = render_template("index.html", error=sentence)
    response.set_data(page)
    return response


def drain():
    """Read away, up to a bound, a body that is too large, keeping none of it.

    A server that answers and closes before the browser has sent everything breaks the
    connection, and the browser shows that instead of the page. Only for a body of which nothing
    was read yet: at its end the server would wait for more.
    """
    stream = request.environ["wsgi.input"]
    left = min(request.content_length, 8 * current_app.config["MAX_CONTENT_LENGTH"])
    while left > 0 and (chunk := stream.read(min(left, 65536))):
        left -= len(chunk)


def page_facts():
    """What every template may say of the limits and of the model's scores."""
    facts = current_app.extensions["classifier"].facts
    scores = facts["test"]["eight_views"] if facts.get("test") else None
    return {
        "max_megabytes": current_app.config["MAX_CONTENT_LENGTH"] // MEGABYTE,
        "max_megapixels": MAX_PIXELS // 1_000_000,
        "facts": facts,
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


def percent(share, decimals=0):
    """Write a probability, 0–1, as a percentage that never claims certainty."""
    step = 10**-decimals
    if 100 * share > 100 - step / 2:
        return f"over {100 - step:.{decimals}f} %"
    if 100 * share < step / 2:
        return f"under {step:.{decimals}f} %"
    return f"{100 * share:.{decimals}f} %"


def in_100(share):
    """Write a share, 0–1, as a whole number of a hundred, and one that rounds to none as such."""
    return f"about {100 * share:.0f} in 100" if share >= 0.005 else "fewer than 1 in 100"


def stop(error):
    """End the process with an error's sentence and no traceback.

    The code is 3, by which gunicorn knows that a worker cannot start and that trying again is no
    use.
    """
    print(error, file=sys.stderr)
    sys.exit(3)


def main():
    """Serve on this machine alone."""
    port = os.environ.get("PORT", "5000")
    if not port.isdecimal() or int(port) > 65535:
        sys.exit(f"PORT is {port!r}, not a number of 0 to 65535: set it to one such as 5000.")
    print("Loading the model …", flush=True)
    try:
        app.extensions["classifier"].load()
    except ModelFileError as error:
        stop(error)
    app.run(port=int(port))


try:
    app = create_app()
except ModelFileError as error:  # the edge for every server that imports `app`
    stop(error)

if __name__ == "__main__":
    main()
