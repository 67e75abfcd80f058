"""What is in the folders that the command line is given, and what must not be overwritten."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import click
from flask import current_app

from lesion_lens.model.image_files import may_be_image
from lesion_lens.model.limits import SUFFIXES


def files_in(paths: Iterable[Path]) -> Iterator[tuple[str, bool]]:
    """Walk through folders in the order of the alphabet, following no links to folders.

    Args:
        paths: files and folders that exist.

    Yields:
        (path, is_image): the second says whether to classify it: a file that is named itself, or
        one in a folder that `may_be_image`. A folder that may not be looked into counts as an
        image, so that reading it says why.
    """
    for path in paths:
        if not path.is_dir():
            yield str(path), True
            continue
        closed: list[OSError] = []
        for folder, folders, names in os.walk(path, onerror=closed.append):
            folders.sort()
            for name in sorted(names):
                found = os.path.join(folder, name)
                yield found, may_be_image(found)
        yield from ((error.filename, True) for error in closed)


def check_outputs(outputs: dict[str, Path]) -> None:
    """See that no output would take the place of a picture, as `--csv *.png` would, or the model.

    Args:
        outputs: option -> the path that it names.

    Raises:
        click.UsageError
    """
    model = identity(str(current_app.config["MODEL_PATH"]))
    for option, path in outputs.items():
        if path.suffix.lower() in SUFFIXES:
            raise click.UsageError(
                f"{option} names {path}, which ends as an image does. Name another file."
            )
        if model and identity(str(path)) == model:
            raise click.UsageError(f"{option} names the model file. Name another file.")


def spared(
    files: Iterable[tuple[str, bool]], outputs: dict[str, Path]
) -> Iterator[tuple[str, bool]]:
    """Pass on what `files_in` yields, and see that none of the images would be overwritten.

    Raises:
        click.UsageError: an output is one of the images, whatever it is called.
    """
    options = {identity(str(path)): option for option, path in outputs.items()}
    options.pop(None, None)  # what is not there yet overwrites nothing
    for path, is_image in files:
        if options and is_image and (option := options.get(identity(path))):
            raise click.UsageError(
                f"{option} names {printable(shown(path))}, which is one of the images. Name "
                "another file."
            )
        yield path, is_image


def identity(path: str) -> tuple[int, int] | None:
    """What is the same for all names of a file; None where there is no such file."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino


def shown(path: str) -> str:
    """Write a path so that every output can hold it, whatever its bytes are."""
    return os.fsencode(path).decode("utf-8", "replace")


def printable(name: str) -> str:
    """Write a name so that it stays on its line and gives a terminal no orders."""
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in name)
