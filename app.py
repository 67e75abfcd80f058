"""The web app: an uploaded image in, a results page out.

    python app.py               http://localhost:5000, or the port in PORT
    gunicorn app:app            as gunicorn.conf.py says

Nothing that is uploaded is written to disk or logged.
"""

import os
import sys
import warnings
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from flask import Flask
from werkzeug.exceptions import HTTPException
from werkzeug.serving import WSGIRequestHandler

from lesion_lens.model.classifier import Classifier
from lesion_lens.model.decoding import ClientGone
from lesion_lens.model.errors import LesionLensError, ModelFileError, Problem
from lesion_lens.model.files import DEFAULT_MODEL_PATH
from lesion_lens.model.wording import about_in_100, of_100, percent, shorten
from lesion_lens.web import pages
from lesion_lens.web.api import api
from lesion_lens.web.asset_links import serve_asset_links
from lesion_lens.web.cli import classify
from lesion_lens.web.compression import compress_text
from lesion_lens.web.current import get_classifier, set_classifier
from lesion_lens.web.device import device
from lesion_lens.web.headers import add_headers, add_validator, drop_bad_dates
from lesion_lens.web.limits import MAX_CONTENT_LENGTH
from lesion_lens.web.line_breaks import keep_together
from lesion_lens.web.log_lines import keep_records_on_one_line
from lesion_lens.web.metrics import measure, serve_metrics_port
from lesion_lens.web.other_sites import allow_origins
from lesion_lens.web.process import exit_with
from lesion_lens.web.proxies import trust_proxies
from lesion_lens.web.pwa import pwa
from lesion_lens.web.rate_limit import limit_rate
from lesion_lens.web.repository import check_repository
from lesion_lens.web.uploads import InMemoryRequest, refuse_without_room


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    """Make the Flask app.

    Args:
        config: settings that take precedence over the environment's. `MODEL_PATH` is the model
            file, `MODEL_SHA256` the checksum that it must have, `MAX_CONTENT_LENGTH` the largest
            request in bytes; the others are in docs/deploy.md.

    Returns:
        The app, whose `Classifier` is checked and not yet loaded.

    Raises:
        ModelFileError: the model file breaks the contract, or is not the one that is demanded.
        SettingError: a setting is invalid.
    """
    keep_records_on_one_line()
    app = Flask(__name__)
    app.request_class = InMemoryRequest
    app.config.from_mapping(
        MODEL_PATH=os.environ.get("MODEL_PATH", DEFAULT_MODEL_PATH),
        MODEL_SHA256=os.environ.get("MODEL_SHA256"),
        MAX_CONTENT_LENGTH=MAX_CONTENT_LENGTH,
        PROXY_HOPS=os.environ.get("PROXY_HOPS", ""),
        CORS_ORIGINS=os.environ.get("CORS_ORIGINS", ""),
        RATE_LIMIT=os.environ.get("RATE_LIMIT", ""),
        RATE_LIMIT_REDIS_URL=os.environ.get("RATE_LIMIT_REDIS_URL", ""),
        METRICS_TOKEN=os.environ.get("METRICS_TOKEN", ""),
        METRICS_PORT=os.environ.get("METRICS_PORT", ""),
        METRICS_HOST=os.environ.get("METRICS_HOST", ""),
        COMPRESSION=os.environ.get("COMPRESSION", ""),
        REPOSITORY_URL=os.environ.get("REPOSITORY_URL", ""),
        ANDROID_PACKAGE=os.environ.get("ANDROID_PACKAGE", ""),
        ANDROID_FINGERPRINTS=os.environ.get("ANDROID_FINGERPRINTS", ""),
    )
    app.config.from_mapping(config or {})
    trust_proxies(app)
    check_repository(app)
    # Otherwise Werkzeug itself leads from //model to /model, by the name in the Host header.
    app.url_map.merge_slashes = app.url_map.strict_slashes = False
    classifier = Classifier(app.config["MODEL_PATH"], app.config["MODEL_SHA256"])
    set_classifier(app, classifier)
    measure(app)  # first of all that look at a request

    app.register_blueprint(pages.pages)
    app.register_blueprint(pwa)
    app.register_blueprint(device)
    app.register_blueprint(api)
    serve_asset_links(app)
    app.cli.add_command(classify)

    # Under gunicorn the weights are there already; elsewhere the first request, whichever it is,
    # sets them loading.
    app.before_request(classifier.start_loading)
    app.before_request(refuse_without_room)
    app.before_request(drop_bad_dates)
    compress_text(app)  # of all that change an answer the last, as Flask begins with add_validator
    allow_origins(app)
    limit_rate(app)
    app.after_request(add_headers)
    app.after_request(add_validator)
    app.register_error_handler(Problem, pages.show_problem)
    app.register_error_handler(ModelFileError, pages.show_model_error)
    app.register_error_handler(HTTPException, pages.show_http_error)
    app.register_error_handler(ClientGone, lambda _: ("", 400))  # which nobody reads

    app.context_processor(pages.template_context)
    app.add_template_filter(percent)
    app.add_template_filter(about_in_100)
    app.add_template_filter(of_100)
    app.add_template_filter(shorten)
    app.add_template_filter(keep_together)
    # Pillow's remarks on an upload's oddities are nobody's business and would fill the log.
    warnings.filterwarnings("ignore", module="PIL")
    return app


class NamelessRequestHandler(WSGIRequestHandler):
    """Logs a request without the address that it came from."""

    def address_string(self) -> str:
        return "-"

    def run_wsgi(self) -> None:
        """Answer, also where the address is none, such as http://[."""
        try:
            urlsplit(self.path)
        except ValueError:
            self.send_error(400)
        else:
            super().run_wsgi()


def main() -> None:
    """Serve on this machine alone."""
    port = os.environ.get("PORT", "5000")
    if not port.isdecimal() or int(port) > 65535:
        sys.exit(f"PORT is {port!r}, not a number of 0 to 65535: set it to one such as 5000.")
    print("Loading the model …", flush=True)
    try:
        get_classifier(app).load()
    except ModelFileError as error:
        exit_with(error)
    serve_metrics_port(app)
    app.run(port=int(port), request_handler=NamelessRequestHandler)


try:
    app = create_app()
except LesionLensError as error:  # the edge for every server that imports `app`
    exit_with(error)

if __name__ == "__main__":
    main()
