"""Print the notes of a release, or say what does not agree about its version.

    python -m scripts.release_notes             the newest dated section of CHANGELOG.md
    python -m scripts.release_notes v2.0.0      the same, if this is the tag for it

pyproject.toml, CHANGELOG.md, CITATION.cff and docs/model_card.md must name the same version, and
the changelog and CITATION.cff the same date. Needs no package, so that a release can begin with it.

A paragraph is one line in the notes, because GitHub breaks the lines of a release where they end.
Where GITHUB_REPOSITORY names the repository, links to its files are whole addresses.
"""

import os
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


UNRELEASED = r"^## \[?Unreleased\]?\s*$"


def main(arguments: list[str], root: Path = ROOT) -> int:
    """Run the command; returns its exit code."""
    faults = disagreements(root)
    version, changelog = version_of(root), read(root, "CHANGELOG.md")
    if arguments and arguments != [f"v{version}"]:
        faults.append(f"The tag is {' '.join(arguments)}, not v{version}.")
    if arguments and re.search(UNRELEASED, changelog, re.M | re.I):
        faults.append("CHANGELOG.md has unreleased changes: give them a version and a date.")
    text = "" if faults else notes(changelog, version)
    if not (faults or text):
        faults.append(f"CHANGELOG.md says nothing about version {version}.")
    if faults:
        print(*faults, sep="\n", file=sys.stderr)
        return 1
    repository = os.environ.get("GITHUB_REPOSITORY")
    print(with_whole_links(text, repository, version) if repository else text)
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
        if name == "CHANGELOG.md" and (heading := undated(read(root, name))):
            faults.append(f"The heading {heading!r} in {name} has no date.")
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
    """The section of a version, without its heading, each paragraph and item on one line."""
    section = re.split(rf"^## {re.escape(version)} .*$", changelog, maxsplit=1, flags=re.M)[1]
    section = re.split(r"^## ", section, maxsplit=1, flags=re.M)[0].strip()
    return re.sub(r"(?<=\S)\n(?![-#\n]) *", " ", section)


def with_whole_links(text: str, repository: str, version: str) -> str:
    """The text with whole addresses in its links to files, as of the version's tag."""
    return re.sub(r"\]\((?!https?:)", f"](https://github.com/{repository}/blob/v{version}/", text)


def undated(changelog: str) -> str | None:
    """The newest heading of the changelog, apart from 'Unreleased', if it has no date."""
    headings = re.findall(r"^## .*$", changelog, re.M)
    newest = next((line for line in headings if not re.match(UNRELEASED, line, re.I)), "")
    return None if re.match(PATTERNS["CHANGELOG.md"], newest) else str(newest)


def read(root: Path, name: str) -> str:
    """The text of a file, with the line ends of Unix."""
    return (root / name).read_text(encoding="utf-8")


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")
    sys.exit(main(sys.argv[1:]))
