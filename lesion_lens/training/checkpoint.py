"""Going on after an interruption."""

import json
import os
import zipfile
from pathlib import Path

import numpy as np

from lesion_lens.training.errors import TrainingError

SAVE_EVERY = 5  # epochs, so that an interruption costs no more than half a minute


class Checkpoint:
    """The state of a fit that is not finished, in one file that is replaced whole.

    Args:
        path: the .npz file.
        identity: dict of whatever makes the fit what it is: data, split, seed, recipe.
    """

    def __init__(self, path, identity):
        self.path = Path(path)
        self.identity = json.loads(json.dumps(identity))

    def save(self, variables, history):
        """Write every variable's value, the history and the identity."""
        unfinished = self.path.with_suffix(".unfinished")  # which no search for *.npz finds
        values = {str(place): variable.numpy() for place, variable in enumerate(variables)}
        text = json.dumps({"identity": self.identity, "history": history})
        with open(unfinished, "wb") as file:  # np.savez would add a suffix to a name
            np.savez(file, about=text, **values)
        os.replace(unfinished, self.path)

    def load(self, variables):
        """Put the values back into the variables, if the file is there.

        Returns:
            The history up to then; empty without the file.

        Raises:
            TrainingError: the file is spoiled, or of another fit.
        """
        if not self.path.exists():
            return []
        try:
            with np.load(self.path, allow_pickle=False) as file:
                about = json.loads(str(file["about"]))
                self._compare(about["identity"])
                values = [file[str(place)] for place in range(len(variables))]
                history = about["history"]
        except (OSError, ValueError, LookupError, EOFError, zipfile.BadZipFile) as error:
            raise TrainingError(
                f"{self.path} is damaged. Remove {self.path.parent} to begin anew."
            ) from error
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        return history

    def check(self):
        """Raise what `load` raises, without loading anything."""
        self.load([])

    def _compare(self, identity):
        for name, value in self.identity.items():
            if identity.get(name) != value:
                raise TrainingError(
                    f"{self.path} was made with another {_difference(name, identity, value)}. "
                    f"Remove {self.path.parent} to begin anew."
                )


def _difference(name, identity, value):
    """Name what differs; of a recipe, the settings that do."""
    other = identity.get(name)
    if not (isinstance(value, dict) and isinstance(other, dict)):
        return f"{name} ({other}, not {value})"
    settings = [
        f"{key} {other.get(key)}, not {value.get(key)}"
        for key in sorted(value.keys() | other.keys())
        if other.get(key) != value.get(key)
    ]
    return f"{name} ({'; '.join(settings)})"
