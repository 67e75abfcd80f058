"""Comparing what a browser reads from image files on its own with what the server reads."""

import base64

import numpy as np

from lesion_lens.model.images import read_image
from lesion_lens.web.device_images import image_limits
from skin_cancer_detection import preprocess

# Run in a page of the app with `arguments_of` files; returns each result of `readImage`, by name.
READ = """async ([files, limits]) => {
    const { readImage } = await import("/static/pixels.js");
    const found = {};
    for (const [name, data] of Object.entries(files)) {
        const letters = atob(data);
        const bytes = new Uint8Array(letters.length);
        for (let at = 0; at < bytes.length; at += 1) bytes[at] = letters.charCodeAt(at);
        const file = new File([bytes], name);
        const image = await readImage(file, limits).catch((error) => ({ error: error.message }));
        if (image.pixels) image.pixels = [...image.pixels];
        found[name] = image;
    }
    return found;
}"""


def arguments_of(files):
    """Return the arguments of READ: the files, given as bytes by name, and the limits."""
    return [{name: base64.b64encode(data).decode() for name, data in files.items()}, image_limits()]


def deviations(found, files):
    """Return how far each file's pixels are from the server's, in grey levels: (max, mean)."""
    off = {}
    for name, data in files.items():
        assert "error" not in found[name], (name, found[name])
        server = preprocess(read_image(data)).ravel().astype(int)
        off[name] = np.abs(np.array(found[name]["pixels"]) - server)
    return {name: (distances.max(), distances.mean()) for name, distances in off.items()}
