"""Waiting for something to happen in another thread or process, by polling."""

import threading
import time

_NEVER = threading.Event()


def wait_for(happening, seconds=20, pause=_NEVER.wait):
    """Poll until something has happened.

    Args:
        happening: a function that returns whether it has happened.
        seconds: after this time, the test fails.
        pause: a function that waits for some seconds.
    """
    end = time.monotonic() + seconds
    while not happening():
        assert time.monotonic() < end, f"not within {seconds} seconds"
        pause(0.05)
