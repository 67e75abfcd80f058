"""Measure how training scales with the data: reading Kaggle's CSV, and one epoch of fitting.

    python -m benchmarks.training       about ten minutes on two cores, and 1.5 GB of disk

The data are random rows in Kaggle's format: as many as HAM10000 has, repeated up to ten times.

Writes its table into docs/benchmarks.md.
"""

import argparse
import multiprocessing
import tempfile
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.servers import MEGABYTE, kilobytes
from benchmarks.table import PAGE, as_command, measured_on, with_ratios
from lesion_lens.training.data import CSV_NAMES, METADATA_NAME, read_dataset
from scripts.marks import publish
from skin_cancer_detection import CODES, SIDE

ROWS = 10_015  # of HAM10000
TIMES = (1, 2, 5, 10)
EPOCHS = 3  # the second is timed: compiling is over, and the third is already being drawn
LEGEND = """\
Each measurement runs in a separate process. Times are in seconds. *MB* is the peak memory of the
process beyond what it used with the packages loaded, in units of 1,000,000 bytes. In brackets: the
ratio to the first line. *Reading* ends when the `Dataset` has been checked. An *epoch* is one pass
over all rows without teachers; its memory is that of the whole fit."""


@dataclass(frozen=True)
class Work:
    """The time and memory of a task.

    Attributes:
        seconds: float.
        megabytes: float, the process's peak memory beyond that at its start.
    """

    seconds: float
    megabytes: float


def random_rows(count):
    """Draw random pixels and labels.

    Returns:
        uint8 (count, 28, 28, 3) and int64 (count,), 0–6.
    """
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (count, SIDE, SIDE, 3), np.uint8)
    return pixels, rng.integers(0, len(CODES), count)


def write_files(folder, rows, times):
    """Write Kaggle's two files, and the CSV also as a zip.

    Args:
        folder: pathlib.Path; existing files are replaced.
        rows: from `random_rows`.
        times: how often to repeat them.

    Returns:
        the paths of the CSV, of its zip and of the metadata.
    """
    pixels, labels = rows
    table = np.column_stack([pixels.reshape(len(labels), -1), labels]).tolist()
    body = "".join(f"{','.join(map(str, row))}\n" for row in table)
    header = ",".join([*(f"pixel{place:04d}" for place in range(SIDE * SIDE * 3)), "label"])
    csv_path, zip_path = (folder / name for name in CSV_NAMES)
    with csv_path.open("w", encoding="utf-8") as file:
        file.write(f"{header}\n")
        for _ in range(times):
            file.write(body)
    with zipfile.ZipFile(zip_path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.write(csv_path, csv_path.name)
    lines = [
        f"HAM_{row % len(labels):07},ISIC_{row:07},{CODES[label]}\n"
        for row, label in enumerate([*labels] * times)
    ]
    metadata_path = folder / METADATA_NAME
    metadata_path.write_text("".join(["lesion_id,image_id,dx\n", *lines]), "utf-8")
    return csv_path, zip_path, metadata_path


def read(csv_path, metadata_path):
    """Read a data set, and return its Work."""
    before, begin = memory("VmRSS"), time.perf_counter()
    read_dataset(csv_path, metadata_path)
    return Work(time.perf_counter() - begin, memory("VmHWM") - before)


def fit(count):
    """Fit a network to `count` random rows, and return the Work of an epoch."""
    import keras  # noqa: F401 (so that it counts as memory from before)

    from lesion_lens.training.fitting import fit as fit_network
    from lesion_lens.training.recipe import Recipe

    before, ends = memory("VmRSS"), []
    recipe = Recipe(teachers=0, epochs=EPOCHS)
    rows = random_rows(count)
    fit_network(*rows, recipe, seed=1, report=lambda _: ends.append(time.perf_counter()))
    return Work(ends[1] - ends[0], memory("VmHWM") - before)


def memory(name):
    """This process's memory in megabytes, from a line of its status; see proc(5)."""
    return kilobytes(name, Path("/proc/self/status").read_text()) * 1024 / MEGABYTE


def alone(work, *arguments):
    """Call a function in a separate process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, arguments)


def line(count, works, first):
    """A line of the table; `first` holds the works of the first line."""
    cells = [f"{count:,}"]
    for work, one in zip(works, first, strict=True):
        cells.append(with_ratios(work.seconds, one.seconds))
        cells.append(with_ratios(work.megabytes, one.megabytes))
    return f"| {' | '.join(cells)} |"


def run(times):
    """Measure, and write the table.

    Args:
        times: for each line, how often to repeat the rows.

    Raises:
        MissingMarks
    """
    lines = [
        *(measured_on(), "", LEGEND, ""),
        "| rows | reading the CSV, s | MB | reading the zip, s | MB | an epoch, s | MB |",
        "|---|---|---|---|---|---|---|",
    ]
    print("\n".join(lines), flush=True)
    rows, first = random_rows(ROWS), None
    with tempfile.TemporaryDirectory() as folder:
        for repeats in times:
            csv_path, zip_path, metadata_path = write_files(Path(folder), rows, repeats)
            works = [
                alone(read, csv_path, metadata_path),
                alone(read, zip_path, metadata_path),
                alone(fit, repeats * ROWS),
            ]
            first = first or works
            lines.append(line(repeats * ROWS, works, first))
            print(lines[-1], flush=True)
    publish(PAGE, {"training": "\n".join(lines)})
    print(f"\nWrote it into {PAGE}.")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "--most", type=int, choices=TIMES, default=TIMES[-1], help="how often the rows are repeated"
    )
    most = parser.parse_args().most
    as_command(run, [times for times in TIMES if times <= most])


if __name__ == "__main__":
    main()
