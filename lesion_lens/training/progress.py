"""Progress: the history of a fit, and what the console prints about it."""

import time
from typing import TypeAlias

# Each epoch's `loss`; for some epochs also `held_out_log_loss` and `held_out_macro_auc`.
History: TypeAlias = list[dict[str, float | None]]

WATCH_EVERY = 10  # epochs; each time, BatchNormalization has to be measured again


class Progress:
    """Prints a line every 10 epochs: the epoch, the loss, the held-out AUC and the time left."""

    def __init__(self, name: str, epochs: int) -> None:
        self.name, self.epochs = name, epochs
        self.begin = time.monotonic()
        self.resumed_from: int | None = None  # epochs done before this run

    def __call__(self, history: History) -> None:
        done = len(history)
        if self.resumed_from is None:
            self.resumed_from = done - 1
        if done % WATCH_EVERY and done != self.epochs:
            return
        pace = (time.monotonic() - self.begin) / (done - self.resumed_from)
        scores = [auc for row in history if (auc := row.get("held_out_macro_auc"))]
        watched = f"  held-out AUC {scores[-1]:.3f}, best {max(scores):.3f}" if scores else ""
        print(
            f"{self.name:9}  epoch {done:3}/{self.epochs}  loss {history[-1]['loss']:.3f}"
            f"{watched}  {pace * (self.epochs - done) / 60:.1f} min left",
            flush=True,
        )
