"""A browser on its own gives the server's answers, for drawn images and for the originals."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from lesion_lens import ROOT
from lesion_lens.web.pages import today
from skin_cancer_detection import CODES
from tests.support.drawings import draw_for, draw_grainy_lesion, draw_motley_lesion, encode
from tests.support.pages import upload

# What the page says about where the result was made.
WHERE = re.compile(
    r"It was not stored\.|Classified on this device\. It was not sent\.|Where\s+On this device.*"
)
# The map takes 49 of the 57 runs of the network for an image. So only these files get one, PNGs and
# JPEGs in turn; for the others, the comparison leaves it out.
WITH_MAP = slice(None, None, 21)
MAP = re.compile(r'<figure class="map">.*?</section>', re.DOTALL)
MODULE = (ROOT / "static" / "occlusion.js").read_text()
WITHOUT_MAP = MODULE.replace("withMap ? occlusionMap(layers, pixels, views) : null", "[[0]]")
# A separate field, because the form's own would check each image for remarks.
FILES = "() => document.body.insertAdjacentHTML('beforeend', '<input type=file id=files multiple>')"
# Lets the worker classify the files in that field, and returns its pages.
CLASSIFY = """async (today) => {
    const { device, integrity } = document.getElementById("upload").dataset;
    const worker = new Worker("/static/device.js", { type: "module" });
    const address = new URL(device, location).href;
    const pages = [];
    for (const file of document.getElementById("files").files) {
        const { name } = file;
        worker.postMessage({ file, name, crop: null, address, integrity, today });
        const { html, error, fault } = await new Promise((resolve) => {
            worker.onmessage = ({ data }) => resolve(data);
        });
        pages.push(html?.replace(/"data:image.jpeg[^"]*"/, '""') ?? error ?? fault);
    }
    worker.terminate();
    return pages;
}"""


@pytest.fixture(scope="module")
def drawn_files(tmp_path_factory):
    """The paths of 204 drawn images of many sizes; half of them are JPEGs."""
    folder = tmp_path_factory.mktemp("drawn")
    images = {level: draw_for(level) for level in ("high", "raised", "low", "unknown")}
    for seed in range(98):
        draw = (draw_grainy_lesion, draw_motley_lesion)[seed % 2]
        images[str(seed)] = draw(seed, (60 + 3 * seed, 45 + 2 * seed))
    for number, (name, image) in enumerate(images.items()):
        (folder / f"{name}.png").write_bytes(encode(image, compress_level=1))
        (folder / f"{name}.jpg").write_bytes(encode(image, "JPEG", quality=60 + number % 40))
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def pairs(desk, address, app):
    """A function that classifies files, and returns the browser's and the server's pages."""

    def classify(paths):
        mapped = paths[WITH_MAP]
        others = [path for path in paths if path not in mapped]
        client = app.test_client()
        found = {}
        for some, has_map in ((mapped, True), (others, False)):
            page = desk.new_page()
            for path, here in zip(some, answers_of(page, address, some, has_map), strict=True):
                there = upload(client, path.read_bytes(), name=path.name).get_data(as_text=True)
                both = (here, there)
                found[path.name] = both if has_map else [MAP.sub("", html) for html in both]
            page.close()
        return found

    return classify


def answers_of(page, address, paths, has_map):
    """Return the pages that a browser makes for files."""
    if not has_map:
        response = {
            "body": WITHOUT_MAP,
            "content_type": "text/javascript",
            "headers": {"Cross-Origin-Embedder-Policy": "require-corp"},  # like the page
        }
        page.route("**/static/occlusion.js", lambda route: route.fulfill(**response))
    page.goto(address)
    page.evaluate(FILES)
    page.set_input_files("#files", paths)
    return page.evaluate(CLASSIFY, str(today()))


def probabilities(html):
    values = {
        code: float(value) for value, code in re.findall(r'<data value="(.*?)" id="(.*?)"', html)
    }
    return np.array([values[code] for code in CODES])


def pixels(html):
    png = re.search(r'id="pixels" src="data:image/png;base64,(.*?)"', html)[1]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")).astype(int)


def level(html):
    return re.search(r"Risk: (\w+)", html)[1]


def said(html):
    """Return the lines of a page's main part, except those about where it was made."""
    main = html.split('<main id="main">')[1].split("</main>")[0]
    text = WHERE.sub("", re.sub(r"<[^>]*>", "\n", main))
    return [line.strip() for line in text.splitlines() if line.strip()]


def assert_same(pairs, most_pixels, most):
    """Compare the pages: pixels, probabilities, level and sentences."""
    off = {}
    for name, (here, there) in pairs.items():
        assert np.abs(pixels(here) - pixels(there)).max() <= most_pixels, name
        off[name] = np.abs(probabilities(here) - probabilities(there)).max()
        assert level(here) == level(there), name
        assert said(here) == said(there), name
    assert max(off.values()) < most, off
    assert np.median(list(off.values())) < 2e-3


def test_drawn_images_give_the_servers_answers(pairs, drawn_files):
    found = pairs(drawn_files)
    assert {level(there) for _, there in found.values()} == {"high", "raised", "low", "unknown"}
    assert_same({name: found[name] for name in found if name.endswith(".png")}, 0, 1e-4)
    assert_same({name: found[name] for name in found if name.endswith(".jpg")}, 2, 1e-2)


def test_the_originals_give_the_servers_answers(pairs, original_files):
    assert_same(pairs(original_files), 2, 1e-2)
