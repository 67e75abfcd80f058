"""Compare `flask classify --dask`, with workers on this machine, with the plain command.

    python -m benchmarks.cluster                    a few minutes; needs dask[distributed]
    python -m benchmarks.cluster --images 20000

The scheduler and the workers share this machine's cores with the command. So the table shows the
cost of Dask, not the gain from more machines. In the last run, a worker is killed half-way.

Writes its table into docs/scale.md.
"""

import argparse
import contextlib
import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import bulk
from benchmarks.pictures import SIZES, photograph
from benchmarks.servers import LITERT_MODEL as MODEL
from benchmarks.servers import CannotMeasure, free_port, litert_is_missing
from benchmarks.table import as_command, measured_on
from lesion_lens import ROOT
from scripts.marks import publish

PAGE = ROOT / "docs" / "scale.md"
BOOT = 60  # seconds for the workers to start
LEGEND = """\
JPEGs of 600×450 on LiteRT. *All* is the total time in seconds. Images a second are measured from
the first answer to the end. *Memory* is the peak anonymous memory of the command itself, in MB of
1,000,000 bytes."""


@contextlib.contextmanager
def cluster(workers):
    """Run a scheduler and workers with one thread each.

    Yields:
        (address, the workers as a list of subprocess.Popen).
    """
    address = f"tcp://127.0.0.1:{free_port()}"
    programs = [
        ("scheduler", "--host", address, "--no-dashboard"),
        *[("worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard")] * workers,
    ]
    running = [
        subprocess.Popen(
            [sys.executable, "-m", f"distributed.cli.dask_{name}", *options],
            cwd=ROOT,
            env=os.environ | {"MODEL_PATH": str(MODEL)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for name, *options in programs
    ]
    try:
        wait_for(address, workers)
        yield address, running[1:]
    finally:
        for process in running:
            process.kill()
            process.wait()


def wait_for(address, workers):
    """Wait until a scheduler has this many workers.

    Raises:
        CannotMeasure
    """
    import distributed

    try:
        with distributed.Client(address, timeout=BOOT) as client:
            client.wait_for_workers(workers, timeout=BOOT)
    except (OSError, TimeoutError) as error:
        raise CannotMeasure("The Dask cluster does not start: run it by hand.") from error


def measure(folder, count):
    """Yield (what was measured, Run) for the plain command and for one and two workers."""
    yield "plain command", bulk.classify(folder, count, MODEL)
    for workers in (1, 2):
        with cluster(workers) as (address, _):
            name = f"`--dask`, {workers} worker{'s' * (workers > 1)}"
            yield name, bulk.classify(folder, count, MODEL, "--dask", address)
    with cluster(2) as (address, (_, victim)):

        def watch(done):
            if done >= count / 2:
                victim.kill()

        found = bulk.classify(folder, count, MODEL, "--dask", address, watch=watch)
        if victim.poll() is None:
            raise CannotMeasure("The worker was not killed: use more images, with --images.")
        yield "`--dask`, 2 workers, one killed half-way", found


def run(count):
    """Measure and write the table.

    Raises:
        CannotMeasure, MissingMarks
    """
    if importlib.util.find_spec("distributed") is None:
        raise CannotMeasure('This needs Dask: pip install "dask[distributed]"')
    if remark := litert_is_missing():
        raise CannotMeasure(remark)
    lines = [
        *(measured_on(), "", LEGEND, ""),
        f"| {count:,} images | all | images a second | memory |",
        "|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as name:
        pictures = [Path(name, f"{number}.jpg") for number in range(bulk.PICTURES)]
        for number, path in enumerate(pictures):
            path.write_bytes(photograph(SIZES["600×450"], seed=number))
        bulk.make_folder(Path(name, "images"), count, pictures)
        for what, found in measure(Path(name, "images"), count):
            lines.append(
                f"| {what} | {found.seconds:.1f} | {found.rate:.0f} | {found.anonymous:.0f} |"
            )
            print(lines[-1], flush=True)
    publish(PAGE, {"cluster": "\n".join(lines)})


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--images", type=int, default=5000, help="how many (%(default)s)")
    options = parser.parse_args()
    as_command(run, options.images)


if __name__ == "__main__":
    main()
