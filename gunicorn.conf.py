"""How gunicorn serves the app; it reads this file by itself from the folder that it starts in."""

import contextlib
import ctypes
import gc
import os
import sys

from lesion_lens.model.classifier import decode_one_at_a_time
from lesion_lens.model.errors import ModelFileError
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
threads = 12  # the ten that classifier.admission lets in, and two more

control_socket_disable = True  # nobody uses it, and it would stand in the home folder

timeout = 120  # seconds; loading TensorFlow on a small dyno counts as the worker's silence
graceful_timeout = 30
# Whoever keeps a connection stays with the worker that accepted it, and so one of several LiteRT
# workers might get all the work: theirs are closed after each answer.
keepalive = 0 if preload_app else 5  # seconds
# The platform's router says whether a visitor came by https; nothing else is taken from it.
forwarded_allow_ips = "*"

accesslog = "-"
# Method, path, status, bytes, seconds. No address, no query, and a file's name is in neither.
access_log_format = "%(m)s %(U)s %(s)s %(B)s %(L)ss"


def when_ready(server):
    """Load LiteRT before the workers are forked, and have several of them share the memory."""
    if preload_app:
        load(server.app.wsgi())
        if server.cfg.workers > 1:
            decode_one_at_a_time()


def post_fork(server, worker):
    """Have the memory of large images go back to the system, and keep that of small ones at hand.

    glibc keeps freed blocks of up to 32 MB, for each thread, so after a few large uploads the
    process would stay some hundred MB larger. Blocks above the first threshold it gives back at
    once; of the others it keeps up to the second, in two arenas for all threads, so that a
    request does not fetch every page of its image from the system anew (mallopt(3)).
    """
    m_mmap_threshold, m_trim_threshold, m_arena_max, megabyte = -3, -1, -8, 1 << 20
    with contextlib.suppress(AttributeError, OSError, TypeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(m_mmap_threshold, 4 * megabyte)
        mallopt(m_trim_threshold, 16 * megabyte)
        mallopt(m_arena_max, 2)


def post_worker_init(worker):
    """Load Keras in each worker, after the fork and before it takes requests."""
    # Threads that decode and classify need Python's lock for moments only, and the one that has it
    # gives it up after 5 ms unless it is told otherwise.
    sys.setswitchinterval(0.0005)
    # gunicorn's remark on a request that is no HTTP names the address that it came from.
    worker.log.error_log.addFilter(lambda record: "Invalid request from ip" not in str(record.msg))
    load(worker.wsgi)


def load(app):
    """Load the weights of an app, or end the process with the sentence that says why not."""
    from lesion_lens.web.process import exit_with

    # While TensorFlow's thousands of modules are imported, Python would look through them for
    # garbage again and again: a fifth of the time that the start takes.
    gc.disable()
    try:
        app.extensions["classifier"].load()
    except ModelFileError as error:
        exit_with(error)
    gc.freeze()  # what is there now stays, and need never be looked through
    gc.enable()
