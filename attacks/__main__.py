"""Attack the app as the Procfile starts it, and write the results.

    make attack                          under ten minutes on two cores
    python -m attacks --soak 50000       a longer soak
    python -m attacks --fuzzing 3600     an hour of fuzzing
    python -m attacks --dry --part slow --engine LiteRT     one part; writes nothing

Writes the table of docs/reliability.md. Failures are in the table and do not change the exit code.
The exit code is 1 if something that is needed is missing. Everything runs on this machine.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from attacks import fuzzing, serving
from attacks.clients import SLOW_KINDS, headers_without_end, slow_clients
from attacks.files import HOSTILE
from attacks.malformed import malformed_requests
from attacks.servers import MODELS, Target, attacked
from attacks.table import PAGE, Case, document
from benchmarks.servers import CannotMeasure, litert_is_missing
from lesion_lens.model.errors import LesionLensError
from scripts.marks import filled, publish

SMALL = 0.01  # the size of the hostile files in the soak
Files = Mapping[str, bytes]
Section = tuple[str, list[Case]]
Part = Callable[[Target, Files, argparse.Namespace], Iterator[Case]]


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--engine", choices=MODELS, action="append", help="which engine (both)")
    parser.add_argument("--soak", type=int, default=5000, help="requests in each soak (5000)")
    parser.add_argument("--fuzzing", type=float, default=40, help="seconds of fuzzing in all (40)")
    parser.add_argument("--clients", type=int, default=500, help="slow clients of each kind (500)")
    parser.add_argument("--seconds", type=float, default=4, help="length of each timed case (4)")
    parser.add_argument("--part", choices=PARTS, action="append", help="which part to run (all)")
    parser.add_argument("--dry", action="store_true", help="print the table but do not write it")
    return parser.parse_args(arguments)


def shown(heading: str, cases: Iterator[Case]) -> list[Case]:
    """Print each case as it completes."""
    print(f"{heading}:", flush=True)
    found = []
    for case in cases:
        print(case, flush=True)
        found.append(case)
    return found


def fuzzed(seconds: float) -> Iterator[Case]:
    """Yield the fuzzing cases."""
    yield fuzzing.mutations(seconds / 2)
    yield fuzzing.coverage_guided(seconds / 2)


def each_file(target: Target, files: Files, _: argparse.Namespace) -> Iterator[Case]:
    """Yield a case for each hostile file, and one for many files in one request."""
    for name, data in files.items():
        yield serving.hostile_file(target, name, data)
    yield serving.batches(target, files["heic_many_turns"])


def crowds(target: Target, files: Files, options: argparse.Namespace) -> Iterator[Case]:
    """Yield the cases with hostile files and requests from many clients."""
    yield from serving.hostile_files_without_pause(target, files, 3 * options.seconds)
    yield malformed_requests(target)
    yield serving.clients_that_hang_up(target, files, options.seconds)


def slow(target: Target, _: Files, options: argparse.Namespace) -> Iterator[Case]:
    """Yield a case for each kind of slow client."""
    for kind in SLOW_KINDS:
        yield slow_clients(target, kind, options.clients, options.seconds)
    yield headers_without_end(target, options.clients // 5)


def faults(target: Target, _: Files, options: argparse.Namespace) -> Iterator[Case]:
    """Yield a case for each fault."""
    for name, strike in serving.FAULTS.items():
        yield serving.fault(target, name, strike, options.seconds)


def soak(target: Target, _: Files, options: argparse.Namespace) -> Iterator[Case]:
    """Yield the soak's case."""
    small = {name: make(SMALL) for name, make in HOSTILE.items()}
    yield serving.soak(target, small, options.soak)


def stop(target: Target, _: Files, options: argparse.Namespace) -> Iterator[Case]:
    """Yield the case that stops the server. It must be the last one."""
    yield serving.stop_under_load(target)


ON_ENGINES: dict[str, Part] = {
    "crowds": crowds,
    "slow": slow,
    "faults": faults,
    "soak": soak,
    "stop": stop,
}
PARTS = ("fuzzing", "files", *ON_ENGINES)


def run(options: argparse.Namespace) -> tuple[list[Section], str]:
    """Run the selected attacks.

    Returns:
        (sections, a remark on the conditions of the run).

    Raises:
        CannotMeasure: something needed is missing.
    """
    engines, parts = options.engine or list(MODELS), options.part or PARTS
    if "LiteRT" in engines and (missing := litert_is_missing()):
        raise CannotMeasure(missing)
    sections, files, remark = [], {}, fuzzing.remark()
    if "fuzzing" in parts:
        sections.append(("Fuzzing", shown("Fuzzing", fuzzed(options.fuzzing))))
    if {"files", "crowds"} & set(parts):
        print("Building the hostile files …", flush=True)
        files = {name: make(1) for name, make in HOSTILE.items()}
    with tempfile.TemporaryDirectory() as folder:
        for engine in engines if set(parts) - {"fuzzing"} else ():
            with attacked(engine, Path(folder)) as (target, group):
                if engine == engines[0]:
                    remark += f" {group.said()}"
                    if "files" in parts:
                        heading = f"Hostile files, eight at once, on {engine}"
                        sections.append(
                            (heading, shown(heading, each_file(target, files, options)))
                        )
                heading = f"The app on {engine}"
                chosen = (part for name, part in ON_ENGINES.items() if name in parts)
                cases = (case for part in chosen for case in part(target, files, options))
                sections.append((heading, shown(heading, cases)))
    return sections, remark


def main() -> None:
    """Run the command in the module's docstring."""
    options = parse_arguments()
    begin = time.monotonic()
    try:
        filled(PAGE, {"attacks": ""})  # check the page before minutes of work
        sections, remark = run(options)
        text = document(sections, remark, time.monotonic() - begin)
        if options.dry:
            print(text)
        else:
            publish(PAGE, {"attacks": text})
    except LesionLensError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
