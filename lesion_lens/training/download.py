"""The files of HAM10000: finding them on disk, or fetching two of them from Kaggle."""

import contextlib
import errno
import shutil
from collections.abc import Iterator
from pathlib import Path

from lesion_lens import ROOT
from lesion_lens.model.workspaces import workspace
from lesion_lens.training.data import (
    CSV_NAMES,
    METADATA_NAME,
    SOURCES_NAME,
    Dataset,
    read_sources,
)
from lesion_lens.training.errors import TrainingError

DATA_DIRECTORY = ROOT / "data"
KAGGLE_HANDLE = "kmader/skin-cancer-mnist-ham10000"


def find_data(
    csv_path: Path | None, metadata_path: Path | None, directory: Path = DATA_DIRECTORY
) -> tuple[Path, Path | None]:
    """Find the two files of the data set.

    Args:
        csv_path: where the user says it is; None to look in `directory`.
        metadata_path: likewise; None to look beside the CSV.
        directory: where to look.

    Returns:
        The two paths; the second is None if there is no metadata.

    Raises:
        TrainingError: no CSV was named and none is in `directory`.
    """
    if csv_path is None:
        candidates = [directory / name for name in CSV_NAMES]
        csv_path = next((path for path in candidates if path.exists()), None)
        if csv_path is None:
            raise TrainingError(
                f"There is no {' or '.join(CSV_NAMES)} in {directory}. To fetch it: pip "
                "install kagglehub && python train.py --download\n"
                f"Or download it and {METADATA_NAME} from "
                f"https://www.kaggle.com/datasets/{KAGGLE_HANDLE} into {directory}."
            )
    if metadata_path is None:
        beside = csv_path.with_name(METADATA_NAME)
        metadata_path = beside if beside.exists() else None
    return csv_path, metadata_path


def add_clinics(data: Dataset, sources_path: Path | None, beside: Path | None = None) -> Dataset:
    """Add the clinic of each image, if a file has it.

    Args:
        data: its `groups` have "clinic" if the metadata has a column `dataset`.
        sources_path: HAM10000_sources.csv, which takes precedence over that column; None to look
            for it beside the data if there is no such column.
        beside: a file of HAM10000, beside which to look; None for other data, which have no
            HAM10000_sources.csv.

    Returns:
        The data set, unchanged if no file has the clinics.

    Raises:
        DataError: see `read_sources`.
    """
    known = "clinic" in data.groups or data.image_ids is None
    if sources_path is None and beside is not None and not known:
        found = beside.with_name(SOURCES_NAME)
        sources_path = found if found.exists() else None
    if sources_path is None:
        return data
    return data.with_clinics(read_sources(sources_path, data.image_ids))


def download(directory: Path = DATA_DIRECTORY) -> None:
    """Fetch only the CSV and the metadata of the data set, with Kaggle's own client.

    Raises:
        TrainingError: kagglehub is not installed, the download failed, or a file cannot be written.
    """
    try:
        import kagglehub
    except ImportError as error:
        raise TrainingError("--download needs Kaggle’s client: pip install kagglehub") from error
    with _writing(directory):  # fail now, not after the download
        directory.mkdir(exist_ok=True)
    for name in (CSV_NAMES[0], METADATA_NAME):
        print(f"Fetching {name} from Kaggle …", flush=True)
        try:
            fetched = kagglehub.dataset_download(KAGGLE_HANDLE, path=name)
        except Exception as error:  # network, Kaggle or disk: the client's errors share no base
            is_full = isinstance(error, OSError) and error.errno == errno.ENOSPC
            remedy = "free some space on the disk of its cache" if is_full else "try again later"
            reason = " ".join(str(error).split())[:200]
            raise TrainingError(f"Fetching {name} failed ({reason}): {remedy}.") from error
        with _writing(directory / name), workspace(directory) as folder:
            shutil.copyfile(fetched, folder / name)
            (folder / name).replace(directory / name)


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn errors in writing into a `TrainingError` that names the path."""
    try:
        yield
    except OSError as error:
        raise TrainingError(
            f"{path} cannot be written ({error.strerror or error}): free some space, or download "
            "the files yourself and pass them as --csv and --metadata."
        ) from error
