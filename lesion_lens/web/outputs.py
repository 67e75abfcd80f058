"""The command line's outputs: files, written all or nothing, and the standard output."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import click

from lesion_lens.model.workspaces import lock


class UnwritableFile(click.ClickException):
    """The system does not allow writing a file."""

    exit_code = 2


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[TextIO]:
    """Open a text file that replaces an older one only when it is finished.

    A pipe, a device or `-`, the standard output, is written to directly.

    Raises:
        UnwritableFile
    """
    if str(path) == "-":
        with writing(path):
            yield standard_output()
            sys.stdout.flush()
        return
    in_place = is_no_file(path)
    goal = path.resolve()  # keeps a link a link
    # The name is always the same, so that a run overwrites what a killed one left.
    written = goal if in_place else goal.with_name(f".{goal.name}.unfinished")
    with writing(path):
        file = written.open("w" if in_place else "a", encoding="utf-8", newline="")
    if not in_place:
        if lock(file) is False:
            file.close()
            raise UnwritableFile(
                f"Another run is writing {path}. Wait until it ends, or choose another file."
            )
        file.truncate(0)
    try:
        yield file
        with writing(path):
            file.close()
            if not in_place:
                os.replace(written, goal)
    finally:
        with contextlib.suppress(OSError):  # closing may still write after an error
            file.close()
        if not in_place:
            written.unlink(missing_ok=True)


def is_no_file(path: Path) -> bool:
    """Whether a path is the standard output, a pipe or a device, which cannot be replaced."""
    return str(path) == "-" or (path.exists() and not path.is_file())


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn errors in writing an output into an `UnwritableFile` that names it."""
    try:
        yield
    except OSError as error:
        name = "The output" if str(path) == "-" else str(path)
        if isinstance(error, BrokenPipeError):
            fault = f"{name} was closed before everything was written. Write to a file instead."
        else:
            fault = f"{name} cannot be written ({error.strerror}). Choose another place."
        if str(path) == "-":
            drop_output()
        raise UnwritableFile(fault) from error


def standard_output() -> TextIO:
    """Return the standard output.

    Raises:
        UnwritableFile: the caller closed it.
    """
    if sys.stdout is None:
        raise UnwritableFile("The output is closed. Name a file with --csv or --json.")
    return sys.stdout


def drop_output() -> None:
    """Discard what standard output still buffers; else Python reports an error at exit."""
    with contextlib.suppress(OSError, ValueError):  # in tests, it has no file descriptor
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
