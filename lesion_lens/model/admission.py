"""Whose turn it is: how many images are decoded at once, and how many requests may wait.

A decoded image may take 100 MB, so a process decodes at most two at once, however many requests
there are. Where several processes serve (LiteRT), each of them decodes one: `decode_one_at_a_time`
takes one of the two turns and never gives it back. It does so before the processes are forked, so
that all of them inherit a semaphore with one turn left.
"""

import contextlib
import threading
from collections.abc import Iterator

from lesion_lens.model.errors import Busy

MAX_DECODES = 2
MAX_WAITING = 8  # further requests with images that wait for their turn

_decodes = threading.BoundedSemaphore(MAX_DECODES)
_admissions = threading.BoundedSemaphore(MAX_DECODES + MAX_WAITING)


@contextlib.contextmanager
def turn_to_decode() -> Iterator[None]:
    """Wait for a turn, and hold it while an image is decoded."""
    with _decodes:
        yield


def decode_one_at_a_time() -> None:
    """Take one of the two turns for good, where other processes of this machine decode as well."""
    _decodes.acquire()


@contextlib.contextmanager
def admission() -> Iterator[None]:
    """Let a request with images in, or turn it away: hold this around all its work.

    Raises:
        Busy: at once, if `MAX_DECODES` + `MAX_WAITING` requests are in.
    """
    if not _admissions.acquire(blocking=False):
        raise Busy
    try:
        yield
    finally:
        _admissions.release()
