"""Fixtures shared by the test files; other shared code is in tests/support."""

import os
import signal

import pytest

from lesion_lens import ROOT
from lesion_lens.training.data import CSV_NAMES, METADATA_NAME
from lesion_lens.web.current import get_classifier
from tests.support.browser import chromium, desk_of, window
from tests.support.drawings import draw_lesion, encode
from tests.support.phones import Log
from tests.support.servers import serving
from tests.support.skipping import real_data_folder, require, skip_without

# The files that take longest. Started first, so that no processor is idle at the end.
LONGEST = ("train", "fitting", "real_data", "browser", "clinics", "accessibility")


def pytest_configure():
    os.chdir(ROOT)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # True in a shell's background job. Programs that the tests interrupt would inherit it.
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items):
    """Sort the files; xdist hands them to its workers in this order (`make test`)."""
    ranks = {f"test_{name}": rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(item.path.stem, len(ranks)))


@pytest.fixture(scope="session")
def ham10000():
    """Kaggle's two files: the CSV, plain or zipped, and the metadata."""
    folder = real_data_folder()
    files = [path for name in CSV_NAMES if (path := folder / name).exists()]
    metadata = folder / METADATA_NAME
    if not files or not metadata.exists():
        skip_without(f"{CSV_NAMES[0]} and {METADATA_NAME}")
    return files[0], metadata


@pytest.fixture(scope="session")
def original_files():
    """Up to 124 full-size images, from any subfolder of the real data."""
    files = sorted(real_data_folder().glob("*/ISIC_*.jpg"))[:124]
    if not files:
        skip_without("folders of the images ISIC_….jpg")
    return files


@pytest.fixture(scope="session")
def app():
    from app import create_app  # needs the model file, which most tests of training do not need

    app = create_app({"TESTING": True})
    get_classifier(app).load()  # like gunicorn; else the first image waits for it and gets 503
    return app


@pytest.fixture
def client(app):
    return app.test_client()


@pytest.fixture
def log(app):
    """The app, wrapped to record its requests and to let a test replace its answers."""
    return Log(app)


@pytest.fixture
def document(client):
    """The API's OpenAPI document."""
    return client.get("/api/v1/openapi.json").json


@pytest.fixture
def folder(tmp_path):
    """A folder with two images (one in a subfolder), a damaged image and a text file."""
    (tmp_path / "images" / "inner").mkdir(parents=True)
    for name, data in {
        "b.PNG": encode(draw_lesion()),
        "inner/c.jpg": encode(draw_lesion(), "JPEG"),
        "a.png": b"hello",
        "notes.txt": b"seen on Monday",
    }.items():
        (tmp_path / "images" / name).write_bytes(data)
    return tmp_path / "images"


@pytest.fixture
def run(app):
    def run(*arguments):
        return app.test_cli_runner().invoke(args=["classify", *map(str, arguments)])

    return run


@pytest.fixture(scope="module")  # nothing else can run an event loop while it is open
def browser():
    playwright = require("playwright.sync_api")
    with playwright.sync_playwright() as tools:
        browser = tools.chromium.launch(**chromium())
        yield browser
        browser.close()


@pytest.fixture
def phone(browser):
    """A page of a browser with service workers and nothing stored by other tests."""
    with window(browser, 375, service_workers="allow") as page:
        yield page


@pytest.fixture(scope="module")
def desk(browser):
    with desk_of(browser) as desk:
        yield desk


@pytest.fixture(scope="module")
def address(app):
    """The app on a port of this machine, for a browser."""
    get_classifier(app).load()
    with serving(app) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def page(desk, address):
    """The upload page in Chromium, for tests that run a module of static/ and change nothing."""
    page = desk.new_page()
    page.goto(address)
    yield page
    page.close()
