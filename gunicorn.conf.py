"""How gunicorn serves the app; it reads this file by itself from the folder that it starts in."""

import os
from typing import Any

from lesion_lens.model.process_limits import most_connections
from lesion_lens.web import metrics_processes
from lesion_lens.web.limits import HEADER_LIMIT

bind = f"0.0.0.0:{os.environ.get('PORT', '8000')}"

# One process serves, whatever WEB_CONCURRENCY says, which Heroku sets to 2 for its dyno of 512 MB:
# a second TensorFlow would not fit there. What takes long is done by threads without Python's lock
# and by the processes that decode, so that one process keeps some cores busy.
workers = 1
worker_class = "lesion_lens.web.worker.Worker"
worker_connections = most_connections(2000)  # a silent one takes some kilobytes
# Of a header; no browser or platform sends as much. To parse one takes time with the square of it.
limit_request_fields = 40
limit_request_field_size = 4096  # bytes

control_socket_disable = True  # nobody uses it, and it would stand in the home folder

timeout = 120  # seconds; loading TensorFlow on a small dyno counts as the worker's silence
graceful_timeout = 30
# For the header of a request, from the first byte to the last, and for a connection without one.
keepalive = HEADER_LIMIT  # seconds
# gunicorn itself believes no proxy's header; lesion_lens.web.proxies does, where a setting says so.
forwarded_allow_ips = ""
forwarder_headers = ""
secure_scheme_headers: dict[str, str] = {}

accesslog = "-"
# Method, path, status, bytes, seconds. No address, no query, and a file's name is in neither.
access_log_format = "%(m)s %(U)s %(s)s %(B)s %(L)ss"


metrics_processes.name_folder()  # now, as workers inherit the environment

# The hooks import what they call: gunicorn's master, which reads this file too, needs no Flask.


def post_worker_init(worker: Any) -> None:
    """Load the weights in the worker, as TensorFlow survives no fork."""
    from lesion_lens.model.process_limits import allow_many_connections, return_freed_memory
    from lesion_lens.web import process

    return_freed_memory()
    allow_many_connections()
    process.share_the_interpreter()
    process.hide_addresses(worker.log.error_log)
    process.load_weights(worker.app.wsgi())


def on_starting(server: Any) -> None:
    """Prepare what the workers' metrics need, if they are on."""
    metrics_processes.start(server)


def post_fork(server: Any, worker: Any) -> None:
    """Have the worker answer on the port of the metrics, if they have one."""
    metrics_processes.add_port(worker)


def child_exit(server: Any, worker: Any) -> None:
    """Take the worker out of what is going on at the moment."""
    metrics_processes.forget_worker(worker.pid)


def on_exit(server: Any) -> None:
    """Remove the folder of the metrics."""
    metrics_processes.remove_folder()
