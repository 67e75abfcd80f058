"""How gunicorn serves the app; it reads this file by itself from the folder that it starts in."""

import os
from typing import Any

from lesion_lens.model.admission import decode_one_at_a_time
from lesion_lens.model.files import DEFAULT_MODEL_PATH, is_litert

bind = f"0.0.0.0:{os.environ.get('PORT', '8000')}"

# LiteRT is loaded once, before the workers are forked, which then share its memory. How many there
# are is read by gunicorn itself from WEB_CONCURRENCY; without it, one. TensorFlow would hang every
# request if it were loaded before the fork, and takes about 250 MB for each process, so that the
# second one of Heroku's WEB_CONCURRENCY=2 would not fit its dyno of 512 MB: there is one.
preload_app = is_litert(os.environ.get("MODEL_PATH", DEFAULT_MODEL_PATH))
if not preload_app:
    workers = 1  # overrides WEB_CONCURRENCY
worker_class = "gthread"
threads = 12  # the ten that lesion_lens.model.admission.admission lets in, and two more

control_socket_disable = True  # nobody uses it, and it would stand in the home folder

timeout = 120  # seconds; loading TensorFlow on a small dyno counts as the worker's silence
graceful_timeout = 30
# Whoever keeps a connection stays with the worker that accepted it, and so one of several LiteRT
# workers might get all the work: theirs are closed after each answer.
keepalive = 0 if preload_app else 5  # seconds
# gunicorn itself believes no proxy's header; lesion_lens.web.proxies does, where a setting says so.
forwarded_allow_ips = ""
forwarder_headers = ""
secure_scheme_headers: dict[str, str] = {}

accesslog = "-"
# Method, path, status, bytes, seconds. No address, no query, and a file's name is in neither.
access_log_format = "%(m)s %(U)s %(s)s %(B)s %(L)ss"


# The hooks import what they call: gunicorn's master, which reads this file too, needs no Flask.


def when_ready(server: Any) -> None:
    """Load LiteRT before the workers are forked, and have several of them share the memory."""
    if preload_app:
        from lesion_lens.web import process

        process.load_weights(server.app.wsgi())
        if server.cfg.workers > 1:
            decode_one_at_a_time()


def post_fork(server: Any, worker: Any) -> None:
    """Set the allocator of each worker."""
    from lesion_lens.web import process

    process.return_freed_memory()


def post_worker_init(worker: Any) -> None:
    """Load Keras in each worker, after the fork and before it takes requests."""
    from lesion_lens.web import process

    process.share_the_interpreter()
    process.hide_addresses(worker.log.error_log)
    process.load_weights(worker.wsgi)
