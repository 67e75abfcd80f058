"""The network in the browser gives what the server's engine gives."""

import numpy as np
import pytest

from lesion_lens.model.views import eight_views, occluded, predict
from lesion_lens.web.current import get_classifier
from skin_cancer_detection import preprocess
from tests.support.drawings import draw_grainy_lesion, draw_lesion, draw_motley_lesion, draw_spots

NOISE = np.random.default_rng(0).integers(0, 256, (10, 28, 28, 3), np.uint8)
DRAWN = [draw_lesion(), draw_grainy_lesion(3), draw_grainy_lesion(238), draw_motley_lesion(297)]
FLAT = [np.full((28, 28, 3), level, np.uint8) for level in (0, 255)]
IMAGES = [*map(preprocess, DRAWN), *draw_spots(14, seed=1), *NOISE, *FLAT]

PREDICT = """async ([images, withMap]) => {
    const { readModel } = await import("/static/network.js");
    const { predict } = await import("/static/occlusion.js");
    const { layers } = readModel(await (await fetch("/model/device")).arrayBuffer());
    return images.map((pixels) => {
        const { views, occlusion } = predict(layers, Uint8Array.from(pixels), withMap);
        return { views: views.map((view) => [...view]), occlusion };
    });
}"""
COPIES = """async (pixels) => {
    const { eightViews, occluded } = await import("/static/occlusion.js");
    const image = Uint8Array.from(pixels);
    return [...eightViews(image), ...occluded(image)].map((copy) => [...copy]);
}"""


def listed(images):
    return [image.ravel().tolist() for image in images]


def test_thirty_images_have_the_probabilities_of_the_server(app, page):
    assert len(IMAGES) == 30
    engine = get_classifier(app).load()
    for pixels, found in zip(IMAGES, page.evaluate(PREDICT, [listed(IMAGES), False]), strict=True):
        wanted = predict(engine, pixels, with_map=False)
        assert np.allclose(found["views"], wanted.views, rtol=0, atol=1e-5)
        assert found["occlusion"] is None


def test_the_occlusion_map_is_that_of_the_server(app, page):
    images = IMAGES[:6]
    engine = get_classifier(app).load()
    for pixels, found in zip(images, page.evaluate(PREDICT, [listed(images), True]), strict=True):
        wanted = predict(engine, pixels).occlusion
        assert np.abs(wanted).max() > 0.01
        assert np.allclose(found["occlusion"], wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("pixels", [IMAGES[1], NOISE[0]], ids=["drawn", "noise"])
def test_views_and_covered_images_are_the_same_bytes(page, pixels):
    wanted = [*eight_views(pixels[np.newaxis])[:, 0], *occluded(pixels)]
    assert page.evaluate(COPIES, pixels.ravel().tolist()) == listed(wanted)
