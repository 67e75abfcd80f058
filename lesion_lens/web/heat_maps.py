"""The occlusion maps that the command line writes: a PNG for each image, in a folder of its own."""

import contextlib
import hashlib
import io
import os
from collections.abc import Iterable
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from lesion_lens.model.views import PATCHES
from lesion_lens.web.occlusion_map import visible_patches
from lesion_lens.web.outputs import UnwritableFile, writing

COLOUR = (0, 170, 255)  # as `.patches` in static/style.css
_MARK = "Heat map by Lesion Lens"  # in each of our files, so that no other is ever overwritten


def draw_map(preview: bytes, occlusion: NDArray[np.float32]) -> bytes:
    """Draw an occlusion map over its image, as the page shows it.

    Args:
        preview: a JPEG, from `DecodedImage`, which our decoder wrote.
        occlusion: (7, 7), from `Answer`.

    Returns:
        A PNG of the preview's size. Where no patch is noticeable it is the image alone.
    """
    with Image.open(io.BytesIO(preview), formats=["JPEG"]) as image:
        pixels = np.array(image.convert("RGB"))
    # Where each patch begins and ends, in pixels.
    rows, columns = (
        np.linspace(0, side, PATCHES + 1).round().astype(int) for side in pixels.shape[:2]
    )
    for row, column, opacity in visible_patches(occlusion):
        patch = pixels[rows[row] : rows[row + 1], columns[column] : columns[column + 1]]
        patch[:] = (patch + opacity * (np.array(COLOUR, np.float32) - patch)).round()
    mark = PngImagePlugin.PngInfo()
    mark.add_text("Software", _MARK)
    file = io.BytesIO()
    # By the default level a photograph takes four times as long, and little less space.
    Image.fromarray(pixels).save(file, "PNG", pnginfo=mark, compress_level=1)
    return file.getvalue()


class MapFolder:
    """The folder of the maps. Images of different folders have theirs in different folders, too.

    Args:
        folder: is made when the first map is written.
        paths: what the command line was given: files and folders that exist.

    Raises:
        click.UsageError: the folder is among the images, or is a file.
    """

    def __init__(self, folder: Path, paths: Iterable[Path]) -> None:
        place = folder.resolve()
        named = [path.resolve() for path in paths]
        if any(path.is_dir() and place.is_relative_to(path) for path in named):
            raise click.UsageError(
                "--heat-maps names a folder among the images. Name one outside of them."
            )
        if folder.exists() and not folder.is_dir():
            raise click.UsageError("--heat-maps names a file. Name a folder.")
        # Not resolved, as a link leads to an image that may have another name.
        folders = [os.path.abspath(path if path.is_dir() else path.parent) for path in paths]
        try:
            self._base = os.path.commonpath(folders)
        except ValueError as error:  # Windows: they are on different drives
            raise click.UsageError("--heat-maps takes images of one drive at a time.") from error
        self._folder = folder

    def path_of(self, image: str) -> Path:
        """Where the map of an image is, or will be: `a/b.jpg` has `a/b.jpg.png`.

        A name that would be too long for most systems ends in its checksum instead.
        """
        path = self._folder / (os.path.relpath(os.path.abspath(image), self._base) + ".png")
        name = os.fsencode(path.name)
        if len(name) <= _MOST_LETTERS:
            return path
        start = name[: _MOST_LETTERS - 80].decode("utf-8", "ignore")
        return path.with_name(f"{start}-{hashlib.sha256(name).hexdigest()}.png")

    def has(self, image: str) -> bool:
        """Whether the map of an image is there."""
        return self.path_of(image).exists()

    def write(self, image: str, heat_map: bytes) -> None:
        """Write the map of an image, whole or not at all, in place of an older map.

        Raises:
            UnwritableFile: the system refuses, or another file is there that is no map of ours.
        """
        path = self.path_of(image)
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists() and not _is_ours(path):
                raise UnwritableFile(
                    f"{path} is there already and is no heat map. Name another folder."
                )
            unfinished = path.with_name(".unfinished")  # short, as a name has an end
            try:
                unfinished.write_bytes(heat_map)
                os.replace(unfinished, path)
            except OSError:
                with contextlib.suppress(OSError):
                    unfinished.unlink()
                raise


_MOST_LETTERS = 255  # bytes of a name, by most file systems


def _is_ours(path: Path) -> bool:
    with path.open("rb") as file:
        return _MARK.encode() in file.read(200)  # it comes before the pixels
