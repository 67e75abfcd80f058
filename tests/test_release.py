"""A release: the same version in all places, and its notes."""

import os
import shutil
import subprocess
import sys

import pytest

from lesion_lens import ROOT, version
from scripts import check_start
from scripts.release_notes import PATTERNS, disagreements, main


@pytest.fixture
def copy(tmp_path):
    """The files that name the version."""
    (tmp_path / "docs").mkdir()
    for name in ("pyproject.toml", *PATTERNS):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def change(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_all_places_name_the_same_version_and_date():
    assert disagreements() == []


@pytest.mark.parametrize("name", PATTERNS)
def test_another_version_is_named(copy, name, capsys):
    change(copy / name, version(), "9.9.9")
    assert main([], copy) == 1
    assert capsys.readouterr().err == (f"{name} names version 9.9.9, pyproject.toml {version()}.\n")


def test_another_date_is_named(copy):
    change(copy / "CITATION.cff", 'date-released: "', 'date-released: "1')
    assert "different dates" in disagreements(copy)[0]


def test_a_release_has_the_tag_of_its_version_and_nothing_unreleased(copy, capsys):
    assert main([f"v{version()}"], copy) == 0
    assert main(["v9.9.9"], copy) == 1
    change(copy / "CHANGELOG.md", "# Changelog\n", "# Changelog\n\n## Unreleased\n\n- New.\n")
    assert main([], copy) == 0
    assert main([f"v{version()}"], copy) == 1
    assert "unreleased changes" in capsys.readouterr().err


def test_the_notes_are_the_section_of_the_version(copy, capsys):
    newest = f"## {version()} (2026-11-27)\n\n- New\n  item.\n- Other.\n"
    text = f"# Changelog\n\n{newest}\n## 1.0.0 (2026-11-26)\n\n- Old.\n"
    (copy / "CHANGELOG.md").write_text(text, encoding="utf-8")
    main([], copy)
    assert capsys.readouterr().out == "- New item.\n- Other.\n"


def test_links_to_files_are_whole_on_github(copy, capsys, monkeypatch):
    monkeypatch.setenv("GITHUB_REPOSITORY", "someone/theirs")
    change(copy / "CHANGELOG.md", "- ", "- [this](docs/deploy.md) and [that](https://x.org/y) ")
    assert main([], copy) == 0
    there = f"https://github.com/someone/theirs/blob/v{version()}/docs/deploy.md"
    assert f"- [this]({there}) and [that](https://x.org/y) " in capsys.readouterr().out


def test_an_undated_or_empty_section_is_named(copy, capsys):
    path = copy / "CHANGELOG.md"
    path.write_text(f"## {version()}\n\n- New.\n\n## 1.0.0 (2026-11-26)\n", encoding="utf-8")
    assert f"The heading '## {version()}' in CHANGELOG.md has no date." in disagreements(copy)
    path.write_text(f"## {version()} (2026-11-27)\n\n## 1.0.0 (2026-11-26)\n", encoding="utf-8")
    assert main([], copy) == 1
    assert f"says nothing about version {version()}" in capsys.readouterr().err


def test_the_app_starts_and_classifies():
    done = subprocess.run(
        [sys.executable, "-m", "scripts.check_start"],
        cwd=ROOT,
        env=os.environ | {"http_proxy": "http://127.0.0.1:9", "no_proxy": ""},  # nobody listens
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("The app started and classified its sample.\n")


# An app that has one answer for /sample, {status} and {page}.
OTHER_APP = """
import http.server, os

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        status, page = (200, b"ok\\n") if self.path == "/healthz" else ({status}, {page})
        self.send_response(status)
        self.end_headers()
        self.wfile.write(page)

http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


@pytest.mark.parametrize(
    ("status", "page", "said"),
    [
        (200, b"<!doctype html><title>Lesion Lens</title>", "does not name the most likely class."),
        (500, b"", "/sample with the status 500."),
    ],
)
def test_an_app_that_does_not_classify_is_noticed(
    tmp_path, monkeypatch, capsys, status, page, said
):
    (tmp_path / "app.py").write_text(OTHER_APP.format(status=status, page=page), encoding="utf-8")
    monkeypatch.setattr(check_start, "ROOT", tmp_path)
    try:
        code = check_start.main()
    except SystemExit as ended:
        code = ended.code
    assert code
    assert f"{code}{capsys.readouterr().err}".strip().endswith(said)
