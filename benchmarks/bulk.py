"""Measure the command for folders, `flask classify`, on folders of 100 to 100,000 images.

    python -m benchmarks.bulk                       about twenty minutes on two cores
    python -m benchmarks.bulk --largest 1000        a minute or two

Each folder holds the same hundred drawn images of 600×450 under many names (hard links). So even
the largest folder takes only the space of a hundred images, and is read from memory.

Writes its table into docs/benchmarks.md.
"""

import argparse
import contextlib
import os
import shlex
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.pictures import SIZES, photograph
from benchmarks.servers import (
    LITERT_MODEL,
    MEGABYTE,
    CannotMeasure,
    kilobytes,
    litert_is_missing,
    ticks_of,
)
from benchmarks.table import PAGE, as_command, measured_on
from lesion_lens import ROOT
from lesion_lens.model.files import DEFAULT_MODEL_PATH
from scripts.marks import publish

PICTURES = 100
IN_ONE_FOLDER = 1000
COUNTS = (100, 1_000, 10_000, 100_000)
TIMES = 3  # runs of the command on each folder of up to `IN_ONE_FOLDER` images
BETWEEN = 0.02  # seconds between readings of the memory
LEGEND = """\
`flask --app app classify FOLDER --csv OUT` on JPEGs of 600×450. *First* is the time to the first
answer and *all* the total time, in seconds. Images a second and busy cores are measured from the
first answer to the end. Memory is the peak of the process, in MB of 1,000,000 bytes."""


@dataclass(frozen=True)
class Run:
    """The measurements of one run of the command.

    Attributes:
        start: seconds to the first answer.
        seconds: total time.
        rate: images a second after the first answer.
        cores: processor seconds a second after the first answer.
        resident, anonymous: peak memory in megabytes.
    """

    start: float
    seconds: float
    rate: float
    cores: float
    resident: float
    anonymous: float


def make_folder(folder, count, pictures):
    """Fill a folder with images, at most `IN_ONE_FOLDER` in each subfolder.

    Args:
        folder: pathlib.Path that does not exist.
        count: how many images.
        pictures: list of pathlib.Path, files on the same disk that are linked in turn.
    """
    for number in range(count):
        inner = folder / f"{number // IN_ONE_FOLDER:03}"
        if number % IN_ONE_FOLDER == 0:
            inner.mkdir(parents=True)
        os.link(pictures[number % len(pictures)], inner / f"{number:06}.jpg")


def classify(folder, count, model_path, *options, watch=lambda done: None):
    """Run the command on a folder and watch it.

    Args:
        folder: pathlib.Path.
        count: how many images are in it, two or more.
        model_path: of the model file.
        options: further words of the command line.
        watch: called every `BETWEEN` seconds with the number of images done.

    Returns:
        Run.

    Raises:
        CannotMeasure: the command fails, or does not classify all images.
    """
    with tempfile.TemporaryDirectory() as place:
        table = Path(place, "out.csv")
        words = ("-m", "flask", "--app", "app", "classify", folder, "--csv", table, *options)
        command = [sys.executable, *map(str, words)]
        environment = os.environ | {"MODEL_PATH": str(model_path)}
        # The command writes a header line there, then a line for each finished image.
        progress = Progress(table.with_name("out.csv.progress"))
        first, ticks, resident, anonymous = 0, [0], 0, 0
        begin = time.perf_counter()
        with subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            try:
                while process.poll() is None:
                    done = progress.lines() - 1
                    now = ticks_of(process.pid)
                    if done < 1:
                        first, ticks = time.perf_counter() - begin, [now]
                    ticks = [ticks[0], max(now, ticks[-1])]  # `now` is 0 if it has just ended
                    watch(done)
                    with contextlib.suppress(OSError, TypeError):  # it has just ended
                        status = Path(f"/proc/{process.pid}/status").read_text()
                        resident = kilobytes("VmHWM", status)
                        anonymous = max(anonymous, kilobytes("RssAnon", status))
                    time.sleep(BETWEEN)
            except BaseException:
                process.kill()
                raise
        end = time.perf_counter() - begin
        lines = table.read_bytes().count(b"\r\n") if table.exists() else 0
    if process.returncode or lines != count + 1:
        raise CannotMeasure(f"Not all images were classified by `{shlex.join(command)}`.")
    between = end - first
    return Run(
        start=first,
        seconds=end,
        rate=count / between,
        cores=(ticks[-1] - ticks[0]) / os.sysconf("SC_CLK_TCK") / between,
        resident=resident * 1024 / MEGABYTE,
        anonymous=anonymous * 1024 / MEGABYTE,
    )


class Progress:
    """Counts the lines of a growing file."""

    def __init__(self, path):
        self._path, self._place, self._lines = path, 0, 0

    def lines(self):
        """The current number of lines; the previous one if the file is gone."""
        with contextlib.suppress(FileNotFoundError), self._path.open("rb") as file:
            file.seek(self._place)
            data = file.read()
            self._place += len(data)
            self._lines += data.count(b"\n")
        return self._lines


def measure(folder, count, model_path):
    """The run of median speed among `TIMES` runs of `classify`; for a large folder, one run."""
    times = TIMES if count <= IN_ONE_FOLDER else 1
    runs = [classify(folder, count, model_path) for _ in range(times)]
    return sorted(runs, key=lambda run: run.rate)[times // 2]


def line(engine, count, run):
    """A line of the table."""
    return (
        f"| {engine} | {count:,} | {run.start:.1f} | {run.seconds:.1f} | {run.rate:.0f} "
        f"| {run.cores:.2f} | {run.resident:.0f} | {run.anonymous:.0f} |"
    )


def run(largest):
    """Measure folders of up to `largest` images with each engine, and write the table.

    Raises:
        CannotMeasure, MissingMarks
    """
    remark = litert_is_missing()
    engines = {"Keras": DEFAULT_MODEL_PATH} | ({} if remark else {"LiteRT": LITERT_MODEL})
    lines = [
        *(measured_on(), "", LEGEND, ""),
        "| engine | images | first | all | images a second | cores | resident | anonymous |",
        "|---|---|---|---|---|---|---|---|",
    ]
    print("\n".join(lines), flush=True)
    with tempfile.TemporaryDirectory() as name:
        pictures = [Path(name, f"{number}.jpg") for number in range(PICTURES)]
        for number, path in enumerate(pictures):
            path.write_bytes(photograph(SIZES["600×450"], seed=number))
        counts = [count for count in COUNTS if count <= largest]
        for count in counts:
            make_folder(Path(name, f"of {count}"), count, pictures)
        for engine, model_path in engines.items():
            for count in counts:
                found = measure(Path(name, f"of {count}"), count, model_path)
                lines.append(line(engine, count, found))
                print(lines[-1], flush=True)
    if remark:
        lines += ["", remark]
        print(f"\n{remark}")
    publish(PAGE, {"bulk": "\n".join(lines)})
    print(f"\nWrote it into {PAGE}.")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "--largest", type=int, choices=COUNTS, default=COUNTS[-1], help="images in a folder"
    )
    options = parser.parse_args()
    as_command(run, options.largest)


if __name__ == "__main__":
    main()
