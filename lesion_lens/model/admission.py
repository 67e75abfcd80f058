"""How many requests with images may be in; how their images are decoded says decoding.py."""

import contextlib
import threading
from collections.abc import Iterator

from lesion_lens.model.errors import Busy
from lesion_lens.model.events import watcher

MAX_REQUESTS = 16  # that are worked on or wait for their turn

_admissions = threading.BoundedSemaphore(MAX_REQUESTS)


@contextlib.contextmanager
def admission() -> Iterator[None]:
    """Let a request with images in, or turn it away: hold this around all its work.

    Raises:
        Busy: at once, if `MAX_REQUESTS` are in.
    """
    if not _admissions.acquire(blocking=False):
        raise Busy
    watcher().request_began()
    try:
        yield
    finally:
        _admissions.release()
        watcher().request_ended()
