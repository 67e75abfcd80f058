"""Finding the images in the command line's folders, and protecting them from being overwritten."""

import enum
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import click
from flask import current_app

from lesion_lens.model.image_files import may_be_image
from lesion_lens.model.limits import SUFFIXES
from lesion_lens.web.results import isic_name

MOST_NAMED = 20  # of the images in other formats

# Suffixes of image files that are not read here, in lower case: vector graphics, raw photographs,
# drawing programs, medicine and science, icons, others.
_OTHER_IMAGES = """
    .svg .svgz .ai .eps .cdr .emf .wmf
    .raw .dng .cr2 .cr3 .crw .nef .nrw .arw .srf .sr2 .srw .orf .rw2 .rwl .raf .pef .ptx .x3f .3fr
    .fff .iiq .eip .mef .mos .mrw .dcr .kdc .erf .gpr
    .psd .psb .xcf .kra .ora .procreate .afphoto .pdn .pspimage
    .dcm .dicom .nii .nrrd .mha .mhd .svs .ndpi .mrxs .vms .vmu .bif .czi .lif .fits
    .ico .cur .icns
    .avif .avifs .jxl .jp2 .j2k .j2c .jpc .jpf .jpx .jpm .jxr .wdp .hdp .jls .bpg .flif .qoi .tga
    .pcx .dcx .ppm .pgm .pbm .pnm .pam .pfm .xbm .xpm .sgi .ras .exr .hdr .dds .pct .pict .djvu
    .djv .mng .jng .dpx .dib .jbg .jbig
"""
OTHER_IMAGES = frozenset(_OTHER_IMAGES.split())


class Kind(enum.Enum):
    """What a file in a folder is treated as."""

    IMAGE = "an image that may be read here"
    OTHER_IMAGE = "an image in another format"
    OTHER = "no image"


def files_in(paths: Iterable[Path]) -> Iterator[tuple[str, Kind]]:
    """Walk through folders in alphabetical order, without following links to folders.

    Args:
        paths: files and folders that exist.

    Yields:
        (path, kind). A file in `paths` itself counts as an image, whatever it is. So does a
        folder without read permission, so that reading it reports the reason.
    """
    for path in paths:
        if not path.is_dir():
            yield str(path), Kind.IMAGE
            continue
        closed: list[OSError] = []
        for folder, folders, names in os.walk(path, onerror=closed.append):
            folders.sort()
            for name in sorted(names):
                found = os.path.join(folder, name)
                yield found, kind_of(found)
        yield from ((error.filename, Kind.IMAGE) for error in closed)


def images_in(paths: Iterable[Path]) -> Iterator[str]:
    """Yield the paths that `files_in` treats as images."""
    return (path for path, kind in files_in(paths) if kind is Kind.IMAGE)


def kind_of(path: str) -> Kind:
    """Return the kind of a file in a folder; a hidden file never counts as an image."""
    if may_be_image(path):
        return Kind.IMAGE
    name = os.path.basename(path)
    is_image = os.path.splitext(name)[1].lower() in OTHER_IMAGES and not name.startswith(".")
    return Kind.OTHER_IMAGE if is_image else Kind.OTHER


def check_outputs(outputs: dict[str, Path]) -> None:
    """Check that no output would overwrite an image, as `--csv *.png` would, or the model.

    Args:
        outputs: option -> the path that it names.

    Raises:
        click.UsageError
    """
    model = identity(str(current_app.config["MODEL_PATH"]))
    for option, path in outputs.items():
        if path.suffix.lower() in SUFFIXES:
            raise click.UsageError(
                f"{option} names {path}, which has the suffix of an image. Choose another file."
            )
        if model and identity(str(path)) == model:
            raise click.UsageError(f"{option} names the model file. Choose another file.")


def look_through(
    paths: Iterable[Path], outputs: dict[str, Path], unique_names: bool = False
) -> "Found":
    """Count the files, and check that no image would be overwritten.

    Args:
        paths: files and folders that exist.
        outputs: option -> the path that it names.
        unique_names: whether no two images may have the same `isic_name`.

    Raises:
        click.UsageError: an output is one of the images, under any name, or two images have the
            same name.
    """
    options = {identity(str(path)): option for option, path in outputs.items()}
    options.pop(None, None)  # an output that does not exist yet overwrites nothing
    found = Found()
    names: dict[str, str] = {}
    for path, kind in files_in(paths):
        found.count(path, kind)
        if kind is not Kind.IMAGE:
            continue
        if options and (option := options.get(identity(path))):
            raise click.UsageError(
                f"{option} names {printable(shown(path))}, which is one of the images. Choose "
                "another file."
            )
        if unique_names and (other := names.get(isic_name(path))):
            raise click.UsageError(
                f"{printable(shown(other))} and {printable(shown(path))} have the same name in the "
                "ISIC challenge's CSV, which leaves out folders and suffixes. Rename one, or "
                "classify them separately."
            )
        if unique_names:
            names[isic_name(path)] = path
    return found


@dataclass
class Found:
    """What is in the folders.

    Attributes:
        images: number of images in formats that are read here.
        other_images: number of images in other formats.
        named: paths of the first `MOST_NAMED` of these.
        others: number of other files.
    """

    images: int = 0
    other_images: int = 0
    named: list[str] = field(default_factory=list)
    others: int = 0

    def count(self, path: str, kind: Kind) -> None:
        """Count one file."""
        if kind is Kind.IMAGE:
            self.images += 1
        elif kind is Kind.OTHER:
            self.others += 1
        else:
            self.other_images += 1
            if len(self.named) < MOST_NAMED:
                self.named.append(printable(shown(path)))


def identity(path: str) -> tuple[int, int] | None:
    """Return what is the same for all names of a file; None if there is no such file."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino


def shown(path: str) -> str:
    """Decode a path so that it can be written as UTF-8, whatever its bytes are."""
    return os.fsencode(path).decode("utf-8", "replace")


def printable(name: str) -> str:
    """Replace characters that could break the line or control the terminal."""
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in name)
