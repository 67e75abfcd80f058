"""Finding the images of a data set in folders and zips, and matching them to a table's rows.

`model.image_files.may_be_image` decides which files are images, as on the command line. A file is
identified by its path below the folder that the user named, so a bare name or a part of the path
finds it.
"""

import os
import unicodedata
import zipfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lesion_lens.model.image_files import (
    MAX_BYTES,
    UnreadableFile,
    is_image_name,
    may_be_image,
    read,
)
from lesion_lens.model.limits import SUFFIXES
from lesion_lens.training.csv_files import as_data_error, shown
from lesion_lens.training.diagnoses import label_of_most_precise
from lesion_lens.training.errors import DataError

# The suffix that the ISIC challenge of 2019 gave to images that it had reduced.
_REDUCED = "_downsampled"


@dataclass(frozen=True)
class ImageFile:
    """An image that has not been read yet.

    Attributes:
        name: its path below the folder, or in the zip, that the user named; with /.
        path: of the file, or of the zip that holds it.
        archive: the zip, opened; None for a file.
    """

    name: str
    path: str
    archive: zipfile.ZipFile | None = None

    def read(self) -> bytes:
        """Read the bytes.

        Raises:
            UnreadableFile: see `model.image_files.read`; also for a damaged member of a zip.
        """
        if self.archive is None:
            return read(self.path)
        try:
            with self.archive.open(self.name) as member:
                data = member.read(MAX_BYTES + 1)
        # zipfile's errors on bad bytes share no base class; an encrypted one is a RuntimeError.
        except Exception as error:
            raise UnreadableFile(f"It cannot be unpacked from {self.path} ({error}).") from error
        if len(data) > MAX_BYTES:
            raise UnreadableFile(f"The file has more than {MAX_BYTES // 1_000_000} MB.")
        return data

    @property
    def folder(self) -> str:
        """The full path of its folder, with / and in lower case."""
        whole = self.path if self.archive is None else f"{self.path}/{self.name}"
        return "/" + _plain(os.path.dirname(os.path.abspath(whole))).casefold()

    @property
    def identity(self) -> str:
        """A string that is the same for all names of one file."""
        return (
            os.path.realpath(self.path)
            if self.archive is None
            else f"{os.path.realpath(self.path)}/{self.name}"
        )


def find_images(sources: Sequence[Path]) -> list[ImageFile]:
    """Find the images in folders, their subfolders and zips, in the order of their names.

    Args:
        sources: folders and zips; links to folders inside them are not followed.

    Raises:
        DataError: a source is neither, or cannot be read.
    """
    found: list[ImageFile] = []
    for source in sources:
        if source.is_dir():
            found.extend(_in_folder(source))
        elif source.is_file() and source.suffix.lower() == ".zip":
            found.extend(_in_zip(source))
        else:
            raise DataError(
                f"{source} is neither a folder nor a zip: say where the images are with --images."
            )
    # Sources may overlap: a folder and its subfolder, for example.
    places = [(_place(file.path), file.name if file.archive else "") for file in found]
    return list(dict(zip(reversed(places), reversed(found), strict=True)).values())[::-1]


def _place(path: str) -> str:
    """Resolve the links in the folder's path, but not a link that is the file itself."""
    return os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))


def _in_folder(source: Path) -> Iterator[ImageFile]:
    def refuse(error: OSError) -> None:
        raise DataError(
            f"{error.filename} cannot be read ({error.strerror}): name another folder."
        ) from error

    for folder, folders, names in os.walk(source, onerror=refuse):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(folder, name)
            if may_be_image(path):
                below = os.path.relpath(path, source).replace(os.sep, "/")
                yield ImageFile(below, path)


def _in_zip(source: Path) -> Iterator[ImageFile]:
    with as_data_error(source):
        archive = zipfile.ZipFile(source)
        for member in archive.infolist():
            folder = member.filename.startswith("__MACOSX/") or member.is_dir()
            if not folder and is_image_name(member.filename):
                yield ImageFile(member.filename, str(source), archive)


# --- From the rows of a table to files -------------------------------------------------------


def _plain(text: str) -> str:
    """Normalise a path: with /, and with composed accents, which macOS stores decomposed."""
    return unicodedata.normalize("NFC", text.strip().replace("\\", "/")).removeprefix("./")


def short_name(text: str) -> str:
    """Strip folder and suffix from an image's id or path."""
    name = _plain(text).rsplit("/", 1)[-1]
    stem, suffix = os.path.splitext(name)
    stem = stem if suffix.lower() in SUFFIXES else name
    reduced = stem[-len(_REDUCED) :].lower() == _REDUCED
    return stem[: -len(_REDUCED)] if reduced else stem


def bare_name(text: str) -> str:
    """Return the short name in lower case, for comparison."""
    return short_name(text).casefold()


def match(image_ids: Sequence[str], files: Sequence[ImageFile]) -> list[list[ImageFile]]:
    """Find the file of each image.

    Args:
        image_ids: with or without a suffix, and with as much of the path as it takes to distinguish
            files of the same name.
        files: from `find_images`.

    Returns:
        For each id, the files that it may mean: one, unless something is wrong.
    """
    by_name: dict[str, list[ImageFile]] = defaultdict(list)
    for file in files:
        by_name[bare_name(file.name)].append(file)
    asked = list(map(_plain, image_ids))
    # If all rows name one folder, it is where the table's author kept the images: ignore it.
    tells = len({os.path.dirname(one) for one in asked}) > 1
    return [
        _meant(one if tells else os.path.basename(one), by_name.get(bare_name(one), []))
        for one in asked
    ]


def _meant(asked: str, files: list[ImageFile]) -> list[ImageFile]:
    """Choose, among the files with an id's bare name, those that match the id most closely."""
    folders, _, _ = asked.casefold().strip("/").rpartition("/")
    # A table may name folders above the one that the user names; the last is the image's own.
    while folders and not any(file.folder.endswith(f"/{folders}") for file in files):
        folders = folders.partition("/")[2]
        if not folders:
            return []
    files = [file for file in files if file.folder.endswith(f"/{folders}" if folders else "")]
    if len(files) < 2:
        return files
    name = asked.rsplit("/", 1)[-1]
    for key in (str, str.casefold, _without_suffix):
        same = [file for file in files if key(_plain(file.name).rsplit("/", 1)[-1]) == key(name)]
        if same:
            return same
    return files


def _without_suffix(name: str) -> str:
    stem, suffix = os.path.splitext(name.casefold())
    return stem if suffix in SUFFIXES else name.casefold()


def only(files: Sequence[ImageFile]) -> ImageFile:
    """Return the one file of an image.

    Raises:
        UnreadableFile: there is none, or more than one.
    """
    if not files:
        raise UnreadableFile("no such file")
    if len(files) > 1:
        names = " and ".join(shown(file.name) for file in files[:2])
        raise UnreadableFile(f"there are {names}; rename one, or write its path in the table")
    return files[0]


def check_one_row_each(
    path: Path, image_ids: Sequence[str], found: Sequence[Sequence[ImageFile]]
) -> None:
    """Check that no two rows of a table mean the same file.

    Raises:
        DataError: two rows do.
    """
    row_of: dict[str, int] = {}
    for row, files in enumerate(found, 1):
        for file in files:
            first = row_of.setdefault(file.identity, row)
            if first != row:
                raise DataError(
                    f"{path}, row {row}: {shown(image_ids[row - 1])} is the file "
                    f"{shown(file.name)}, as is {shown(image_ids[first - 1])} in row {first}; "
                    "remove one of the two rows."
                )


def diagnosis_of_folder(file: ImageFile) -> tuple[str, int]:
    """Take an image's class from the folders that hold it, such as `mel/` or `train/nevus/`.

    The folder that the user named counts too. The innermost folder with a known name decides.

    Returns:
        The folder's name, and its label, 0–6 or `NO_HOME`.
    """
    below = file.name.split("/")[:-1]
    top = [] if file.archive else Path(file.path).absolute().parts[: -1 - len(below)][-1:]
    return label_of_most_precise([*top, *below])
