"""How gunicorn serves the app.

gunicorn finds this file in the folder in which it starts; elsewhere, name it with `--config`.
"""

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))  # also if gunicorn starts elsewhere

from lesion_lens.model.errors import SettingError
from lesion_lens.model.process_limits import most_connections
from lesion_lens.web import metrics_processes
from lesion_lens.web.limits import HEADER_LIMIT
from lesion_lens.web.settings import exit_with, port_to_serve

try:
    bind = f"0.0.0.0:{port_to_serve(default=8000)}"
except SettingError as error:
    exit_with(error)

# Ignores WEB_CONCURRENCY, which Heroku sets to 2 for a dyno of 512 MB, where a second TensorFlow
# would not fit. One process still uses several cores: the slow work is done by threads that release
# Python's lock, and by the decoder processes.
workers = 1
worker_class = "lesion_lens.web.worker.Worker"
worker_connections = most_connections(2000)  # an idle one takes a few kilobytes
# More than browsers and platforms send. The time to parse a header grows with its square.
limit_request_fields = 40
limit_request_field_size = 4096  # bytes

control_socket_disable = True  # unused, and it would be created in the home folder

timeout = 120  # seconds; a worker counts as silent while it loads TensorFlow on a small dyno
graceful_timeout = 30
# The time for a request's whole header, and for a connection that sends no request.
keepalive = HEADER_LIMIT  # seconds
# gunicorn ignores all proxy headers. lesion_lens.web.proxies reads them if a setting says so.
forwarded_allow_ips = ""
forwarder_headers = ""
secure_scheme_headers: dict[str, str] = {}

accesslog = "-"
# Time, method, path, status, bytes, seconds. Neither address nor query; a path holds no file name.
access_log_format = "%(t)s %(m)s %(U)s %(s)s %(B)s %(L)ss"


metrics_processes.name_folder()  # before the workers start, which inherit the environment

# The hooks import what they need, so that gunicorn's master, which also reads this file, loads no
# Flask.


def post_worker_init(worker: Any) -> None:
    """Load the weights in the worker, because TensorFlow does not survive a fork."""
    from lesion_lens.model.process_limits import allow_many_connections, return_freed_memory
    from lesion_lens.web import process

    return_freed_memory()
    allow_many_connections()
    process.share_the_interpreter()
    process.hide_addresses(worker.log.error_log)
    app = worker.app.wsgi()
    process.load_weights(app)
    worker.log.info("%s", process.describe_model(app))


def on_starting(server: Any) -> None:
    """Prepare what the workers' metrics need, if they are on."""
    metrics_processes.start(server)


def post_fork(server: Any, worker: Any) -> None:
    """Let the worker also answer on the metrics port, if there is one."""
    metrics_processes.add_port(worker)


def child_exit(server: Any, worker: Any) -> None:
    """Remove an ended worker from the gauges of current work."""
    metrics_processes.forget_worker(worker.pid)


def on_exit(server: Any) -> None:
    """Remove the metrics folder."""
    metrics_processes.remove_folder()
