"""Print the size of the packages in requirements.txt, installed and gzipped.

Heroku refuses a slug of more than 500 MB, which must also hold Python itself and the app. The
packages are measured in the environment that runs this, with the bytecode that pip compiles.
"""

import gzip
import importlib.metadata
import io
import re
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement

from lesion_lens import ROOT

LIMIT = 420  # MB of 1,000,000 bytes


def pins(path: Path) -> Iterator[tuple[Requirement, list[str]]]:
    """Yield each requirement of a compiled file, with its hashes (`sha256:…`)."""
    text = re.sub(r"\\\n\s*", "", path.read_text(encoding="utf-8"))  # one requirement per line
    for line in text.splitlines():
        if line and not line.lstrip().startswith(("#", "-")):
            requirement, *hashes = line.split("--hash=")
            yield Requirement(requirement), [one.strip() for one in hashes]


def packed_size(package: importlib.metadata.Distribution) -> int:
    """Return the size in bytes of an installed package's files as a gzipped tar archive."""
    archive = io.BytesIO()
    with (
        gzip.open(archive, "wb", compresslevel=6) as packed,
        tarfile.open(fileobj=packed, mode="w") as tar,
    ):
        for file in package.files or ():
            path = Path(str(file.locate()))
            if path.is_file():
                tar.add(path, str(file))
    return archive.tell()


def main() -> int:
    path = ROOT / "requirements.txt"
    sizes = {
        one.name: packed_size(importlib.metadata.distribution(one.name)) / 1e6
        for one, _ in pins(path)
        if one.marker is None or one.marker.evaluate()
    }
    for name, size in sorted(sizes.items(), key=lambda item: -item[1])[:10]:
        print(f"{size:7.1f} MB  {name}")
    total = sum(sizes.values())
    print(f"{total:7.1f} MB  all {len(sizes)} packages (limit: {LIMIT} MB)")
    return int(total > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
