"""The progress of `classify`, kept in a file so that an interrupted run can be resumed.

The file has a line of JSON for the run and then one for each image. Lines are only appended, so a
killed process damages at most the last one. The file also keeps memory low: the process holds only
three numbers for each image that it has done.
"""

import contextlib
import hashlib
import json
import os
import tempfile
import time
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from lesion_lens import version
from lesion_lens.model.decisions import LAST
from lesion_lens.model.errors import LesionLensError
from lesion_lens.model.workspaces import lock
from lesion_lens.web.bulk import Result, Task
from lesion_lens.web.folders import shown
from lesion_lens.web.outputs import is_no_file, writing

_KIND = "progress of classify"
_SYNC = 5  # seconds; a power cut loses what was done in this time


class ProgressError(LesionLensError):
    """A progress file is in the way, or this run cannot continue it."""


@dataclass(frozen=True)
class Entry:
    """An image that is done.

    Attributes:
        name: its path, from `folders.shown`.
        record: its answer, from `to_dict`; None if there is none.
        fault: a sentence on what is wrong with its file; None if there is an answer.
    """

    name: str
    record: dict[str, Any] | None
    fault: str | None


class Progress:
    """The images that are done.

    Args:
        file: already read; new lines are appended.
        earlier: key -> (urgency, start of its line), of the images done by an interrupted run.
        name: of the file, for error messages.
    """

    def __init__(
        self, file: IO[bytes], earlier: dict[bytes, tuple[float, int]], name: Path
    ) -> None:
        self._file, self._earlier, self._name = file, earlier, name
        self._end = file.seek(0, os.SEEK_END)
        self._synced = time.monotonic()
        self._urgencies, self._numbers, self._places = array("d"), array("q"), array("q")
        self.is_finished = False
        self.recalled = 0  # images done by an interrupted run

    def __len__(self) -> int:
        return len(self._places)

    @property
    def is_worth_keeping(self) -> bool:
        """Whether a later run could resume from it."""
        return not self.is_finished and bool(len(self) or self._earlier)

    def recall(self, task: Task) -> bool:
        """Whether an interrupted run has done an image; if so, add it to the entries."""
        found = self._earlier.get(bytes.fromhex(task.key))
        if found is not None:
            self._note(found[0], task.number, found[1])
            self.recalled += 1
        return found is not None

    def add(self, task: Task, result: Result) -> None:
        """Add an image that is done.

        Raises:
            UnwritableFile
        """
        # A faulty file may be repaired before the next run, so it gets no key.
        key = "" if result.record is None else task.key
        line = {"key": key, "name": shown(task.path), "urgency": result.urgency}
        line |= {"record": result.record, "fault": result.fault}
        data = json.dumps(line).encode() + b"\n"
        with writing(self._name):
            self._file.seek(self._end)
            self._file.write(data)
            self._file.flush()
            if time.monotonic() - self._synced > _SYNC:
                os.fsync(self._file.fileno())
                self._synced = time.monotonic()
        self._note(result.urgency, task.number, self._end)
        self._end += len(data)

    def _note(self, urgency: float, number: int, place: int) -> None:
        self._urgencies.append(urgency)
        self._numbers.append(number)
        self._places.append(place)

    def entries(self) -> Iterator[Entry]:
        """Yield the images done, the most urgent first; equally urgent ones as they were found."""
        for index in np.lexsort((np.array(self._numbers), np.array(self._urgencies))):
            yield self._entry(self._places[index])

    def faults(self) -> Iterator[Entry]:
        """Yield the images without an answer, in the order in which they were found."""
        faulty = np.flatnonzero(np.array(self._urgencies) >= LAST)
        for index in faulty[np.argsort(np.array(self._numbers)[faulty])]:
            yield self._entry(self._places[index])

    def _entry(self, place: int) -> Entry:
        self._file.seek(place)
        line = json.loads(self._file.readline())
        return Entry(line["name"], line["record"], line["fault"])


@contextlib.contextmanager
def progress_beside(output: Path | None, sha256: str, resume: bool) -> Iterator[Progress]:
    """Keep the progress in a file beside an output, until the run is finished.

    Args:
        output: the file that the run writes; if there is none, or it is not a regular file, nothing
            is kept after the run.
        sha256: of the model.
        resume: whether to continue an interrupted run.

    Raises:
        ProgressError, UnwritableFile
    """
    if output is None or is_no_file(output):
        with tempfile.TemporaryFile() as file:
            yield Progress(file, {}, Path("The temporary progress file"))
        return
    path = path_beside(output)
    progress = None
    try:
        with writing(output):
            file = path.open("a+b")
        with file:
            if lock(file) is False:
                raise ProgressError(
                    f"Another run is writing {output}. Wait until it ends, or choose another file."
                )
            with writing(path):
                earlier = _read(file, path, sha256, resume)
            progress = Progress(file, earlier, path)
            yield progress
    finally:  # after closing: Windows cannot remove an open file
        if progress is not None and not progress.is_worth_keeping:
            path.unlink(missing_ok=True)


def path_beside(output: Path) -> Path:
    """Return the path of the progress file for a run that writes this output."""
    goal = output.resolve()
    return goal.with_name(f"{goal.name}.progress")


def key_of(path: str) -> str:
    """Return a key that changes if the file is replaced: 32 hexadecimal digits.

    It is a hash of the path, the size and the time of the last change; empty if there is no file.
    """
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return ""
    parts = (path, os.path.abspath(path), str(found.st_size), str(found.st_mtime_ns))
    text = b"\0".join(os.fsencode(part) for part in parts)
    return hashlib.blake2b(text, digest_size=16).hexdigest()


def _read(file: IO[bytes], path: Path, sha256: str, resume: bool) -> dict[bytes, tuple[float, int]]:
    """Read the progress of an interrupted run, or start the file.

    Raises:
        ProgressError
    """
    file.seek(0)
    first = file.readline()
    head = {"kind": _KIND, "model_sha256": sha256, "version": version()}
    begin = json.dumps(head).encode() + b"\n"
    if first != begin and begin.startswith(first):  # new, or killed at its start
        file.truncate(0)
        file.write(begin)
        file.flush()
        return {}
    found = _line(first)
    if found is None or found.get("kind") != _KIND:
        raise ProgressError(
            f"{path} is not a progress file of this command. Move it, or choose another output."
        )
    earlier = _earlier(file, len(first))
    if earlier and not resume:
        raise ProgressError(
            f"{path} holds the progress of an interrupted run. Add --resume to continue it, or "
            "delete it to start again."
        )
    if found.get("model_sha256") != sha256:
        raise ProgressError(
            f"{path} was started with a different model file. Set MODEL_PATH to that one, or "
            "delete the progress file to start again."
        )
    if found.get("version") != version():
        raise ProgressError(
            f"{path} was started by version {found.get('version')} of Lesion Lens. Delete it to "
            f"start again with version {version()}."
        )
    return earlier


def _earlier(file: IO[bytes], place: int) -> dict[bytes, tuple[float, int]]:
    """Find the images in the lines from `place` on; a damaged line counts as not done."""
    earlier = {}
    line = b"\n"
    for line in file:
        found = _line(line)
        with contextlib.suppress(KeyError, TypeError, ValueError):
            if found and found["key"]:
                earlier[bytes.fromhex(found["key"])] = (float(found["urgency"]), place)
        place += len(line)
    if not line.endswith(b"\n"):
        file.write(b"\n")  # so that the next entry starts a new line
        file.flush()
    return earlier


def _line(data: bytes) -> dict[str, Any] | None:
    """Read a line of the file; None if it is damaged."""
    try:
        found = json.loads(data)
    except ValueError:
        return None
    return found if isinstance(found, dict) and data.endswith(b"\n") else None
