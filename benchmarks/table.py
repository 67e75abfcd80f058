"""Writes the measurements as the Markdown tables of docs/benchmarks.md."""

import contextlib
import os
import platform
import signal
import sys
from dataclasses import dataclass
from importlib import metadata

from benchmarks.servers import BASELINE
from lesion_lens import ROOT
from lesion_lens.model.errors import LesionLensError

FLOOR = "floor"
PAGE = ROOT / "docs" / "benchmarks.md"
LEGEND = """\
In brackets: the ratio to the baseline, then the ratio to the floor with the same number of views.
The floor runs in one process for one client and in two for eight. The page classifies 49 covered
copies of the image in addition to its eight views. An error is an answer other than 200, or a
failed connection. The column *wrk* is the share of one core that wrk itself used.

wrk corrects its p50 and p99: if an answer took more than twice the usual time, it also counts the
requests that would have been sent meanwhile. The floor's numbers are not corrected. With fewer
than a hundred answers, p99 is the slowest one."""
START_LEGEND = """\
Times are measured from the start of the command, with its files already in memory. Memory is
measured after the load, in MB of 1,000,000 bytes. *Resident* is the anonymous memory plus the
mapped files, with each page counted once. In brackets: the ratio to the baseline."""


@dataclass(frozen=True)
class Load:
    """The result of a load.

    Attributes:
        rate: answers with status 200, a second.
        p50, p99: milliseconds of an answer with any status.
        errors: answers other than 200, and failed connections.
        wrk_share: share of one core that wrk used, 0–1; None for the floor.
    """

    rate: float
    p50: float
    p99: float
    errors: int = 0
    wrk_share: float | None = None


@dataclass(frozen=True)
class Row:
    """The result of a load, with its conditions.

    Attributes:
        picture: a key of `pictures.SIZES`.
        clients: 1 or 8.
        server: a `Server`'s name, or `FLOOR`.
        request: a `Request`'s name; for the floor, the number of views as text.
        views: 1 or 8.
        load: Load.
    """

    picture: str
    clients: int
    server: str
    request: str
    views: int
    load: Load


@dataclass(frozen=True)
class Start:
    """A server's start-up times and memory.

    Attributes:
        server: its name.
        first_page, first_answer: seconds.
        memory: dict of picture -> `Memory` after its loads.
        curve: list of (requests, anonymous megabytes, errors); empty if not measured.
    """

    server: str
    first_page: float
    first_answer: float
    memory: dict
    curve: list


def document(rows, starts, decode, remark=None):
    """Write all measurements as Markdown.

    Args:
        rows: list of Row.
        starts: list of Start, the baseline's first.
        decode: dict of picture -> milliseconds to decode it in full.
        remark: a sentence about what was left out.

    Returns:
        str.
    """
    parts = [measured_on(), LEGEND]
    for picture, milliseconds in decode.items():
        parts.append(load_table([row for row in rows if row.picture == picture], milliseconds))
    parts += [start_table(starts), *(curve_line(start) for start in starts if start.curve)]
    return "\n\n".join([*parts, *([remark] if remark else [])]) + "\n"


def measured_on():
    """Say in a sentence on which system the measurements were made."""
    packages = []
    for name in ("tensorflow-cpu", "tensorflow", "keras", "ai-edge-litert"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            packages.append(f"{name} {metadata.version(name)}")
    cores = len(os.sched_getaffinity(0))
    return f"Measured on {cores} cores, Python {platform.python_version()}, {', '.join(packages)}."


def load_table(rows, decode):
    """The table for one picture.

    Args:
        rows: list of Row, all for this picture.
        decode: milliseconds to decode it in full.

    Returns:
        str.
    """
    lines = [
        f"A JPEG of {rows[0].picture}, whose full decode takes {decode:.1f} ms:",
        "",
        "| clients | served by | answers a second | p50, ms | p99, ms | p50 / decode | p99 / p50 "
        "| errors | wrk |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in sorted(rows, key=lambda row: row.clients):
        alike = [other for other in rows if other.clients == row.clients]
        references = (
            next((other.load for other in alike if other.server == BASELINE), None),
            next((o.load for o in alike if (o.server, o.views) == (FLOOR, row.views)), None),
        )
        load = row.load
        cells = [
            row.clients,
            f"{row.server}, {row.request}",
            *(
                with_ratios(getattr(load, name), *(getattr(one, name, 0) for one in references))
                for name in ("rate", "p50", "p99")
            ),
            f"{load.p50 / decode:.2f}",
            f"{load.p99 / load.p50:.2f}" if load.p50 else "–",  # no answer came
            f"{load.errors:,}",
            "–" if load.wrk_share is None else f"{100 * load.wrk_share:.0f} %",
        ]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def with_ratios(value, *references):
    """Write a number with its ratio to each reference, or a dash if the reference is 0."""
    ratios = (f"{value / other:.2f}×" if other else "–" for other in references)
    return f"{value:.{1 if value < 100 else 0}f} ({', '.join(ratios)})"


def start_table(starts):
    """The table of the servers' start-up times and memory."""
    pictures = starts[0].memory
    headings = ["served by", "first page, s", "first answer, s"]
    for picture in pictures:
        headings += [f"resident after {picture}", f"anonymous after {picture}"]
    table = [headings, ["---"] * len(headings)]
    of_baseline = numbers_of(starts[0])
    for start in starts:
        pairs = zip(numbers_of(start), of_baseline, strict=True)
        table.append([start.server, *(with_ratios(*pair) for pair in pairs)])
    return "\n".join([START_LEGEND, "", *(f"| {' | '.join(cells)} |" for cells in table)])


def numbers_of(start):
    """The numbers of a `Start` in the order of the table."""
    memory = [(one.resident, one.anonymous) for one in start.memory.values()]
    return [start.first_page, start.first_answer, *(number for pair in memory for number in pair)]


def curve_line(start):
    """Say in a sentence how the anonymous memory changed over the requests."""
    (first, before, _), (last, after, _) = start.curve[0], start.curve[-1]
    most = max(megabytes for _, megabytes, _ in start.curve)
    errors = sum(errors for *_, errors in start.curve)
    return (
        f"Anonymous memory of the {start.server} while the API answers: {before:.0f} MB after "
        f"{first:,} predictions, {after:.0f} MB after {last:,}, {most:.0f} MB at most; "
        f"{errors:,} errors."
    )


def as_command(run, *arguments):
    """Run a benchmark as a program. Errors become messages, and SIGTERM stops all it started."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        run(*arguments)
    except LesionLensError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
