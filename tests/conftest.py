"""What the tests share: the real data where it is, made data where it is not, the running app."""

import contextlib
import functools
import importlib
import io
import json
import os
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter
from werkzeug.serving import make_server

ROOT = Path(__file__).resolve().parents[1]
SCREENSHOTS = ROOT / "screenshots"
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
sys.path.insert(0, str(ROOT))
os.chdir(ROOT)

from lesion_lens.model.files import (  # noqa: E402
    DEFAULT_MODEL_PATH,
    append_attributes,
    export_model,
    is_litert,
    read_attributes,
    save_model,
)
from lesion_lens.model.images import read_image  # noqa: E402
from lesion_lens.training.data import CSV_NAMES, METADATA_NAME, Dataset  # noqa: E402
from skin_cancer_detection import CODES, SIDE, build_model  # noqa: E402

# What the tests of the app serve: best_model.h5, or best_model.tflite in `make test-litert`.
MODEL = Path(os.environ.get("MODEL_PATH", DEFAULT_MODEL_PATH)).resolve()


def require(module):
    """Import a module of requirements-dev.txt; without it skip the test, or fail it in CI."""
    try:
        return importlib.import_module(module)
    except ImportError:
        skip_or_fail(f"needs {module}: pip install -r requirements-dev.txt")


def skip_or_fail(reason):
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def real_data_folder():
    return Path(os.environ.get("HAM10000_DIR") or "data").resolve()


def skip_without(what):
    """Skip for want of real data; in CI fail, if the folder is there and only this is not."""
    reason = f"needs the real data: {what} in data/, or in the folder that HAM10000_DIR names"
    if os.environ.get("CI") and real_data_folder().is_dir():
        pytest.fail(reason)
    pytest.skip(reason)


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
    """Up to 124 images at full size, from whatever folder of the real data they are in."""
    files = sorted(real_data_folder().glob("*/ISIC_*.jpg"))[:124]
    if not files:
        skip_without("folders of the images ISIC_….jpg")
    return files


@pytest.fixture(scope="session")
def app():
    from app import create_app

    return create_app({"TESTING": True})


class CountedDecodes:
    """Decodes images as ever, a little slower, and keeps how many stood in work at once."""

    def __init__(self, decode):
        self.most, self._running, self._lock, self._decode = 0, 0, threading.Lock(), decode

    def __call__(self, data):
        with self._lock:
            self._running += 1
            self.most = max(self.most, self._running)
        time.sleep(0.02)
        try:
            return self._decode(data)
        finally:
            with self._lock:
                self._running -= 1


@pytest.fixture
def decodes(monkeypatch):
    counted = CountedDecodes(read_image)
    monkeypatch.setattr("lesion_lens.model.classifier.read_image", counted)
    return counted


@pytest.fixture
def client(app):
    return app.test_client()


@pytest.fixture(scope="module")  # while it is open, nothing else can run an event loop
def browser():
    playwright = require("playwright.sync_api")
    with playwright.sync_playwright() as tools:
        browser = tools.chromium.launch(**chromium())
        yield browser
        browser.close()


def chromium():
    """What playwright launches, and how."""
    path = next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)
    if path is None:
        skip_or_fail("needs Chromium: apt-get install chromium")
    switches = ["--no-sandbox", "--disable-quic", "--disable-background-networking"]
    return {"executable_path": path, "args": switches}


@pytest.fixture(scope="module")
def address(app):
    """The app on a port of this machine, for a browser."""
    app.extensions["classifier"].load()
    with serving(app) as port:
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def serving(application, port=0):
    """Serve a WSGI application while the context lasts; gives the port, a free one for 0."""
    server = make_server("127.0.0.1", port, application, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def pages_of(app):
    """The addresses of all pages that are there for the asking."""
    client = app.test_client()
    answers = {
        rule.rule: client.get(rule.rule)
        for rule in app.url_map.iter_rules()
        if "GET" in rule.methods and not rule.arguments
    }
    return {
        path
        for path, answer in answers.items()
        if answer.status_code == 200 and answer.mimetype == "text/html"
    }


def shoot(page, name):
    """Take a screenshot of the whole page to screenshots/, and see that nothing sticks out."""
    SCREENSHOTS.mkdir(exist_ok=True)
    scheme = (
        "dark" if page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches") else "light"
    )
    width = page.viewport_size["width"]
    page.screenshot(path=SCREENSHOTS / f"{name}-{width}-{scheme}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def draw_lesion(size=(600, 450)):
    """A drawn mole: a brown ellipse on pink skin."""
    image = Image.new("RGB", size, (226, 178, 158))
    width, height = size
    ImageDraw.Draw(image).ellipse(
        (width // 4, height // 4, width * 3 // 4, height * 3 // 4), fill=(104, 62, 42)
    )
    return image


def draw_grainy_lesion(seed, size=(600, 450)):
    """A drawn mole of any size and colour, with a soft edge and grain, more like a photograph."""
    rng = np.random.default_rng(seed)
    skin, mole = rng.normal((222, 172, 158), 8), rng.normal((95, 60, 45), 25)
    radius, (width, height) = rng.uniform(0.12, 0.35) * size[1], size
    image = Image.new("RGB", size, tuple(skin.astype(int)))
    ImageDraw.Draw(image).ellipse(
        (width / 2 - radius, height / 2 - radius, width / 2 + radius, height / 2 + radius),
        fill=tuple(np.clip(mole, 0, 255).astype(int)),
    )
    soft = image.filter(ImageFilter.GaussianBlur(height / 40))
    grain = rng.normal(0, 14, (height, width, 1))
    return Image.fromarray(np.clip(soft + grain, 0, 255).astype(np.uint8))


def write_model(folder, shares, facts=None, attributes=None):
    """Write a model file that gives every image the same probabilities, seven in all.

    It is of the kind that is under test, as is its suffix; returns its path.
    """
    path = folder / f"m{MODEL.suffix}"
    biases = np.log(shares).astype(np.float32).tobytes()
    path.write_bytes(indifferent_model(MODEL.suffix).replace(_BIASES, biases))
    change_attributes(path, {"training_facts": json.dumps(facts or {})} | (attributes or {}))
    return path


_BIASES = np.arange(1, len(CODES) + 1, dtype=np.float32).tobytes()


@functools.cache
def indifferent_model(suffix):
    """The bytes of a model file whose network gives every image the softmax of `_BIASES`."""
    model = build_model()
    kernel, _ = model.layers[-1].get_weights()
    model.layers[-1].set_weights([np.zeros_like(kernel), np.frombuffer(_BIASES, np.float32)])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "m.h5")
        save_model(model, path, {})
        if suffix == ".tflite":
            export_model(path, path.with_suffix(suffix))
        content = path.with_suffix(suffix).read_bytes()
    assert content.count(_BIASES) == 1
    return content


def copy_model(folder, attributes):
    """Copy the model under test and change some of its attributes; returns the copy's path."""
    path = Path(shutil.copy(MODEL, folder / f"m{MODEL.suffix}"))
    change_attributes(path, attributes)
    return path


def change_attributes(path, attributes):
    """Change attributes of a model file of either kind."""
    if is_litert(path):
        kept = read_attributes(path)
        path.write_bytes(path.read_bytes()[: kept["network_bytes"]])
        append_attributes(path, kept | attributes)
    else:
        with h5py.File(path, "r+") as file:
            file.attrs.update(attributes)


def made_scores():
    """Whatever of metrics.json's `test` the pages speak of."""
    matrix = np.diag([10] * len(CODES))
    matrix[CODES.index("mel")] = [1, 1, 5, 0, 15, 0, 28]  # 20 of 50 for benign classes
    return {
        "eight_views": {
            "images": 2345,
            "accuracy": {"value": 0.81},
            "per_class": {
                code: {"sensitivity": {"value": 0.56}, "precision": {"value": 0.61}}
                for code in CODES
            },
            "confusion_matrix": matrix.tolist(),
        },
        "decisions": {
            "low_risk": {
                "statement": {"missed_per_100": 4.0, "sensitivity": {"low": 0.93, "high": 0.98}}
            }
        },
    }


def encode(image, image_format="PNG", **options):
    file = io.BytesIO()
    image.save(file, image_format, **options)
    return file.getvalue()


def upload(client, data, name="lesion.png"):
    return client.post("/showresult", data={"pic": (io.BytesIO(data), name)})


def made_images(lesions_per_class=6, images_per_lesion=2, seed=0):
    """Made pictures, a colour for each class: pixels, labels and lesion ids as in `Dataset`."""
    rng = np.random.default_rng(seed)
    colours = np.linspace(30, 220, len(CODES))
    labels = np.repeat(np.arange(len(CODES)), lesions_per_class * images_per_lesion)
    noise = rng.normal(0, 8, (len(labels), SIDE, SIDE, 3))
    tint = np.stack([colours[labels], 255 - colours[labels], np.full(len(labels), 90.0)], axis=1)
    pixels = np.clip(tint[:, None, None, :] + noise, 0, 255).astype(np.uint8)
    lesion_ids = np.array([f"HAM_{row // images_per_lesion:07}" for row in range(len(labels))])
    return Dataset(pixels, labels, lesion_ids)


def write_csv(data, folder):
    """Write a data set as Kaggle's two files; returns their paths."""
    csv_path, metadata_path = folder / CSV_NAMES[0], folder / METADATA_NAME
    header = ",".join([f"pixel{i:04d}" for i in range(SIDE * SIDE * 3)] + ["label"])
    table = np.column_stack([data.pixels.reshape(len(data.labels), -1), data.labels])
    np.savetxt(csv_path, table, fmt="%d", delimiter=",", header=header, comments="")
    rows = [
        f"{lesion_id},ISIC_{row:07},{CODES[label]}"
        for row, (lesion_id, label) in enumerate(zip(data.lesion_ids, data.labels, strict=True))
    ]
    metadata_path.write_text("\n".join(["lesion_id,image_id,dx", *rows]) + "\n")
    return csv_path, metadata_path
