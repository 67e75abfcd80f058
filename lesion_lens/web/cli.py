"""The command line for folders of images.

    flask --app app classify PATH… [--csv OUT] [--json OUT]

Three images are in memory at a time, however many there are. The answers are kept in a file until
the last, as the most urgent come first.
"""

import contextlib
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import click
from flask.cli import with_appcontext
from tqdm import tqdm

from lesion_lens.model.classifier import Classifier
from lesion_lens.model.errors import ModelFileError
from lesion_lens.model.limits import READABLE
from lesion_lens.web import dask_cluster
from lesion_lens.web.bulk import Result, Task, results
from lesion_lens.web.current import get_classifier
from lesion_lens.web.folders import Found, check_outputs, images_in, look_through, printable
from lesion_lens.web.heat_maps import MapFolder
from lesion_lens.web.outputs import UnwritableFile, is_no_file, whole_file
from lesion_lens.web.progress import Progress, ProgressError, key_of, path_beside, progress_beside
from lesion_lens.web.reports import CsvWriter, IsicWriter, JsonWriter, LineWriter, Writer

OUT = click.Path(dir_okay=False, allow_dash=True, path_type=Path)
# Exit codes. 2 is Click's, of a wrong command line, and ours of an output or a cluster that fails.
NO_IMAGE, FAILED, NO_MODEL, INTERRUPTED = 1, 2, 3, 130


@dataclass(frozen=True)
class Job:
    """What the command line asks for.

    Attributes:
        paths: files and folders.
        csv, json: where the answers are written to; None for nowhere.
        is_isic: whether the CSV is the ISIC challenge's.
        resume: whether to go on with what an interrupted run has done.
        maps: where the heat maps are written to; None for nowhere.
        cluster: the address of a Dask scheduler; None to work on this machine.
    """

    paths: tuple[Path, ...]
    csv: Path | None
    json: Path | None
    is_isic: bool
    resume: bool
    maps: MapFolder | None
    cluster: str | None

    @property
    def outputs(self) -> dict[str, Path]:
        """Option -> the file that it names."""
        named = {"--csv": self.csv, "--json": self.json}
        return {option: path for option, path in named.items() if path}

    @property
    def kept_beside(self) -> Path | None:
        """The output beside which the progress is kept, the first that is a file."""
        return next((path for path in self.outputs.values() if not is_no_file(path)), None)


@click.command("classify")
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--csv", "csv_path", type=OUT, help="Write a table to this file; - for the output.")
@click.option("--json", "json_path", type=OUT, help="Write all that is said to this file, or -.")
@click.option(
    "--format",
    "table",
    type=click.Choice(["plain", "isic"]),
    default="plain",
    help="The columns of the table: our own, or those of the ISIC challenge.",
)
@click.option("--resume", is_flag=True, help="Go on with the same command after an interruption.")
@click.option(
    "--heat-maps",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write the occlusion map of each image to this folder.",
)
@click.option(
    "--dask",
    metavar="ADDRESS",
    help="Have the workers of a Dask cluster classify, whose scheduler has this address.",
)
@with_appcontext
def classify(
    paths: tuple[Path, ...],
    csv_path: Path | None,
    json_path: Path | None,
    table: str,
    resume: bool,
    heat_maps: Path | None,
    dask: str | None,
) -> None:
    """Classify images: files, and whatever images are in folders and in their folders.

    Without --csv and --json, a line for each image is printed. The most urgent come first: by risk
    level, then by the probability of a cancer or precancer. A file that cannot be used is named at
    the end and stops nothing.
    """
    if table == "isic" and not csv_path:
        if json_path:
            raise click.UsageError("--format isic is for a table. Name its file by --csv.")
        csv_path = Path("-")
    if csv_path and json_path and csv_path.resolve() == json_path.resolve():
        raise click.UsageError("--csv and --json name the same file. Give each one of its own.")
    if csv_path and json_path and path_beside(csv_path).resolve() == json_path.resolve():
        raise click.UsageError("--json names the file of the progress. Name another file.")
    maps = MapFolder(heat_maps, paths) if heat_maps else None
    job = Job(paths, csv_path, json_path, table == "isic", resume, maps, dask)
    if resume and not job.kept_beside:
        raise click.UsageError("--resume needs a file. Name the same one by --csv or --json.")
    check_outputs(job.outputs)
    try:
        found = look_through(paths, job.outputs, job.is_isic)
    except KeyboardInterrupt:
        exit_before_the_first()
    exit_code = NO_IMAGE
    if found.images:
        try:
            exit_code = run(job, get_classifier(), found)
        except ModelFileError as error:
            say(str(error))
            exit_code = NO_MODEL
        except (ProgressError, dask_cluster.ClusterError) as error:
            say(str(error))
            exit_code = FAILED
    else:
        say("No image was found. Name a folder with images, or the images themselves.")
        say_passed_over(found)
    if exit_code:
        sys.exit(exit_code)


def run(job: Job, classifier: Classifier, found: Found) -> int:
    """Classify the images of a job, write the answers and say how it went.

    Returns:
        The exit code.

    Raises:
        ModelFileError, ProgressError, ClusterError, UnwritableFile
    """
    with contextlib.ExitStack() as stack:
        if job.resume and job.kept_beside and not path_beside(job.kept_beside).exists():
            say(f"There is no {path_beside(job.kept_beside)}, so it begins with the first image.")
        progress = stack.enter_context(
            progress_beside(job.kept_beside, classifier.sha256, job.resume)
        )
        with contextlib.ExitStack() as outputs:
            kinds: dict[str, type[CsvWriter | IsicWriter | JsonWriter]] = {
                "--csv": IsicWriter if job.is_isic else CsvWriter,
                "--json": JsonWriter,
            }
            writers: list[Writer] = [
                kinds[option](path, outputs.enter_context(whole_file(path)), classifier)
                for option, path in job.outputs.items()
            ]
            bar = outputs.enter_context(tqdm(total=found.images, unit=" images", disable=None))
            fault = classify_all(job, classifier, progress, bar)
            for writer in writers or [LineWriter()]:
                writer.write(progress.entries())
        progress.is_finished = fault is None
        say_how_it_went(job, found, progress, fault)
        return exit_code_of(job, progress, fault)


def classify_all(
    job: Job, classifier: Classifier, progress: Progress, bar: "tqdm[NoReturn]"
) -> BaseException | None:
    """Classify the images of a job.

    Returns:
        What stopped it when some were done; None where all are.

    Raises:
        ModelFileError, ClusterError, UnwritableFile
    """
    try:
        for task, result in results_of(tasks_of(job, progress, bar), job, classifier):
            if job.maps and result.heat_map:
                job.maps.write(task.path, result.heat_map)
            progress.add(task, result)
            bar.update()
    except (dask_cluster.ClusterError, UnwritableFile) as error:
        if not len(progress):
            raise
        return error
    except KeyboardInterrupt as interruption:
        if not len(progress):
            exit_before_the_first()
        return interruption
    return None


def results_of(
    tasks: Iterable[Task], job: Job, classifier: Classifier
) -> Iterator[tuple[Task, Result]]:
    """Classify images, here or on a cluster.

    Raises:
        ModelFileError, ClusterError
    """
    with_map = job.maps is not None
    if job.cluster is not None:
        return dask_cluster.results(tasks, job.cluster, classifier.sha256, with_map)
    classifier.load()
    return results(tasks, classifier, with_map)


def tasks_of(job: Job, progress: Progress, bar: "tqdm[NoReturn]") -> Iterator[Task]:
    """Give the images of a job that were not done by an interrupted run."""
    for number, path in enumerate(images_in(job.paths)):
        task = Task(number, path, key_of(path))
        if (not job.maps or job.maps.has(path)) and progress.recall(task):
            bar.update()
        else:
            yield task


def exit_code_of(job: Job, progress: Progress, fault: BaseException | None) -> int:
    """The exit code of a run that wrote something."""
    if fault is not None:
        return INTERRUPTED if isinstance(fault, KeyboardInterrupt) else FAILED
    faults = sum(1 for _ in progress.faults())
    return NO_IMAGE if faults == len(progress) or (job.is_isic and faults) else 0


def exit_before_the_first() -> NoReturn:
    """End after an interruption that left nothing to keep."""
    say("Interrupted before the first image; nothing was written.")
    sys.exit(INTERRUPTED)


def say_how_it_went(
    job: Job, found: Found, progress: Progress, fault: BaseException | None
) -> None:
    """Say on standard error how it went."""
    if fault is not None:
        text = fault.message if isinstance(fault, UnwritableFile) else str(fault)
        say(text or "Interrupted; what was done until then is kept.")
        if job.kept_beside:
            say("The same command with --resume goes on from there.")
    faults = sum(1 for _ in progress.faults())
    say(f"{len(progress) - faults:,} of {found.images:,} images classified.")
    if progress.recalled:
        say(f"{progress.recalled:,} of them were done before.")
    say_passed_over(found)
    if faults:
        say(f"{faults:,} could not be used:")
    for entry in progress.faults():
        say(f"  {printable(entry.name)}: {entry.fault}")
    if faults and job.is_isic:
        say("They have no line in the ISIC challenge's CSV, so its scorer will miss them.")


def say_passed_over(found: Found) -> None:
    """Say which files of the folders were not looked at."""
    if found.other_images:
        say(f"{found.other_images:,} images in other formats passed over; save them as {READABLE}:")
    for name in found.named:
        say(f"  {name}")
    if found.other_images > len(found.named):
        say(f"  and {found.other_images - len(found.named):,} more")
    if found.others:
        say(f"{found.others:,} of other kinds passed over.")


def say(text: str) -> None:
    """Print a line where it does not mix with the answers."""
    print(text, file=sys.stderr)
