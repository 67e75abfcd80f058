"""What a serving process does to its allocator, its garbage collector and its log.

gunicorn.conf.py calls this. None of it changes an answer: without it a process would stay some
hundred megabytes larger after large images, and start more slowly.
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
    """Have threads give up Python's lock after 0.5 ms instead of 5.

    Threads that decode and classify need it for moments only.
    """
    sys.setswitchinterval(0.0005)


def hide_addresses(log: logging.Logger) -> None:
    """Drop gunicorn's remark on a request that is no HTTP: it names the client's address."""
    log.addFilter(lambda record: "Invalid request from ip" not in str(record.msg))


def load_weights(app: Flask) -> None:
    """Load the weights of an app, or end the process with the sentence that says why not."""
    decoding.prepare()  # meanwhile
    # While TensorFlow's thousands of modules are imported, Python would look through them for
    # garbage again and again: a fifth of the time that the start takes.
    gc.disable()
    try:
        get_classifier(app).load()
    except ModelFileError as error:
        exit_with(error)
    gc.freeze()  # what is there now stays, and need never be looked through
    gc.enable()


def exit_with(error: LesionLensError) -> NoReturn:
    """End the process with an error's sentence and no traceback.

    The code is 3, by which gunicorn knows that a worker cannot start and that trying again is no
    use.
    """
    print(error, file=sys.stderr)
    sys.exit(3)
