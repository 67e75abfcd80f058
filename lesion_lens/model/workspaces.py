"""Folders for unfinished files, which are removed even if the process was killed.

The system releases a process's locks however it ends. So if one of our folders is not locked, it is
abandoned, and the next process that writes there removes it.
"""

import contextlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

PREFIX = ".training-"  # git ignores it
_MARK = "made-by-lesion-lens"  # a locked file in each of our folders; others are not removed


@contextlib.contextmanager
def workspace(parent: Path) -> Iterator[Path]:
    """Yield a new folder in `parent`, and remove it with its contents at the end.

    First remove folders that killed processes left there.

    Raises:
        OSError: `parent` is not writable.
    """
    remove_abandoned(parent)
    made = tempfile.TemporaryDirectory(prefix=PREFIX, dir=parent, ignore_cleanup_errors=True)
    with made as name, contextlib.ExitStack() as stack:
        if sys.platform != "win32":  # Windows has no such locks, and cannot rename an open file
            unmarked = Path(name, f".{_MARK}")
            mark = stack.enter_context(unmarked.open("wb"))
            lock(mark)
            unmarked.rename(Path(name, _MARK))  # only now that it is locked
        yield Path(name)


def remove_abandoned(parent: Path) -> None:
    """Remove the folders that killed processes left, but none in use or of other programs."""
    for folder in parent.glob(f"{PREFIX}*"):
        if folder.is_symlink():
            continue
        with contextlib.suppress(OSError), (folder / _MARK).open("r+b") as mark:
            if lock(mark):
                shutil.rmtree(folder, ignore_errors=True)


def lock(file: IO[Any]) -> bool | None:
    """Lock a file until it is closed or the process ends.

    Returns:
        True if it is locked now, False if another process has locked it, None if the system cannot
        tell, as on a file system without locks.
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
