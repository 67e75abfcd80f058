"""What the app counts for Prometheus, and the address that serves the counts.

They are sums over all visitors, without images, file names, IP addresses or paths that a client
chose. Each label has few values, all of them ours. The queue and the decoders are shared within a
process, so the app that was last made with metrics counts them.
"""

import hmac
import os
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from flask import Blueprint, Flask, Response, abort, current_app, g, request
from werkzeug.serving import make_server

from lesion_lens import version
from lesion_lens.model.classifier import Classifier
from lesion_lens.model.decisions import LEVELS
from lesion_lens.model.errors import SettingError
from lesion_lens.model.events import STOPS, Watcher, watch
from lesion_lens.web.current import get_classifier
from lesion_lens.web.metrics_access import SETTINGS, MetricsAccess, metrics_access

METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
# Upper bounds in seconds: pages take milliseconds, an image some hundredths, a batch up to 20 s.
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 60)
_FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # of the counts of several processes
_ON_ITS_PORT = "lesion_lens.on_metrics_port"  # in the environment of a request

metrics = Blueprint("metrics", __name__)


class Metrics(Watcher):
    """Counts what this process does.

    Args:
        classifier: its model is named in the metrics.

    Raises:
        SettingError: prometheus-client is not installed, or its folder cannot be used.
    """

    def __init__(self, classifier: Classifier) -> None:
        try:
            # Imported here, because most instances do not need it.
            from prometheus_client import (
                CollectorRegistry,
                Counter,
                Gauge,
                Histogram,
                disable_created_metrics,
            )
        except ImportError as error:
            raise SettingError(
                "METRICS_TOKEN and METRICS_PORT need the package prometheus-client: run "
                "`pip install prometheus-client`, or remove them."
            ) from error
        folder = os.environ.get(_FOLDER)
        if folder and not (Path(folder).is_dir() and os.access(folder, os.W_OK)):
            raise SettingError(
                f"{_FOLDER} is {folder!r}, not a writable folder: create it, or remove the setting."
            )
        disable_created_metrics()  # which would double the lines of a single process
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "lesion_lens_requests",
            "Requests, by the view that answered, method and status.",
            ["endpoint", "method", "status"],
            registry=registry,
        )
        self._seconds = Histogram(
            "lesion_lens_request_seconds",
            "Seconds from the arrival of the whole request to its answer.",
            ["endpoint"],
            buckets=BUCKETS,
            registry=registry,
        )
        self._in_progress = Gauge(
            "lesion_lens_image_requests",
            "Requests with images, in progress or waiting.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        queue = Gauge(
            "lesion_lens_decodes",
            "Images being decoded or waiting to be decoded.",
            ["state"],
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._waiting, self._running = queue.labels("waiting"), queue.labels("running")
        self._stops = Counter(
            "lesion_lens_decodes_stopped",
            "Decodes whose process was killed or died, by reason.",
            ["reason"],
            registry=registry,
        )
        self._answers = Counter(
            "lesion_lens_images_classified",
            "Images that got an answer, by risk level.",
            ["risk_level"],
            registry=registry,
        )
        for stop in STOPS:  # at 0 from the start, so that the first shows as a change
            self._stops.labels(stop)
        for level in LEVELS:
            self._answers.labels(level)
        self._model = Gauge(
            "lesion_lens_model_info",
            "1, with the model file's SHA-256 and the app's version.",
            ["sha256", "version"],
            registry=registry,
            multiprocess_mode="livemax",
        ).labels(classifier.sha256, version())

    def count_request(self, endpoint: str | None, method: str, status: int) -> None:
        """Count an answer.

        Args:
            endpoint: Flask's name of the view; None if the address has no view.
            method: as the client sent it.
            status: of the answer.
        """
        known = method if method in METHODS else "other"
        self._requests.labels(endpoint or "none", known, status).inc()

    def time_request(self, endpoint: str | None, seconds: float) -> None:
        """Count how long an answer took."""
        self._seconds.labels(endpoint or "none").observe(seconds)

    def request_began(self) -> None:
        self._in_progress.inc()

    def request_ended(self) -> None:
        self._in_progress.dec()

    def queue_changed(self, waiting: int, running: int) -> None:
        self._waiting.set(waiting)
        self._running.set(running)

    def decoder_stopped(self, why: str) -> None:
        self._stops.labels(why).inc()

    def image_classified(self, risk_level: str) -> None:
        self._answers.labels(risk_level).inc()

    def as_text(self) -> tuple[bytes, str]:
        """Return the counts of all processes in Prometheus's text format, and its content type."""
        from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, CollectorRegistry, generate_latest

        self._model.set(1)  # not earlier: gunicorn's --preload forks after the app is made
        registry = self._registry
        if folder := os.environ.get(_FOLDER):
            registry = CollectorRegistry()
            registry.register(_Folder(folder))
        return generate_latest(registry), CONTENT_TYPE_PLAIN_0_0_4


class _Folder:
    """The counts of several processes, like prometheus-client's own, which fails on empty files."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)

    def collect(self) -> Iterable[Any]:
        """Add up the files, except empty ones of workers that are still starting."""
        from prometheus_client.multiprocess import MultiProcessCollector

        files = [str(path) for path in self._folder.glob("*.db") if _is_filled(path)]
        return MultiProcessCollector.merge(files)


def _is_filled(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except FileNotFoundError:  # the worker has just ended
        return False


# --- In an app -------------------------------------------------------------------------------


def measure(app: Flask) -> None:
    """Make an app count, and answer at /metrics, if `METRICS_TOKEN` or `METRICS_PORT` is set.

    Call this before registering other request hooks: then the time starts before them, and the
    answer is counted after they have changed it.

    Raises:
        SettingError: a setting is invalid, or prometheus-client is not installed.
    """
    for name in SETTINGS:
        app.config[name] = str(app.config[name]).strip()
    access = metrics_access(app.config)
    if access is None:
        return
    counts = Metrics(get_classifier(app))
    watch(counts)
    app.extensions["metrics"], app.extensions["metrics_access"] = counts, access
    app.before_request(begin)
    app.after_request(end)
    app.register_blueprint(metrics)


def begin() -> None:
    """Note the time; on the metrics port, answer only requests for the metrics."""
    g.begun = time.perf_counter()
    if is_on_metrics_port() and request.endpoint != "metrics.show":
        abort(404)


def end(response: Response) -> Response:
    """Count an answer."""
    counts: Metrics = current_app.extensions["metrics"]
    counts.count_request(request.endpoint, request.method, response.status_code)
    counts.time_request(request.endpoint, time.perf_counter() - g.begun)
    return response


@metrics.get("/metrics")
def show() -> Response:
    """Show the metrics to those who may read them; 404 on other ports, 401 without the token."""
    access: MetricsAccess = current_app.extensions["metrics_access"]
    if access.port is not None and not is_on_metrics_port():
        abort(404)
    if access.token and not is_bearer(access.token):
        response = Response("Send METRICS_TOKEN as the bearer token.\n", 401, mimetype="text/plain")
        response.headers["WWW-Authenticate"] = 'Bearer realm="metrics"'
        return response
    text, kind = current_app.extensions["metrics"].as_text()
    # The numbers differ each time: with an ETag, compression.py would cache each scrape.
    return Response(text, content_type=kind, headers={"Cache-Control": "no-store"})


def is_bearer(token: str) -> bool:
    """Whether the request has the token; compares in constant time."""
    # Parsed here, because Werkzeug fails on some headers that are not text.
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(
        given.strip().encode(), token.encode()
    )


def is_on_metrics_port() -> bool:
    """Whether a request came in on the metrics port, whatever its headers say."""
    access: MetricsAccess = current_app.extensions["metrics_access"]
    connection = request.environ.get("gunicorn.socket")
    if connection is None:
        return _ON_ITS_PORT in request.environ
    address = connection.getsockname()  # a string for a Unix socket
    return isinstance(address, tuple) and address[1] == access.port


def serve_metrics_port(app: Flask) -> None:
    """Serve the metrics port in a thread, for servers other than gunicorn.

    Raises:
        SettingError: the port cannot be bound; Werkzeug has printed why.
    """
    access: MetricsAccess | None = app.extensions.get("metrics_access")
    if access is None or access.port is None:
        return
    try:
        server = make_server(
            access.host,
            access.port,
            lambda asked, respond: app({**asked, _ON_ITS_PORT: True}, respond),
            threaded=True,
        )
    except SystemExit as error:
        raise SettingError(
            f"METRICS_PORT cannot be bound: free port {access.port} of {access.host}, or set "
            "METRICS_PORT and METRICS_HOST to others."
        ) from error
    threading.Thread(target=server.serve_forever, daemon=True).start()


def count_refusal(app: Any, method: str, status: str) -> None:
    """Count a request that was answered without the app.

    Args:
        app: a WSGI application; ignored if it has no metrics.
        method: as the client sent it.
        status: such as `408 Request Timeout`.
    """
    counts = getattr(app, "extensions", {}).get("metrics")
    if counts is not None:
        counts.count_request(None, method, int(status.split(maxsplit=1)[0]))
