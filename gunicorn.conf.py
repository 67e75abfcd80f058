"""How gunicorn serves the app; it reads this file by itself from the folder that it starts in."""

import contextlib
import ctypes
import os

from skin_cancer_detection import ModelFileError

bind = f"0.0.0.0:{os.environ.get('PORT', '8000')}"

# One process: TensorFlow takes about 300 MB of its own, so a second one does not fit the 512 MB
# dyno for which Heroku sets WEB_CONCURRENCY=2. Set here, it overrides that variable.
workers = 1
worker_class = "gthread"
threads = 12  # the ten that classifier.admission lets in, and two more
# Never True: TensorFlow loaded before the fork hangs every request.
preload_app = False

control_socket_disable = True  # nobody uses it, and it would stand in the home folder

timeout = 120  # seconds; loading TensorFlow on a small dyno counts as the worker's silence
graceful_timeout = 30
keepalive = 5
# The platform's router says whether a visitor came by https; nothing else is taken from it.
forwarded_allow_ips = "*"

accesslog = "-"
# Method, path, status, bytes, seconds. No address, no query, and a file's name is in neither.
access_log_format = "%(m)s %(U)s %(s)s %(B)s %(L)ss"


def post_fork(server, worker):
    """Have a dropped image's memory go back to the system.

    glibc keeps freed blocks of up to 32 MB, for each thread, so after a few large uploads the
    process would stay some hundred MB larger. Above this threshold it does not (mallopt(3)).
    """
    m_mmap_threshold, megabyte = -3, 1 << 20
    with contextlib.suppress(AttributeError, OSError, TypeError):  # another C library
        ctypes.CDLL(None).mallopt(m_mmap_threshold, 4 * megabyte)


def post_worker_init(worker):
    """Load the weights in each worker, after the fork and before it takes requests."""
    from app import stop

    # gunicorn's remark on a request that is no HTTP names the address that it came from.
    worker.log.error_log.addFilter(lambda record: "Invalid request from ip" not in str(record.msg))
    try:
        worker.wsgi.extensions["classifier"].load()
    except ModelFileError as error:
        stop(error)
