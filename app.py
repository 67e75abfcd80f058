"""The web app: an uploaded image in, a results page out.

    python app.py               http://localhost:5000, or the port in PORT
    gunicorn app:app            with the settings in gunicorn.conf.py

The app does not write uploads to disk or to the log.
"""

import os
import warnings
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from flask import Flask
from werkzeug.exceptions import HTTPException
from werkzeug.serving import WSGIRequestHandler

from lesion_lens.model.classifier import Classifier
from lesion_lens.model.decisions import CLASS_COUNTS
from lesion_lens.model.decoding import ClientGone
from lesion_lens.model.errors import LesionLensError, ModelFileError, Problem
from lesion_lens.model.files import DEFAULT_MODEL_PATH
from lesion_lens.model.wording import about_in_100, count, in_words, of_100, percent, shorten
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
from lesion_lens.web.process import warn_of_other_worker
from lesion_lens.web.proxies import trust_proxies
from lesion_lens.web.pwa import pwa
from lesion_lens.web.rate_limit import limit_rate
from lesion_lens.web.repository import check_repository
from lesion_lens.web.settings import exit_with, port_to_serve
from lesion_lens.web.uploads import InMemoryRequest, refuse_without_room


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    """Make the Flask app.

    Args:
        config: settings that override the environment variables. `MODEL_PATH` is the model file,
            `MODEL_SHA256` its required checksum, `MAX_CONTENT_LENGTH` the largest request in
            bytes. docs/deploy.md lists the others.

    Returns:
        The app. Its model file has been checked, but not yet loaded.

    Raises:
        ModelFileError: the model file is invalid, or does not have the required checksum.
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
    # Otherwise Werkzeug redirects //model to /model on the host that the Host header names.
    app.url_map.merge_slashes = app.url_map.strict_slashes = False
    classifier = Classifier(app.config["MODEL_PATH"], app.config["MODEL_SHA256"])
    set_classifier(app, classifier)
    measure(app)  # before all other handlers of a request

    app.register_blueprint(pages.pages)
    app.register_blueprint(pwa)
    app.register_blueprint(device)
    app.register_blueprint(api)
    serve_asset_links(app)
    app.cli.add_command(classify)

    # Under gunicorn, the weights are already loaded. Elsewhere, the first request of any kind
    # starts loading them.
    app.before_request(classifier.start_loading)
    app.before_request(refuse_without_room)
    app.before_request(drop_bad_dates)
    compress_text(app)  # runs last: Flask calls these in reverse order, add_validator first
    allow_origins(app)
    limit_rate(app)
    app.after_request(add_headers)
    app.after_request(add_validator)
    app.register_error_handler(Problem, pages.show_problem)
    app.register_error_handler(ModelFileError, pages.show_model_error)
    app.register_error_handler(HTTPException, pages.show_http_error)
    app.register_error_handler(ClientGone, lambda _: ("", 400))  # nobody reads it

    app.context_processor(pages.template_context)
    app.jinja_env.globals["class_counts"] = CLASS_COUNTS  # imported macros can use it, too
    app.add_template_filter(percent)
    app.add_template_filter(about_in_100)
    app.add_template_filter(of_100)
    app.add_template_filter(shorten)
    app.add_template_filter(count, "thousands")  # `count` is Jinja's own
    app.add_template_filter(in_words)
    app.add_template_filter(keep_together)
    # Pillow's warnings about odd uploads would fill the log and reveal what was uploaded.
    warnings.filterwarnings("ignore", module="PIL")
    return app


class NamelessRequestHandler(WSGIRequestHandler):
    """Logs requests without the client's address."""

    def address_string(self) -> str:
        return "-"

    def run_wsgi(self) -> None:
        """Answer the request, or send 400 if its URL is malformed, such as http://[."""
        try:
            urlsplit(self.path)
        except ValueError:
            self.send_error(400)
        else:
            super().run_wsgi()


def main() -> None:
    """Serve the app on this machine only."""
    try:
        port = port_to_serve(default=5000)
        print("Loading the model …", flush=True)
        get_classifier(app).load()
        serve_metrics_port(app)
    except LesionLensError as error:
        exit_with(error)
    app.run(port=port, request_handler=NamelessRequestHandler)


try:
    app = create_app()
except LesionLensError as error:  # also when a server imports `app`
    exit_with(error)
warn_of_other_worker()

if __name__ == "__main__":
    main()
