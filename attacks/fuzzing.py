"""Fuzzes image reading, in processes that may crash (reading.py)."""

import importlib.util
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from attacks.reading import DONE, FAILED
from attacks.seeds import seeds
from attacks.table import Case
from lesion_lens import ROOT

PROCESSES = 2  # at once
SILENCE = 15  # seconds without output, after which a process counts as hung
APART = 10**9  # so that two processes do not read the same mutants
TIME_IS_UP = 70  # libFuzzer's exit code for an input that took too long
HAS_ATHERIS = importlib.util.find_spec("atheris") is not None


def remark() -> str:
    """Say in a sentence whether the fuzzing was guided."""
    if HAS_ATHERIS:
        return "Fuzzing was guided by atheris."
    return "Fuzzing was not guided: `pip install atheris` adds that, on Linux."


def mutations(seconds: float, most: int = APART, processes: int = PROCESSES) -> Case:
    """Read mutants of the seeds.

    Args:
        seconds: how long.
        most: the most mutants for each process.
        processes: how many at once.
    """
    case = Case("reading mutated image files")
    with ThreadPoolExecutor(processes) as pool:
        firsts = (process * APART for process in range(processes))
        list(pool.map(lambda first: _read_mutants(case, first, first + most, seconds), firsts))
    return case


def _read_mutants(case: Case, first: int, last: int, seconds: float) -> None:
    end = time.monotonic() + seconds
    while first < last and (left := end - time.monotonic()) > 0:
        process = _reading("mutants", first, last, left)
        ended, begun = False, time.monotonic()
        for line in _lines(process):
            if line.startswith(FAILED):
                case.fail(f"{line.removeprefix(FAILED).strip()} (mutant {first - 1})")
            elif line == DONE:
                ended = True
            else:
                now = time.monotonic()
                if first % APART != 0:  # the first one includes the start of the process
                    case.worst_time = max(case.worst_time or 0, now - begun)
                begun = now
                first = int(line) + 1
                case.add()
        if ended:
            return
        if fault := _end_of(process):
            case.fail(f"{fault} (mutant {first - 1})")


def coverage_guided(seconds: float, processes: int = PROCESSES) -> Case:
    """Have atheris change the seeds. Without atheris, read more mutants.

    Files that fail are kept in a folder, whose path is printed.
    """
    if not HAS_ATHERIS:
        return mutations(seconds, processes=processes)
    case = Case("reading image files that atheris found")
    folder = Path(tempfile.mkdtemp(prefix="lesion-lens-fuzzing-"))
    for number, data in enumerate(seeds()):
        (folder / f"seed-{number}").write_bytes(data)
    numbers = range(1, processes + 1)
    with ThreadPoolExecutor(processes) as pool:
        runs = pool.map(lambda number: _read_guided(case, folder, number, seconds), numbers)
        case.count = sum(runs)
    if case.failures:
        print(f"The files that failed are in {folder}.")
    else:
        shutil.rmtree(folder)
    return case


def _read_guided(case: Case, folder: Path, seed: int, seconds: float) -> int:
    """Read until the time is up, and return the number of files."""
    end, total = time.monotonic() + seconds, 0
    while (left := end - time.monotonic()) > 0.5:  # atheris needs at least half a second
        process = _reading("guided", folder, seed, left, stderr=subprocess.STDOUT)
        runs = 0
        for line in _lines(process):
            if line.startswith(FAILED):
                case.fail(line.removeprefix(FAILED).strip())
            elif found := re.match(r"#(\d+)\s|stat::number_of_executed_units: (\d+)", line):
                runs = int(found[1] or found[2])
        total += runs
        if (fault := _end_of(process)) and process.returncode != TIME_IS_UP:
            case.fail(fault)
        seed += PROCESSES
    return total


def _reading(*arguments: object, stderr: int = subprocess.DEVNULL) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "attacks.reading", *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=stderr,
    )


def _lines(process: "subprocess.Popen[bytes]") -> Iterator[str]:
    """Yield the lines that a process prints, and kill it if it is silent for too long."""
    assert process.stdout is not None
    spoke, ended = threading.Event(), threading.Event()

    def watch() -> None:
        quiet = 0.0  # counted in turns of this loop, because the machine may stall
        while not ended.wait(0.5):
            quiet = 0 if spoke.is_set() else quiet + 0.5
            spoke.clear()
            if quiet > SILENCE:
                process.kill()
                return

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        for line in process.stdout:
            spoke.set()
            yield line.decode("utf-8", "replace").strip()
        process.wait()  # returns for a process that ends; `watch` kills one that hangs
    finally:
        ended.set()
        process.kill()
        process.wait()
        watcher.join()


def _end_of(process: "subprocess.Popen[bytes]") -> str | None:
    """What was wrong with a process's end. The limit on processor time is not a fault."""
    code = process.returncode
    if code in (0, -signal.SIGXCPU):
        return None
    return f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with the code {code}"
