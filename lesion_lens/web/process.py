"""Settings of a serving process: thread switching, garbage collector, log and start.

gunicorn.conf.py calls this. It does not change answers.
"""

import gc
import logging
import sys
from typing import NoReturn

from flask import Flask

from lesion_lens.model import decoding
from lesion_lens.model.errors import LesionLensError, ModelFileError
from lesion_lens.web.current import get_classifier


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


def exit_with(error: LesionLensError) -> NoReturn:
    """Print an error without a traceback and exit.

    The exit code is 3, which tells gunicorn that the worker cannot start and that retrying is
    useless.
    """
    print(error, file=sys.stderr)
    sys.exit(3)
