"""Waiting for what happens elsewhere: the one loop that polls."""

import threading
import time

_NEVER = threading.Event()


def wait_for(happening, seconds=20, pause=_NEVER.wait):
    """Ask again and again, with pauses, until something has happened.

    Args:
        happening: says whether it has.
        seconds: after which the test fails.
        pause: takes seconds.
    """
    end = time.monotonic() + seconds
    while not happening():
        assert time.monotonic() < end, f"not within {seconds} seconds"
        pause(0.05)
