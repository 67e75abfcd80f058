"""The occlusion maps that the command line writes: a PNG for each image, in a separate folder."""

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
_MARK = "Heat map by Lesion Lens"  # marks our files, so that others are not overwritten


def draw_map(preview: bytes, occlusion: NDArray[np.float32]) -> bytes:
    """Draw an occlusion map over its image, as the page shows it.

    Args:
        preview: a JPEG, from `DecodedImage`, which our decoder wrote.
        occlusion: (7, 7), from `Answer`.

    Returns:
        A PNG of the preview's size. If no patch is noticeable, it shows only the image.
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
    # The default level takes four times as long for a photograph and saves little space.
    Image.fromarray(pixels).save(file, "PNG", pnginfo=mark, compress_level=1)
    return file.getvalue()


class MapFolder:
    """The folder of the maps, with the same subfolders as the images.

    Args:
        folder: created when the first map is written.
        paths: from the command line: files and folders that exist.

    Raises:
        click.UsageError: the folder is among the images, or is a file.
    """

    def __init__(self, folder: Path, paths: Iterable[Path]) -> None:
        place = folder.resolve()
        named = [path.resolve() for path in paths]
        if any(path.is_dir() and place.is_relative_to(path) for path in named):
            raise click.UsageError(
                "--heat-maps names a folder among the images. Choose one outside."
            )
        if folder.exists() and not folder.is_dir():
            raise click.UsageError("--heat-maps names a file. Choose a folder.")
        # Not resolved, because the target of a link may have a different name.
        folders = [os.path.abspath(path if path.is_dir() else path.parent) for path in paths]
        try:
            self._base = os.path.commonpath(folders)
        except ValueError as error:  # Windows: they are on different drives
            raise click.UsageError("--heat-maps needs all images on one drive.") from error
        self._folder = folder

    def path_of(self, image: str) -> Path:
        """Return the path of an image's map: `a/b.jpg.png` for `a/b.jpg`.

        A name that is too long for most systems is shortened and ends in its checksum.
        """
        path = self._folder / (os.path.relpath(os.path.abspath(image), self._base) + ".png")
        name = os.fsencode(path.name)
        if len(name) <= _MOST_LETTERS:
            return path
        start = name[: _MOST_LETTERS - 80].decode("utf-8", "ignore")
        return path.with_name(f"{start}-{hashlib.sha256(name).hexdigest()}.png")

    def has(self, image: str) -> bool:
        """Whether the map of an image exists."""
        return self.path_of(image).exists()

    def write(self, image: str, heat_map: bytes) -> None:
        """Write the map of an image, all or nothing; replaces an older map.

        Raises:
            UnwritableFile: the system refuses, or a file that is not our map has that name.
        """
        path = self.path_of(image)
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists() and not _is_ours(path):
                raise UnwritableFile(
                    f"{path} already exists and is not a heat map. Choose another folder."
                )
            unfinished = path.with_name(".unfinished")  # short, as `path` may have the longest name
            try:
                unfinished.write_bytes(heat_map)
                os.replace(unfinished, path)
            except OSError:
                with contextlib.suppress(OSError):
                    unfinished.unlink()
                raise


_MOST_LETTERS = 255  # bytes of a file name on most file systems


def _is_ours(path: Path) -> bool:
    with path.open("rb") as file:
        return _MARK.encode() in file.read(200)  # the mark comes before the pixels
