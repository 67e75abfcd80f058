"""Checkpoints: the state of a fit on disk, to resume an interrupted training from."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lesion_lens.model.workspaces import lock
from lesion_lens.training.errors import TrainingError, writing_remedy
from lesion_lens.training.progress import History

if TYPE_CHECKING:
    import keras

_UNFINISHED = ".unfinished"  # the suffix of a checkpoint while it is written
# What differs if a checksum of the identity does.
_CHECKSUMS = {"data checksum": "other images or labels", "split": "a different split"}
SAVE_EVERY = 5  # epochs, so that an interruption costs no more than half a minute


@contextlib.contextmanager
def claimed(folder: Path, output: Path) -> Iterator[None]:
    """Lock a folder of checkpoints for one training, and remove what a killed one left.

    Args:
        folder: created if missing; removed at the end if it has no checkpoint.
        output: the model file, for the messages.

    Raises:
        TrainingError: another training uses the folder, or it cannot be written.
    """
    name = folder / "in-use"
    with contextlib.ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(name.open("ab"))
        except OSError as error:  # fail now, not after the training
            raise TrainingError(
                f"{output} cannot be written ({error}): choose another --output."
            ) from error
        if lock(file) is False:
            raise TrainingError(
                f"Another training of {output} is running: wait until it ends, or choose another "
                "--output."
            )
        for unfinished in folder.glob(f"*{_UNFINISHED}"):
            unfinished.unlink(missing_ok=True)
        try:
            yield
        finally:
            if sys.platform == "win32":  # it cannot remove an open file
                file.close()
            if not any(folder.glob("*.npz")):
                with contextlib.suppress(OSError):  # the folder may hold other files, not ours
                    name.unlink(missing_ok=True)
                    folder.rmdir()


class Checkpoint:
    """The state of an unfinished fit, in one file that is replaced as a whole.

    Args:
        path: the .npz file.
        identity: what defines the fit (data, split, seed, recipe, backend), JSON-serialisable.
    """

    def __init__(self, path: str | Path, identity: dict[str, Any]) -> None:
        self.path = Path(path)
        self.identity: dict[str, Any] = json.loads(json.dumps(identity))

    def save(self, variables: Sequence[keras.Variable], history: History) -> None:
        """Write every variable's value, the history and the identity.

        Raises:
            TrainingError: the file cannot be written; the previous one stays unchanged.
        """
        unfinished = self.path.with_suffix(_UNFINISHED)  # so that no search for *.npz finds it
        values = {str(place): variable.numpy() for place, variable in enumerate(variables)}
        text = json.dumps({"identity": self.identity, "history": history})
        try:
            with open(unfinished, "wb") as file:  # np.savez would add a suffix to a name
                np.savez(file, about=text, **values)
            os.replace(unfinished, self.path)
        except OSError as error:
            with contextlib.suppress(OSError):
                unfinished.unlink(missing_ok=True)
            raise TrainingError(
                f"{self.path} cannot be written ({error.strerror or error}): "
                f"{writing_remedy(error)}, then {self.how_to_continue()}"
            ) from error

    def load(self, variables: Sequence[keras.Variable]) -> History:
        """Put the values back into the variables, if the file is there.

        Returns:
            The history so far; empty if there is no file.

        Raises:
            TrainingError: the file is damaged, or of a different fit.
        """
        if not self.path.exists():
            return []
        try:
            with np.load(self.path, allow_pickle=False) as file:
                about = json.loads(str(file["about"]))
                self._compare(dict(about["identity"]))
                values = [file[str(place)] for place in range(len(variables))]
                history: History = list(about["history"])
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)
        except TrainingError:
            raise
        except Exception as error:  # on bad bytes, the errors of NumPy and zipfile share no base
            raise TrainingError(
                f"{self.path} is damaged. Remove {self.path.parent} to start again."
            ) from error
        return history

    def how_to_continue(self) -> str:
        """The end of a message: --resume is refused if no network of the training was saved."""
        if any(self.path.parent.glob("*.npz")):
            return "run the same command again; train.py also needs --resume."
        return "run the same command again."

    def check(self) -> None:
        """Raise what `load` raises, without loading anything."""
        self.load([])

    def _compare(self, identity: dict[str, Any]) -> None:
        for name, value in self.identity.items():
            if identity.get(name) != value:
                raise TrainingError(
                    f"{self.path} was made with {_difference(name, identity, value)}. "
                    f"Remove {self.path.parent} to start again."
                )


def _difference(name: str, identity: dict[str, Any], value: object) -> str:
    """Name what differs: a checksum in words, and for a recipe the settings."""
    if name in _CHECKSUMS:
        return _CHECKSUMS[name]
    other = identity.get(name)
    if not (isinstance(value, dict) and isinstance(other, dict)):
        return f"a different {name} ({other}, not {value})"
    settings = [
        f"{key} {other.get(key)}, not {value.get(key)}"
        for key in sorted(value.keys() | other.keys())
        if other.get(key) != value.get(key)
    ]
    return f"a different {name} ({'; '.join(settings)})"
