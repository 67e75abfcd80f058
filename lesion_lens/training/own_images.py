"""The user's own images as a data set, from folders and zips, with a label table or class folders.

The data set's remarks count what is left out; faults raise a `DataError`.
"""

import math
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from lesion_lens.model.decisions import CLASS_COUNTS
from lesion_lens.model.decoding import DecoderPool
from lesion_lens.model.errors import Busy, ImageError, NotProcessed
from lesion_lens.model.image_files import UnreadableFile
from lesion_lens.model.limits import MAX_DECODES, MEGA
from lesion_lens.training.data import (
    Dataset,
    blank_lesions,
    groups_of,
    lesion_ids_of,
)
from lesion_lens.training.diagnoses import NO_HOME
from lesion_lens.training.errors import DataError
from lesion_lens.training.image_folders import (
    ImageFile,
    bare_name,
    check_one_row_each,
    diagnosis_of_folder,
    find_images,
    match,
    only,
    short_name,
)
from lesion_lens.training.label_tables import (
    LabelTable,
    check_homes,
    count_homeless,
    read_labels,
)
from skin_cancer_detection import CODES

SOURCE = "images of one's own"
_MOST_FAULTS = 20  # listed in a message; a folder may have thousands
_AHEAD = 32  # images submitted before the first result is taken

# No other user waits here, so the pool has enough memory for the largest images and no time limit
# on its answers.
decode = DecoderPool(memory=MAX_DECODES * 400 * MEGA, answer_limit=math.inf).decode


@dataclass(frozen=True)
class ReadingOptions:
    """How to read the images, and what to leave out.

    Attributes:
        group_columns: further table columns to break down the scores by.
        skip_unknown: leave out diagnoses that are none of the seven classes.
        skip_missing: leave out rows whose image is missing.
    """

    group_columns: Sequence[str] = ()
    skip_unknown: bool = False
    skip_missing: bool = False


def read_images(
    sources: Sequence[Path], labels_path: Path | None, options: ReadingOptions | None = None
) -> Dataset:
    """Make a data set from image files, with the app's own decoding and preprocessing.

    Args:
        sources: folders, including subfolders, and zips.
        labels_path: a table in one of the forms of `read_labels`; None to take the class of each
            image from the name of a folder that holds it.
        options: what to leave out; by default nothing.

    Returns:
        The data set; its lesion_ids are None if the table names none.

    Raises:
        DataError: there is no image; images are damaged or missing (the first 20 are named); two
            rows name one image; or a diagnosis is outside the seven classes. Also see `read_labels`
            and `find_images`.
    """
    options = options or ReadingOptions()
    files = find_images(sources)
    if not files:
        raise DataError(
            f"There is no image in {_listed(sources)}: name another folder or zip with --images."
        )
    if labels_path is None:
        return _from_class_folders(sources, files, options)
    return _from_table(sources, files, read_labels(labels_path), options)


def _from_table(
    sources: Sequence[Path], files: list[ImageFile], rows: LabelTable, options: ReadingOptions
) -> Dataset:
    path = rows.path
    homeless = count_homeless(rows.names, rows.labels)
    if not options.skip_unknown:
        check_homes(path, rows.names, rows.labels)
    # Check everything before leaving out rows, so that messages count the rows of the file.
    found = match(rows.image_ids, files)
    check_one_row_each(path, rows.image_ids, found)
    image_ids = _short_ids(rows.image_ids)
    lesion_ids, is_blank = lesion_ids_of(path, rows.table, image_ids, rows.labels)
    groups = groups_of(path, rows.table, options.group_columns)
    used = {file.identity for paths in found for file in paths}
    spare = sum(file.identity not in used for file in files)

    is_kept = rows.labels != NO_HOME
    is_missing = is_kept & ~np.array([bool(paths) for paths in found], bool)
    if options.skip_missing:
        is_kept &= ~is_missing
    if not is_kept.any():
        raise DataError(
            f"No row of {path} is left: none has both an image in {_listed(sources)} and a "
            f"diagnosis among the {CLASS_COUNTS['all']} classes."
        )
    remarks = [_left_out(rows.labels, homeless)] if homeless else []
    if options.skip_missing and is_missing.any():
        remarks.append(f"Left out: rows without an image ({is_missing.sum():,}).")
    if (is_blank & is_kept).any():
        remarks.append(blank_lesions(int((is_blank & is_kept).sum())))
    if spare:
        remarks.append(f"Left out: images that are not in the table ({spare:,}).")
    kept = np.flatnonzero(is_kept).tolist()
    ids, paths = [rows.image_ids[row] for row in kept], [found[row] for row in kept]
    pixels = _read_all(sources, ids, paths, f"take their rows out of {path}")
    return Dataset(
        pixels,
        rows.labels[is_kept],
        None if lesion_ids is None else lesion_ids[is_kept],
        source=SOURCE,
        image_ids=image_ids[is_kept],
        groups={name: values[is_kept] for name, values in groups.items()},
        remarks=tuple(remarks),
    )


def _from_class_folders(
    sources: Sequence[Path], files: list[ImageFile], options: ReadingOptions
) -> Dataset:
    if options.group_columns:
        raise DataError("--group names a column of a table of labels: add --labels.")
    diagnoses = [diagnosis_of_folder(file) for file in files]
    names = [name for name, _ in diagnoses]
    labels = np.array([label for _, label in diagnoses], np.int64)
    remarks = []
    if (labels == NO_HOME).all():
        raise DataError(
            f"No image in {_listed(sources)} is in a folder that is named after its class, such as "
            "mel/ or nv/: put them into such folders, or add a table of labels with --labels."
        )
    homeless = count_homeless(names, labels)
    if homeless and not options.skip_unknown:
        raise DataError(
            f"Images in folders that are not named after any of {', '.join(CODES)}: "
            f"{(labels == NO_HOME).sum():,} ({homeless}). Rename the folders, or leave the images "
            "out with --skip-unknown."
        )
    if homeless:
        remarks.append(_left_out(labels, homeless))
    kept = [file for file, label in zip(files, labels.tolist(), strict=True) if label != NO_HOME]
    ids = [file.name for file in kept]
    pixels = _read_all(sources, ids, [[file] for file in kept], "take them out of the folder")
    labels = labels[labels != NO_HOME]
    return Dataset(
        pixels, labels, None, source=SOURCE, image_ids=_short_ids(ids), remarks=tuple(remarks)
    )


def _left_out(labels: NDArray[np.int64], homeless: str) -> str:
    count = int((labels == NO_HOME).sum())
    return f"Left out: images of other diagnoses ({count:,}: {homeless})."


def _short_ids(image_ids: Sequence[str]) -> NDArray[np.str_]:
    """Return the names that other tables use for the images: short ones, if these are unique."""
    is_clear = len(set(map(bare_name, image_ids))) == len(image_ids)
    return np.array(list(map(short_name, image_ids)) if is_clear else image_ids)


def _listed(sources: Sequence[Path]) -> str:
    return " and ".join(map(str, sources))[:300]


# --- Reading ---------------------------------------------------------------------------------


def _read_all(
    sources: Sequence[Path],
    image_ids: Sequence[str],
    found: Sequence[Sequence[ImageFile]],
    other_remedy: str,
) -> NDArray[np.uint8]:
    """Read the images, (N, 28, 28, 3).

    Raises:
        DataError: some cannot be used.
    """
    pixels: list[NDArray[np.uint8]] = []
    faults: list[str] = []
    missing = 0
    bar = tqdm(total=len(found), unit=" images", disable=None)
    with bar:
        for image_id, files, result in zip(image_ids, found, _results(found), strict=True):
            bar.update()
            if isinstance(result, str):
                missing += not files
                faults.append(f"  {image_id[:100]}: {result}")
            else:
                pixels.append(result)
    if faults:
        more = len(faults) - _MOST_FAULTS
        listed = [*faults[:_MOST_FAULTS], *([f"  and {more:,} more"] if more > 0 else [])]
        skip = f". Missing: {missing:,}, which --skip-missing leaves out" if missing else ""
        raise DataError(
            f"{len(faults):,} of {len(found):,} images in {_listed(sources)} cannot be used; "
            f"repair them or {other_remedy}{skip}:\n" + "\n".join(listed)
        )
    return np.stack(pixels)


def _results(found: Sequence[Sequence[ImageFile]]) -> Iterator[NDArray[np.uint8] | str]:
    """Decode the images, several at a time, and yield the pixels or the fault of each."""

    def result_of(files: Sequence[ImageFile]) -> NDArray[np.uint8] | str:
        try:
            return decode(only(files).read()).pixels
        except (ImageError, UnreadableFile) as error:
            return error.at_the_command_line()
        except Busy:  # the machine left the decoder no time, or could not start one
            return str(NotProcessed())

    with ThreadPoolExecutor(MAX_DECODES) as threads:
        begun = (threads.submit(result_of, files) for files in found)
        try:
            ahead = deque(islice(begun, _AHEAD))
            while ahead:
                yield ahead.popleft().result()
                ahead.extend(islice(begun, 1))
        finally:
            threads.shutdown(cancel_futures=True)
