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

import numpy as np
from flask import Flask, Request, current_app, redirect, render_template, request, url_for
from werkzeug.exceptions import HTTPException

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
    read_image,
)

MEGABYTE = 1_000_000
PREVIEW_SIDE = 600  # pixels, as wide as the originals of HAM10000
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


class Classifier:
    """The model of this process. Checked when made, loaded once, used by all threads.

    Attributes:
        facts: dict, what the model file says of its training; empty where it says nothing.

    Raises:
        ModelFileError: at once if the file breaks the contract.
    """

    def __init__(self, path):
        self.facts = check_model_file(path)
        self._path = path
        self._model = None
        self._lock = threading.Lock()
        self._loader = None

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
        """Give the probabilities, float32 (7,), of pixels, uint8 (28, 28, 3)."""
        self.load()
        return predict(self._model, pixels)


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
    probabilities = current_app.extensions["classifier"](pixels)
    ranking = sorted(
        zip(CLASSES, probabilities.tolist(), strict=True), key=lambda pair: pair[1], reverse=True
    )
    cancer = sum(share for lesion_class, share in ranking if lesion_class.risk != "benign")
    page = render_template("result.html", ranking=ranking, cancer=cancer, preview=shown)
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
    scores = facts.get("test")
    return {
        "max_megabytes": current_app.config["MAX_CONTENT_LENGTH"] // MEGABYTE,
        "max_megapixels": MAX_PIXELS // 1_000_000,
        "facts": facts,
        "melanomas_called_benign": melanomas_called_benign(scores) if scores else None,
    }


def melanomas_called_benign(scores):
    """The share of the test melanomas whose most likely class was a benign one, 0–1.

    Args:
        scores: from `scores.evaluate`.
    """
    row = np.asarray(scores["confusion_matrix"])[CODES.index("mel")]
    benign = [lesion_class.risk == "benign" for lesion_class in CLASSES]
    return float(row[benign].sum() / row.sum())


def percent(share, decimals=0):
    """Write a probability, 0–1, as a percentage that never claims certainty."""
    step = 10**-decimals
    if 100 * share > 100 - step / 2:
        return f"over {100 - step:.{decimals}f} %"
    if 100 * share < step / 2:
        return f"under {step:.{decimals}f} %"
    return f"{100 * share:.{decimals}f} %"


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
