"""The result of each attack, as the Markdown table of docs/reliability.md."""

import os
import platform
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from lesion_lens import ROOT

PAGE = ROOT / "docs" / "reliability.md"
LEGEND = """\
*Count* is the number of requests, connections or files. *Worst time* is that of the slowest answer,
in seconds. *Worst memory* is the largest increase of the anonymous memory of all processes together
over an idle server, in MB of 1,000,000 bytes. *Failures* counts how often a promise on this page
was broken."""
MOST_SAID = 4  # kinds of failures that are listed for a case


@dataclass
class Case:
    """One row of the table. Several threads may add to it.

    Attributes:
        name: what was done.
        count: how often.
        worst_time: seconds; None if no time is promised.
        worst_memory: megabytes above the idle server; None if it was not measured.
        failures: broken promise -> how often.
        note: a further remark.
    """

    name: str
    count: int = 0
    worst_time: float | None = None
    worst_memory: float | None = None
    failures: Counter[str] = field(default_factory=Counter)
    note: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, seconds: float | None = None, failure: str | None = None) -> None:
        """Count one event, with the time that it took and its failure, if any."""
        with self._lock:
            self.count += 1
            if seconds is not None:
                self.worst_time = max(self.worst_time or 0, seconds)
            if failure:
                self.failures[failure] += 1

    def fail(self, failure: str, times: int = 1) -> None:
        """Count a failure that does not belong to a single request."""
        with self._lock:
            if times > 0:
                self.failures[failure] += times

    def __str__(self) -> str:
        """The case as text for the console."""
        time, memory = written(self.worst_time, 2), written(self.worst_memory, 0)
        told = "".join(f"\n      {times:,} × {what}" for what, times in self._told())
        told += f"\n      {self.note}" if self.note else ""
        return (
            f"{self.count:7,}  {time:>6} s  {memory:>5} MB  {self.failures.total():5,}"
            f"  {self.name}{told}"
        )

    def row(self) -> str:
        """The case as a row of the table."""
        cells = [
            self.name,
            f"{self.count:,}",
            written(self.worst_time, 2),
            written(self.worst_memory, 0),
            f"{self.failures.total():,}",
        ]
        return f"| {' | '.join(cells)} |"

    def remarks(self) -> list[str]:
        """The failures and the note, as items of a Markdown list."""
        told = [f"{times:,} × {what}" for what, times in self._told()]
        told += [self.note] if self.note else []
        return [f"- {self.name}: {'; '.join(told)}"] if told else []

    def _told(self) -> list[tuple[str, int]]:
        return self.failures.most_common(MOST_SAID)


def written(number: float | None, digits: int) -> str:
    """Write a number, or a dash for None."""
    return "–" if number is None else f"{number:.{digits}f}"


def document(sections: Sequence[tuple[str, Sequence[Case]]], remark: str, seconds: float) -> str:
    """Write all results as Markdown.

    Args:
        sections: the heading and the cases of each table.
        remark: the conditions of the run.
        seconds: how long it took.
    """
    # Only Linux reports the cores that this process may use.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    parts = [
        f"Measured on {cores} cores, Python {platform.python_version()}, in {seconds / 60:.1f} "
        f"minutes. {remark}",
        LEGEND,
    ]
    for heading, cases in sections:
        head = ["| case | count | worst time, s | worst memory, MB | failures |"]
        rows = [*head, "|---|---|---|---|---|", *(case.row() for case in cases)]
        parts += [f"**{heading}**", "\n".join(rows)]
        if remarks := [line for case in cases for line in case.remarks()]:
            parts.append("\n".join(["Remarks:", "", *remarks]))
    failures = sum(case.failures.total() for _, cases in sections for case in cases)
    noun = "failure" if failures == 1 else "failures"
    return "\n\n".join([*parts, f"{failures:,} {noun} in total."])
