"""Reports what happens while images are decoded and classified, for this process's metrics.

Reports contain only our numbers and words, nothing about an image, a file or a client.
"""

# Why a decoder was stopped, as decided in decoding.py. `died`: we did not stop it.
STOPS = ("again", "busy", "costly", "died", "gone")


class Watcher:
    """Receives reports, immediately and in any thread. This base class ignores them."""

    def request_began(self) -> None:
        """A request with images was admitted."""

    def request_ended(self) -> None:
        """An admitted request was answered, or failed."""

    def queue_changed(self, waiting: int, running: int) -> None:
        """Now `waiting` images wait to be decoded, and `running` are being decoded."""

    def decoder_stopped(self, why: str) -> None:
        """A decoder was stopped or died; `why` is one of `STOPS`."""

    def image_classified(self, risk_level: str) -> None:
        """An image was classified; its risk level is one of `decisions.LEVELS`."""


_watcher = Watcher()


def watch(watcher: Watcher) -> None:
    """Send reports to this watcher from now on, instead of the previous one."""
    global _watcher  # noqa: PLW0603 (the queue and the decoders are the process's, not an app's)
    _watcher = watcher


def watcher() -> Watcher:
    """The current watcher."""
    return _watcher
