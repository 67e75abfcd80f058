"""The web app: an uploaded image in, a results page out.

    python app.py               http://localhost:5000, or the port in PORT
    gunicorn app:app            as gunicorn.conf.py says

Nothing that is uploaded is written to disk or logged.
"""

import os
import sys
import warnings

from flask import Flask
from werkzeug.exceptions import HTTPException

from lesion_lens.model.classifier import Classifier
from lesion_lens.model.errors import LesionLensError, ModelFileError
from lesion_lens.model.files import DEFAULT_MODEL_PATH
from lesion_lens.model.wording import about_in_100, of_100, percent
from lesion_lens.web.api import api
from lesion_lens.web.cli import classify
from lesion_lens.web.headers import add_headers
from lesion_lens.web.pages import (
    back_to_index,
    healthz,
    index,
    model_page,
    readyz,
    show_error,
    show_http_error,
    show_result,
    template_context,
)
from lesion_lens.web.process import NamelessRequestHandler, exit_with
from lesion_lens.web.pwa import pwa
from lesion_lens.web.uploads import MEGABYTE, InMemoryRequest, set_read_timeout


def create_app(config=None):
    """Make the Flask app.

    Args:
        config: settings that take precedence over the environment's. `MODEL_PATH` is the model
            file, `MAX_CONTENT_LENGTH` the largest request in bytes.

    Returns:
        flask.Flask; its `extensions["classifier"]` is the `Classifier`, not yet loaded.

    Raises:
        ModelFileError: the model file breaks the contract.
    """
    app = Flask(__name__)
    app.request_class = InMemoryRequest
    app.config.from_mapping(
        MODEL_PATH=os.environ.get("MODEL_PATH", DEFAULT_MODEL_PATH),
        MAX_CONTENT_LENGTH=20 * MEGABYTE + 100_000,  # the form itself takes some bytes
    )
    app.config.from_mapping(config or {})
    app.extensions["classifier"] = Classifier(app.config["MODEL_PATH"])
    # Under gunicorn the weights are there already; elsewhere the first request, whichever it is,
    # sets them loading.
    app.before_request(app.extensions["classifier"].start_loading)
    app.before_request(set_read_timeout)
    app.add_url_rule("/", view_func=index)
    app.add_url_rule("/showresult", view_func=show_result, methods=["POST"])
    app.add_url_rule("/showresult", view_func=back_to_index, methods=["GET"])
    app.add_url_rule("/model", view_func=model_page)
    app.add_url_rule("/healthz", view_func=healthz)
    app.add_url_rule("/readyz", view_func=readyz)
    app.register_blueprint(pwa)
    app.register_blueprint(api)
    app.cli.add_command(classify)
    app.register_error_handler(LesionLensError, show_error)
    app.register_error_handler(HTTPException, show_http_error)
    app.after_request(add_headers)
    app.context_processor(template_context)
    app.add_template_filter(percent)
    app.add_template_filter(about_in_100)
    app.add_template_filter(of_100)
    # Pillow's remarks on an upload's oddities are nobody's business and would fill the log.
    warnings.filterwarnings("ignore", module="PIL")
    return app


def main():
    """Serve on this machine alone."""
    port = os.environ.get("PORT", "5000")
    if not port.isdecimal() or int(port) > 65535:
        sys.exit(f"PORT is {port!r}, not a number of 0 to 65535: set it to one such as 5000.")
    print("Loading the model …", flush=True)
    try:
        app.extensions["classifier"].load()
    except ModelFileError as error:
        exit_with(error)
    app.run(port=int(port), request_handler=NamelessRequestHandler)


try:
    app = create_app()
except ModelFileError as error:  # the edge for every server that imports `app`
    exit_with(error)

if __name__ == "__main__":
    main()
