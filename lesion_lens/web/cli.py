"""The command line for folders of images.

    flask --app app classify PATH… [--csv OUT] [--json OUT]

Three images are decoded at a time, however many there are. Answers are collected in a file until
all are there, because the most urgent are written first.
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
from lesion_lens.model.wording import series
from lesion_lens.web import dask_cluster
from lesion_lens.web.bulk import Result, Task, results
from lesion_lens.web.current import get_classifier
from lesion_lens.web.folders import Found, check_outputs, images_in, look_through, printable
from lesion_lens.web.heat_maps import MapFolder
from lesion_lens.web.outputs import UnwritableFile, is_no_file, whole_file
from lesion_lens.web.progress import Progress, ProgressError, key_of, path_beside, progress_beside
from lesion_lens.web.reports import CsvWriter, IsicWriter, JsonWriter, LineWriter, Writer
from lesion_lens.web.results import codes_without_isic_column

OUT = click.Path(dir_okay=False, allow_dash=True, path_type=Path)
# Exit codes. 2 is Click's code for a wrong command line, and ours if an output or a cluster fails.
NO_IMAGE, FAILED, NO_MODEL, INTERRUPTED = 1, 2, 3, 130


@dataclass(frozen=True)
class Job:
    """What the command line asks for.

    Attributes:
        paths: files and folders.
        csv, json: where to write the answers; None for nowhere.
        is_isic: whether the CSV has the ISIC challenge's format.
        resume: whether to continue an interrupted run.
        maps: where to write the heat maps; None for nowhere.
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
        """The output that the progress file is kept beside: the first that is a regular file."""
        return next((path for path in self.outputs.values() if not is_no_file(path)), None)


@click.command("classify")
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--csv", "csv_path", type=OUT, help="Write a table to this file (- for standard output)."
)
@click.option(
    "--json",
    "json_path",
    type=OUT,
    help="Write the full answers to this file (- for standard output).",
)
@click.option(
    "--format",
    "table",
    type=click.Choice(["plain", "isic"]),
    default="plain",
    help="Columns of the table: all of them, or those of the ISIC challenge.",
)
@click.option("--resume", is_flag=True, help="Continue an interrupted run of the same command.")
@click.option(
    "--heat-maps",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write the heat map of each image to this folder.",
)
@click.option(
    "--dask",
    metavar="ADDRESS",
    help="Classify on the Dask cluster whose scheduler has this address.",
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
    """Classify image files and all images in folders and their subfolders.

    Without --csv or --json, this prints a line for each image. The most urgent come first: by risk
    level, then by the probability of cancer or precancer. Files that cannot be used are listed at
    the end; they do not stop the run.
    """
    if table == "isic" and not csv_path:
        if json_path:
            raise click.UsageError("--format isic needs a table. Add --csv with a file name.")
        csv_path = Path("-")
    if table == "isic" and (left_out := codes_without_isic_column()):
        raise click.UsageError(
            f"--format isic has no column for {series(left_out)}. Use the plain format."
        )
    if csv_path and json_path and csv_path.resolve() == json_path.resolve():
        raise click.UsageError("--csv and --json name the same file. Choose different files.")
    if csv_path and json_path and path_beside(csv_path).resolve() == json_path.resolve():
        raise click.UsageError("--json names the progress file. Choose another file.")
    maps = MapFolder(heat_maps, paths) if heat_maps else None
    job = Job(paths, csv_path, json_path, table == "isic", resume, maps, dask)
    if resume and not job.kept_beside:
        raise click.UsageError("--resume needs the same --csv or --json file as the first run.")
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
    """Classify the images of a job, write the answers and print a summary.

    Returns:
        The exit code.

    Raises:
        ModelFileError, ProgressError, ClusterError, UnwritableFile
    """
    with contextlib.ExitStack() as stack:
        if job.resume and job.kept_beside and not path_beside(job.kept_beside).exists():
            say(f"There is no {path_beside(job.kept_beside)}; starting with the first image.")
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
        What stopped the run after some images; None if all are done.

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
    """Yield the images of a job that an interrupted run has not done yet."""
    for number, path in enumerate(images_in(job.paths)):
        task = Task(number, path, key_of(path))
        if (not job.maps or job.maps.has(path)) and progress.recall(task):
            bar.update()
        else:
            yield task


def exit_code_of(job: Job, progress: Progress, fault: BaseException | None) -> int:
    """Return the exit code of a run that wrote something."""
    if fault is not None:
        return INTERRUPTED if isinstance(fault, KeyboardInterrupt) else FAILED
    faults = sum(1 for _ in progress.faults())
    return NO_IMAGE if faults == len(progress) or (job.is_isic and faults) else 0


def exit_before_the_first() -> NoReturn:
    """Exit after an interruption before any image was done."""
    say("Interrupted before the first image; nothing was written.")
    sys.exit(INTERRUPTED)


def say_how_it_went(
    job: Job, found: Found, progress: Progress, fault: BaseException | None
) -> None:
    """Print a summary to standard error."""
    if fault is not None:
        text = fault.message if isinstance(fault, UnwritableFile) else str(fault)
        say(text or "Interrupted; the images done so far are kept.")
        if job.kept_beside:
            say("To continue, run the same command with --resume.")
    faults = sum(1 for _ in progress.faults())
    say(f"{len(progress) - faults:,} of {found.images:,} images classified.")
    if progress.recalled:
        say(f"Classified in an earlier run: {progress.recalled:,}.")
    say_passed_over(found)
    if faults:
        say(f"Images that could not be used ({faults:,}):")
    for entry in progress.faults():
        say(f"  {printable(entry.name)}: {entry.fault}")
    if faults and job.is_isic:
        say("They have no row in the ISIC challenge's CSV, so its scorer will report them missing.")


def say_passed_over(found: Found) -> None:
    """Print which files in the folders were skipped."""
    if found.other_images:
        say(f"Skipped images in other formats: {found.other_images:,}. Save them as {READABLE}:")
    for name in found.named:
        say(f"  {name}")
    if found.other_images > len(found.named):
        say(f"  and {found.other_images - len(found.named):,} more")
    if found.others:
        say(f"Skipped other files: {found.others:,}.")


def say(text: str) -> None:
    """Print a line to standard error, apart from the answers."""
    print(text, file=sys.stderr)
