"""Print the notes of a release, or say what does not agree about its version.

    python -m scripts.release_notes             the newest dated section of CHANGELOG.md
    python -m scripts.release_notes v2.0.0      the same, if this is the tag for it

pyproject.toml, CHANGELOG.md, CITATION.cff and docs/model_card.md must name the same version, and
the changelog and CITATION.cff the same date. Needs no package, so that a release can begin with it.
"""

import re
import sys
import tomllib
from pathlib import Path

from lesion_lens import ROOT

PATTERNS = {
    "CHANGELOG.md": r"^## (?P<version>\S+) \((?P<date>\d{4}-\d\d-\d\d)\)$",
    "CITATION.cff": r'^version: (?P<version>\S+)\ndate-released: "(?P<date>\S+)"$',
    "docs/model_card.md": r"^- \*\*Version of Lesion Lens\*\*: (?P<version>\S+)\.$",
}


def main(arguments: list[str], root: Path = ROOT) -> int:
    """Run the command; returns its exit code."""
    faults = disagreements(root)
    version, changelog = version_of(root), read(root, "CHANGELOG.md")
    if arguments and arguments != [f"v{version}"]:
        faults.append(f"The tag is {' '.join(arguments)}, not v{version}.")
    if arguments and re.search(r"^## Unreleased$", changelog, re.M):
        faults.append("CHANGELOG.md has unreleased changes: give them a version and a date.")
    if faults:
        print(*faults, sep="\n", file=sys.stderr)
        return 1
    print(notes(changelog, version))
    return 0


def disagreements(root: Path = ROOT) -> list[str]:
    """Say which files name a different version from pyproject.toml, or different dates."""
    version = version_of(root)
    faults, dates = [], set()
    for name, pattern in PATTERNS.items():
        found = re.search(pattern, read(root, name), re.M)
        if found is None:
            faults.append(f"{name} names no version: write {version} into it.")
            continue
        said = found.groupdict()
        if said["version"] != version:
            faults.append(f"{name} names version {said['version']}, pyproject.toml {version}.")
        if "date" in said:
            dates.add(said["date"])
    if len(dates) > 1:
        faults.append(f"CHANGELOG.md and CITATION.cff have different dates: {sorted(dates)}.")
    return faults


def version_of(root: Path) -> str:
    """The version in pyproject.toml."""
    return str(tomllib.loads(read(root, "pyproject.toml"))["project"]["version"])


def notes(changelog: str, version: str) -> str:
    """The section of a version, without its heading."""
    section = re.split(rf"^## {re.escape(version)} .*$", changelog, maxsplit=1, flags=re.M)[1]
    return re.split(r"^## ", section, maxsplit=1, flags=re.M)[0].strip()


def read(root: Path, name: str) -> str:
    """The text of a file, with the line ends of Unix."""
    return (root / name).read_text(encoding="utf-8")


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")
    sys.exit(main(sys.argv[1:]))
