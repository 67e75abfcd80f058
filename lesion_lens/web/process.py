"""Settings of a serving process: thread switching, garbage collector, log and start.

gunicorn.conf.py calls most of this. It does not change answers.
"""

import gc
import logging
import sys

from flask import Flask

from lesion_lens.model import decoding
from lesion_lens.model.backends import BACKENDS, chosen_backend
from lesion_lens.model.errors import ModelFileError
from lesion_lens.model.model_path import is_litert
from lesion_lens.web.current import get_classifier
from lesion_lens.web.settings import exit_with


def share_the_interpreter() -> None:
    """Make threads release Python's lock after 0.5 ms instead of 5.

    Threads that decode and classify need it only for moments.
    """
    sys.setswitchinterval(0.0005)


def hide_addresses(log: logging.Logger) -> None:
    """Drop gunicorn's message about requests that are not HTTP: it names the client's address."""
    log.addFilter(lambda record: "Invalid request from ip" not in str(record.msg))


def load_weights(app: Flask) -> None:
    """Load the weights of an app, or print why not and exit."""
    decoding.prepare()  # in parallel
    # While TensorFlow's thousands of modules are imported, Python would search them for garbage
    # again and again, which takes a fifth of the start.
    gc.disable()
    try:
        get_classifier(app).load()
    except ModelFileError as error:
        exit_with(error)
    gc.freeze()  # what exists now stays, so the collector can skip it
    gc.enable()


def describe_model(app: Flask) -> str:
    """Name the model file of an app, its checksum and its engine, for the log."""
    model = get_classifier(app)
    engine = "LiteRT" if is_litert(model.path) else f"Keras on {BACKENDS[chosen_backend()][0]}"
    return f"Serving {model.path} (SHA-256 {model.sha256}) with {engine}"


def warn_of_other_worker() -> None:
    """Log a warning in a gunicorn worker that is not ours: gunicorn.conf.py was not read.

    It is a warning, not an error, because the app can do without, as under other servers.
    """
    if "gunicorn.workers.base" in sys.modules and "lesion_lens.web.worker" not in sys.modules:
        logging.getLogger("gunicorn.error").warning(
            "gunicorn.conf.py is not in use, so slow clients can block the app and most limits "
            "on requests are missing: start gunicorn in the folder of that file, or name its path "
            "with --config; give no --worker-class."
        )
