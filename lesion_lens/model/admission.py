"""Limits how many requests with images are handled at once. decoding.py decodes their images."""

import contextlib
import threading
from collections.abc import Iterator

from lesion_lens.model.errors import Busy
from lesion_lens.model.events import watcher

MAX_REQUESTS = 16  # being handled or waiting for their turn

_admissions = threading.BoundedSemaphore(MAX_REQUESTS)


@contextlib.contextmanager
def admission() -> Iterator[None]:
    """Admit a request with images, or turn it away. Wrap all of the request's work in this.

    Raises:
        Busy: `MAX_REQUESTS` have already been admitted; raised without waiting.
    """
    if not _admissions.acquire(blocking=False):
        raise Busy
    watcher().request_began()
    try:
        yield
    finally:
        _admissions.release()
        watcher().request_ended()
