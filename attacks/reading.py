"""The process in which fuzzing reads images. It may crash; it runs with a decoder's limits.

    python -m attacks.reading mutants FIRST LAST SECONDS  mutants by their numbers
    python -m attacks.reading guided FOLDER SEED SECONDS  files that atheris makes from a folder

It prints a line for each mutant before it reads it, and a line for each failure.
"""

import hashlib
import sys
import time
from pathlib import Path

from lesion_lens.model.process_limits import (
    address_space,
    lift_limits,
    limit_for_good,
    limit_memory,
    limit_processor,
)

FAILED = "failed"  # the first word of a line on a failure
DONE = "done"  # the last line, if nothing ended the process


def fault_of(data: bytes) -> str | None:
    """Read an image within the limits of a decoder.

    Returns:
        What went wrong; None if reading gave an image within the limits, or an `ImageError`.
    """
    from lesion_lens.model.errors import ImageError, ImageTooCostly
    from lesion_lens.model.images import read_image
    from lesion_lens.model.limits import (
        CPU_LIMIT,
        DECODE_MEMORY,
        MAX_SIDE,
        OPENING_MEMORY,
        PIXEL_LIMITS,
    )

    allowed = address_space() + OPENING_MEMORY

    def reserve(needed: int) -> None:
        if needed > DECODE_MEMORY:
            raise ImageTooCostly
        limit_memory(allowed + needed)

    limit_memory(allowed)
    limit_processor(CPU_LIMIT)
    begin = time.process_time()
    try:
        image = read_image(data, reserve)
    except (ImageError, MemoryError):
        pass
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:80]}"
    else:
        width, height = image.size
        if image.mode != "RGB" or not 0 < width * height <= max(PIXEL_LIMITS.values()):
            return f"an image of mode {image.mode} and {width}×{height} pixels"
        if max(width, height) > MAX_SIDE:
            return f"an image of {width}×{height} pixels"
    finally:
        lift_limits()
    taken = time.process_time() - begin
    return f"{taken:.0f} s of processor time" if taken > CPU_LIMIT + 2 else None


def read_mutants(first: int, last: int, seconds: float) -> None:
    """Read mutants up to the last one, or until the time is up."""
    from attacks.seeds import mutant

    limit_for_good()
    end = time.monotonic() + seconds
    for number in range(first, last):
        if time.monotonic() > end:
            break
        data = mutant(number)
        print(number, flush=True)
        if fault := fault_of(data):
            print(FAILED, fault, flush=True)
    print(DONE, flush=True)


def read_guided(folder: Path, seed: int, seconds: float) -> None:
    """Have atheris change the files of a folder to reach code that none has reached before.

    It instruments the Python code of Pillow and of this package, but not the libraries in C. Files
    that fail are kept in the folder.
    """
    import atheris

    with atheris.instrument_imports(include=["PIL", "pillow_heif", "lesion_lens.model.images"]):
        import lesion_lens.model.images  # noqa: F401

    def read(data: bytes) -> None:
        if fault := fault_of(data):
            (folder / f"failed-{hashlib.sha256(data).hexdigest()[:12]}").write_bytes(data)
            print(FAILED, fault, flush=True)

    options = {
        "seed": seed,
        "max_total_time": max(1, round(seconds)),
        "max_len": 20_000,
        "timeout": 10,  # seconds; longer than the kernel's limit on processor time
        "rss_limit_mb": 2000,
        "artifact_prefix": f"{folder}/failed-",
        "print_final_stats": 1,
    }
    flags = [f"-{name}={value}" for name, value in options.items()]
    atheris.Setup([sys.argv[0], *flags, str(folder)], read)
    atheris.Fuzz()


def main() -> None:
    """Run one of the two commands in the module's docstring."""
    way, first, second, seconds = sys.argv[1:]
    if way == "mutants":
        read_mutants(int(first), int(second), float(seconds))
    else:
        read_guided(Path(first), int(second), float(seconds))


if __name__ == "__main__":
    main()
