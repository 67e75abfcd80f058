"""The W3C's Nu HTML checker finds no faults in pages, style sheets and drawings.

It is installed from npm into a separate folder and needs Java: `make test-portable` runs this.
"""

import io
import re
import shutil
import subprocess

import pytest

from lesion_lens import ROOT
from tests.support.drawings import draw_for, draw_lesion, encode
from tests.support.models import attributes_of, made_scores, shares_of, write_model
from tests.support.pages import client_of, upload
from tests.test_accessibility import LEVEL_MODELS, PAGES, STATES

CHECKER = "vnu-jar@26.9.27"

pytestmark = pytest.mark.portable
# Container queries, which browsers have had since 2023 and the checker does not know.
UNKNOWN = ("“container-type”", "“@container”")


@pytest.fixture(scope="module")
def checker(tmp_path_factory):
    """A function that runs the checker on files and returns its messages, one per line."""
    for program in ("java", "npm"):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}: apt-get install default-jre-headless npm")
    folder = tmp_path_factory.mktemp("checker")
    install = ["npm", "install", "--prefix", folder, "--no-audit", "--no-fund", "--silent", CHECKER]
    subprocess.run(install, check=True)
    jar = folder / "node_modules" / "vnu-jar" / "build" / "dist" / "vnu.jar"

    def checker(*files):
        options = ["--also-check-css", "--also-check-svg"]
        done = subprocess.run(
            ["java", "-jar", jar, *options, *files], capture_output=True, text=True, check=False
        )
        assert "Unable to access" not in done.stderr
        messages = done.stderr.replace(f"file:{folder.parent}/", "").splitlines()
        return [line for line in messages if not any(words in line for words in UNKNOWN)]

    return checker


def without_images(page):
    """Return a page without the bytes of its images, which are not checked."""
    return re.sub(r"(data:[a-z/]+;base64,)[A-Za-z0-9+/=]+", r"\1AAAA", page)


def test_the_checker_finds_nothing_in_what_the_server_sends(checker, app, tmp_path):
    client = app.test_client()
    image = encode(draw_for("high"))
    answers = {name: client.get(path) for name, path in PAGES.items()}
    answers["error"] = upload(client, b"hello")
    three = [(io.BytesIO(data), "a.png") for data in (image, encode(draw_lesion()), b"hello")]
    answers["batch"] = client.post("/showresult", data={"pic": three})
    for name, (kinds, shares) in LEVEL_MODELS.items():
        (tmp_path / name).mkdir()
        path = write_model(
            tmp_path / name, shares_of(**shares), {"test": made_scores()}, attributes_of(*kinds)
        )
        answers[f"result-{name}"] = upload(client_of(path), image)
    files = [tmp_path / f"{name}.html" for name in answers]
    for file, answer in zip(files, answers.values(), strict=True):
        file.write_text(without_images(answer.get_data(as_text=True)), encoding="utf-8")
    assert checker(*files) == []


def test_the_checker_finds_nothing_in_what_scripts_make_of_it(checker, desk, address, tmp_path):
    files = []
    for name, enter in STATES.items():
        page = desk.new_page()
        page.goto(address)
        enter(page)
        files.append(tmp_path / f"{name}.html")
        files[-1].write_text(without_images(page.content()), encoding="utf-8")
        page.close()
    assert checker(*files) == []


def test_the_checker_finds_nothing_in_the_style_sheet_and_the_drawings(checker):
    static = ROOT / "static"
    assert checker(*static.glob("*.css"), *static.glob("*.svg")) == []


def test_the_checker_would_find_something(checker, tmp_path):
    (tmp_path / "spoiled.html").write_text("<!doctype html><title>Hello</title><p><h1>Hello</h2>")
    assert "End tag “h2” seen" in str(checker(tmp_path / "spoiled.html"))
