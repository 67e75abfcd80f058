"""The browser makes the same 28×28 pixels of a file as the server does, and refuses what it does."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image, ImageCms

from lesion_lens.model.errors import DamagedImage, EmptyImage
from lesion_lens.model.images import read_image
from lesion_lens.web.device_images import UNREADABLE, image_limits
from skin_cancer_detection import SIDE, preprocess
from tests.support.drawings import draw_grainy_lesion, draw_lesion, encode

READ = """async ([files, limits]) => {
    const { readImage } = await import("/static/pixels.js");
    const found = {};
    for (const [name, data] of Object.entries(files)) {
        const file = new File([Uint8Array.from(atob(data), (byte) => byte.charCodeAt(0))], name);
        const image = await readImage(file, limits).catch((error) => ({ error: error.message }));
        if (image.pixels) image.pixels = [...image.pixels];
        found[name] = image;
    }
    return found;
}"""


def arguments_of(files):
    return [{name: base64.b64encode(data).decode() for name, data in files.items()}, image_limits()]


@pytest.fixture(scope="module")
def read(desk, address):
    """What the browser reads of files: a function of their names and bytes."""
    page = desk.new_page()
    page.goto(address)
    yield lambda files: page.evaluate(READ, arguments_of(files))
    page.close()


def deviations(found, files):
    """For each file, how far the pixels are from the server's, in grey levels: most and mean."""
    result = {}
    for name, data in files.items():
        assert "error" not in found[name], (name, found[name])
        server = preprocess(read_image(data)).ravel().astype(int)
        off = np.abs(np.array(found[name]["pixels"]) - server)
        result[name] = (off.max(), off.mean())
    return result
