"""What is in the folders that the command line is given, and what must not be overwritten."""

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

# How names of image files end that cannot be read here, in small letters: drawings, what cameras
# keep of a photograph, what programs for drawing keep, medicine and science, symbols, all others.
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
    """What a file in a folder is taken for."""

    IMAGE = "an image that may be read here"
    OTHER_IMAGE = "an image in another format"
    OTHER = "no image"


def files_in(paths: Iterable[Path]) -> Iterator[tuple[str, Kind]]:
    """Walk through folders in the order of the alphabet, following no links to folders.

    Args:
        paths: files and folders that exist.

    Yields:
        (path, kind). A file that is named itself is taken for an image, whatever it is. So is a
        folder that may not be looked into, so that reading it says why.
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
    """The paths of what `files_in` takes for images."""
    return (path for path, kind in files_in(paths) if kind is Kind.IMAGE)


def kind_of(path: str) -> Kind:
    """Say what a file in a folder is taken for; a hidden one is never an image."""
    if may_be_image(path):
        return Kind.IMAGE
    name = os.path.basename(path)
    is_image = os.path.splitext(name)[1].lower() in OTHER_IMAGES and not name.startswith(".")
    return Kind.OTHER_IMAGE if is_image else Kind.OTHER


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


def look_through(
    paths: Iterable[Path], outputs: dict[str, Path], unique_names: bool = False
) -> "Found":
    """Count what there is to do, and see that none of the images would be overwritten.

    Args:
        paths: files and folders that exist.
        outputs: option -> the path that it names.
        unique_names: whether no two images may have the same `isic_name`.

    Raises:
        click.UsageError: an output is one of the images, whatever it is called, or two images have
            the same name.
    """
    options = {identity(str(path)): option for option, path in outputs.items()}
    options.pop(None, None)  # what is not there yet overwrites nothing
    found = Found()
    names: dict[str, str] = {}
    for path, kind in files_in(paths):
        found.count(path, kind)
        if kind is not Kind.IMAGE:
            continue
        if options and (option := options.get(identity(path))):
            raise click.UsageError(
                f"{option} names {printable(shown(path))}, which is one of the images. Name "
                "another file."
            )
        if unique_names and (other := names.get(isic_name(path))):
            raise click.UsageError(
                f"{printable(shown(other))} and {printable(shown(path))} have the same name in the "
                "ISIC challenge's CSV, which has no folders and suffixes. Rename one, or classify "
                "them apart."
            )
        if unique_names:
            names[isic_name(path)] = path
    return found


@dataclass
class Found:
    """What is in the folders.

    Attributes:
        images: how many images there are that may be read here.
        other_images: how many in other formats.
        named: the paths of the first `MOST_NAMED` of these.
        others: how many other files.
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
