"""Folders for files that are being written, which are removed even after a process was killed.

The system frees the lock of a process that ends in whatever way. So a folder of ours that nobody
holds locked is abandoned, and the next process that writes there removes it.
"""

import contextlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

PREFIX = ".training-"  # git ignores it
_MARK = "made-by-lesion-lens"  # in each of our folders, and locked; a folder without it is not ours


@contextlib.contextmanager
def workspace(parent: Path) -> Iterator[Path]:
    """Give a new folder in `parent`; at the end it is removed with what is left in it.

    Removes first what killed processes left there.

    Raises:
        OSError: the parent cannot be written.
    """
    remove_abandoned(parent)
    made = tempfile.TemporaryDirectory(prefix=PREFIX, dir=parent, ignore_cleanup_errors=True)
    with made as name, contextlib.ExitStack() as stack:
        if sys.platform != "win32":  # which has no such locks, and renames no open file
            unmarked = Path(name, f".{_MARK}")
            mark = stack.enter_context(unmarked.open("wb"))
            lock(mark)
            unmarked.rename(Path(name, _MARK))  # now that it is locked, for whoever looks for it
        yield Path(name)


def remove_abandoned(parent: Path) -> None:
    """Remove the folders that killed processes left, and nothing that is in use or not ours."""
    for folder in parent.glob(f"{PREFIX}*"):
        if folder.is_symlink():
            continue
        with contextlib.suppress(OSError), (folder / _MARK).open("r+b") as mark:
            if lock(mark):
                shutil.rmtree(folder, ignore_errors=True)


def lock(file: IO[Any]) -> bool | None:
    """Lock a file until it is closed or the process ends.

    Returns:
        Whether it is locked now: False where another process holds it, None where nobody can tell,
        as on a file system without locks.
    """
    if sys.platform == "win32":
        return None
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True
