"""Waiting for what happens elsewhere: the one loop that polls, and a crowd that decodes."""

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


class WatchedDecodes:
    """Stands before `admission._decodes` and counts how many images are decoded at once.

    The first images are held until a crowd of threads wants to decode, so that whoever may, does.

    Attributes:
        crowd: how many threads that is.
        most: how many images were decoded at once.
    """

    def __init__(self, turns, decode):
        self.crowd, self.most = 4, 0
        self._turns, self._decode = turns, decode
        self._asked, self._running = 0, 0
        self._changed = threading.Condition()

    def __enter__(self):
        with self._changed:
            self._asked += 1
            self._changed.notify_all()
        self._turns.acquire()

    def __exit__(self, *_):
        self.release()

    def acquire(self):
        """Take a turn for good."""
        self._turns.acquire()

    def release(self):
        self._turns.release()

    def decode(self, data):
        with self._changed:
            self._running += 1
            self.most = max(self.most, self._running)
            assert self._changed.wait_for(lambda: self._asked >= self.crowd, timeout=20)
        try:
            return self._decode(data)
        finally:
            with self._changed:
                self._running -= 1
