"""What happens while images are decoded and classified, told to whoever counts it in this process.

Numbers and words of ours alone: nothing of an image, of a file or of who asks.
"""

# Why a decoder was stopped, as decoding.py decides; `died` where it was not stopped by us.
STOPS = ("again", "busy", "costly", "died", "gone")


class Watcher:
    """Is told what happens, in any thread and at once; this one does nothing with it."""

    def request_began(self) -> None:
        """A request with images was let in."""

    def request_ended(self) -> None:
        """It was answered, or failed."""

    def queue_changed(self, waiting: int, running: int) -> None:
        """So many images wait to be decoded now, and so many are decoded."""

    def decoder_stopped(self, why: str) -> None:
        """A process that decoded was killed or died; `why` is one of `STOPS`."""

    def image_classified(self, risk_level: str) -> None:
        """An image got its answer, with this level of `decisions.LEVELS`."""


_watcher = Watcher()


def watch(watcher: Watcher) -> None:
    """Have a watcher told from now on, in place of the one before."""
    global _watcher  # noqa: PLW0603 (the queue and the decoders are the process's, not an app's)
    _watcher = watcher


def watcher() -> Watcher:
    """The one that is told."""
    return _watcher
