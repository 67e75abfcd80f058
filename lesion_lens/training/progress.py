"""What the console says while a network is fitted."""

import time

WATCH_EVERY = 10  # epochs, as BatchNormalization has to be measured anew for it


class Progress:
    """Prints a line now and then: the epoch, the loss, the held-out scores and the time left."""

    def __init__(self, name, epochs):
        self.name, self.epochs = name, epochs
        self.begin, self.first = time.monotonic(), None

    def __call__(self, history):
        done = len(history)
        if self.first is None:
            self.first = done - 1  # what was done before a resumption took no time
        if done % WATCH_EVERY and done != self.epochs:
            return
        pace = (time.monotonic() - self.begin) / (done - self.first)
        scores = [row["held_out_macro_auc"] for row in history if row.get("held_out_macro_auc")]
        watched = f"  held-out AUC {scores[-1]:.3f}, best {max(scores):.3f}" if scores else ""
        print(
            f"{self.name:9}  epoch {done:3}/{self.epochs}  loss {history[-1]['loss']:.3f}"
            f"{watched}  {pace * (self.epochs - done) / 60:.1f} min left",
            flush=True,
        )
