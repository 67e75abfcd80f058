"""Attack the app as the Procfile starts it, and write what came of it.

    make attack                          under ten minutes on two cores
    python -m attacks --soak 50000       a longer soak
    python -m attacks --fuzzing 3600     an hour of fuzzing

Writes the table of docs/reliability.md. The exit code is 0 whatever failed, as that is in the
table, and 1 where something needed is missing. Everything stays on this machine.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from attacks import fuzzing, serving
from attacks.clients import SLOW_KINDS, slow_clients
from attacks.files import HOSTILE
from attacks.malformed import malformed_requests
from attacks.servers import MODELS, Target, attacked
from attacks.table import PAGE, Case, document
from benchmarks.servers import CannotMeasure, litert_is_missing
from lesion_lens.model.errors import LesionLensError
from scripts.marks import filled, publish

QUICK_SIZE = 0.01  # of the hostile files that the soak sends
Section = tuple[str, list[Case]]


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--engine", choices=MODELS, action="append", help="which engine; both without it"
    )
    parser.add_argument("--soak", type=int, default=5000, help="requests of each soak (5000)")
    parser.add_argument("--fuzzing", type=float, default=60, help="seconds of all fuzzing (60)")
    parser.add_argument("--clients", type=int, default=500, help="slow clients of each kind (500)")
    parser.add_argument("--seconds", type=float, default=6, help="of each case that lasts (6)")
    parser.add_argument("--dry", action="store_true", help="write nothing into the page")
    return parser.parse_args(arguments)


def shown(cases: Iterator[Case]) -> list[Case]:
    """Print each case as it comes."""
    found = []
    for case in cases:
        print(case, flush=True)
        found.append(case)
    return found


def fuzzed(seconds: float) -> Iterator[Case]:
    """Yield the cases of fuzzing."""
    yield fuzzing.mutations(seconds / 2)
    yield fuzzing.coverage_guided(seconds / 2)


def each_file(target: Target, files: Mapping[str, bytes]) -> Iterator[Case]:
    """Yield the case of each hostile file."""
    for name, data in files.items():
        yield serving.hostile_file(target, name, data)


def on_engine(
    target: Target, files: Mapping[str, bytes], options: argparse.Namespace
) -> Iterator[Case]:
    """Yield the cases that both engines get; the last of them stops the server."""
    small = {name: make(QUICK_SIZE) for name, make in HOSTILE.items()}
    yield from serving.hostile_files_without_pause(target, files, 2 * options.seconds)
    yield serving.batches(target, files["heic_many_turns"])
    yield malformed_requests(target)
    yield serving.clients_that_hang_up(target, files, options.seconds)
    for kind in SLOW_KINDS:
        yield slow_clients(target, kind, options.clients, options.seconds)
    for name, strike in serving.FAULTS.items():
        yield serving.fault(target, name, strike)
    yield serving.soak(target, small, options.soak)
    yield serving.stop_under_load(target)


def run(options: argparse.Namespace) -> tuple[list[Section], str]:
    """Run all attacks.

    Returns:
        (sections, a remark on what the run had).

    Raises:
        CannotMeasure: something needed is missing.
    """
    engines = options.engine or list(MODELS)
    if "LiteRT" in engines and (missing := litert_is_missing()):
        raise CannotMeasure(missing)
    print("Fuzzing of image reading, in processes of its own:", flush=True)
    sections = [("Fuzzing", shown(fuzzed(options.fuzzing)))]
    print("Building the hostile files:", flush=True)
    files = {name: make(1) for name, make in HOSTILE.items()}
    remark = fuzzing.remark()
    with tempfile.TemporaryDirectory() as folder:
        for engine in engines:
            print(f"The app on {engine}:", flush=True)
            with attacked(engine, Path(folder)) as (target, group):
                if engine == engines[0]:
                    remark += f" {group.said()}"
                    cases = shown(each_file(target, files))
                    sections.append((f"Hostile files, eight at once, on {engine}", cases))
                cases = shown(on_engine(target, files, options))
                sections.append((f"The app on {engine}", cases))
    return sections, remark


def main() -> None:
    """Run as the module's docstring says."""
    options = parse_arguments()
    begin = time.monotonic()
    try:
        filled(PAGE, {"attacks": ""})  # before minutes of work
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
