"""A browser puts together the same answer, and the same page for it, as the server."""

import base64

import numpy as np
import pytest
from flask import render_template

from lesion_lens.model.crops import Box, Crop
from lesion_lens.model.decoder import DecodedImage
from lesion_lens.model.views import predict
from lesion_lens.web.current import get_classifier
from lesion_lens.web.device import facts_of
from lesion_lens.web.pages import as_png, context_of, data_address
from skin_cancer_detection import preprocess
from tests.support.drawings import draw_for, draw_grainy_lesion, draw_lesion, encode
from tests.support.pages import app_with

CUT = Crop(Box(0.3, 0.3, 0.7, 0.7))
PICTURES = [
    *((draw_for(level), None) for level in ("high", "raised", "low", "unknown")),
    (draw_for("low"), CUT),
    *((draw_grainy_lesion(seed), None) for seed in range(6)),
]
ANSWER = """async ([facts, cases]) => {
    const { answerOf } = await import("/static/answer.js");
    const { pageOf } = await import("/static/device_page.js");
    const { judge } = await import("/static/familiarity.js");
    return cases.map(({ prediction, pixels, crop, image, name, today }) => {
        const views = prediction.views.map((view) => Float32Array.from(view));
        const judged = judge(Uint8Array.from(pixels), facts.rules);
        const answer = answerOf({ ...prediction, views }, judged, crop, facts);
        answer.probabilities = [...answer.probabilities];
        return { answer, html: pageOf(answer, image, name, facts, { today }) };
    });
}"""


def made_case(classifier, picture, crop):
    """Return the server's answer and page for an image, and the input for the browser's."""
    pixels = preprocess(picture)
    image = DecodedImage(pixels, picture.size, b"a preview", (320, 240))
    answer = classifier(pixels, True, crop)
    context = context_of("a.png", image, answer)
    prediction = predict(classifier.load(), pixels, True)
    given = {
        "prediction": {
            "views": prediction.views.tolist(),
            "occlusion": prediction.occlusion.tolist(),
        },
        "pixels": pixels.ravel().tolist(),
        "crop": crop
        and {name: getattr(crop, name) for name in ("is_harmless", "removed", "cut_black")},
        "image": {
            "preview": data_address(image.preview, "image/jpeg"),
            "preview_size": image.size,
            "png": data_address(as_png(pixels), "image/png"),
        },
        "name": "a.png",
        "today": str(context["today"]),
    }
    return answer, render_template("result.html", on_device=True, **context), given


@pytest.fixture(scope="module")
def made():
    """The facts of an app, and for each image its answer, its page and the browser's input."""
    with app_with().test_request_context():
        classifier = get_classifier()
        return facts_of(classifier), [made_case(classifier, *picture) for picture in PICTURES]


@pytest.fixture(scope="module")
def cases(page, made):
    facts, ours = made
    theirs = page.evaluate(ANSWER, [facts, [given for *_, given in ours]])
    return [(*ours[:2], *there.values()) for ours, there in zip(ours, theirs, strict=True)]


def test_an_answer_has_what_that_of_the_server_has(cases):
    levels, familiarities = set(), set()
    for ours, _, theirs, _ in cases:
        levels.add(theirs["risk_level"])
        familiarities.add(theirs["familiarity"])
        assert np.allclose(theirs["probabilities"], ours.probabilities, atol=1e-12)
        assert theirs["urgency"] == pytest.approx(ours.urgency)
        assert theirs["distance"] == pytest.approx(ours.distance, rel=1e-4)
        for name in ("familiarity", "reason", "lacks_rules", "risk_level", "next_step"):
            assert theirs[name] == getattr(ours, name)
    assert levels == {"high", "raised", "low", "unknown"}
    assert familiarities == {"familiar", "unfamiliar", "not dermatoscopic"}


def test_the_page_of_an_answer_is_that_of_the_server(cases):
    for _, ours, _, theirs in cases:
        shown, expected = (
            html.split('<main id="main">')[1].split("</main>")[0].strip() for html in (theirs, ours)
        )
        assert shown == expected


# An answer reads only some entries of these. What the template reads of `context` is tested in
# test_device_pages.py.
TABLES = [
    *("rules.next_steps.", "page.context.", "page.meanings.", "page.reasons.", "page.verdicts."),
    *("page.trees.", "page.wording.words.", "images.sentences."),
]
# Finds the facts that are not read while answers and pages are made and images are read.
UNREAD = """async ([facts, cases, files, tables]) => {
    const { readImage } = await import("/static/pixels.js");
    const unread = new Set();
    const watched = (value, path) => {
        const isObject = value !== null && typeof value === "object" && !Array.isArray(value);
        if (!isObject || tables.includes(path)) return value;
        const inner = {};
        for (const [name, one] of Object.entries(value)) {
            const content = watched(one, `${path}${name}.`);
            unread.add(path + name);
            const get = () => { unread.delete(path + name); return content; };
            Object.defineProperty(inner, name, { get, enumerable: true });
        }
        return inner;
    };
    const all = watched(facts, "");
    await (ANSWER)([all, cases]);
    for (const data of files) {
        const bytes = Uint8Array.from(atob(data), (byte) => byte.charCodeAt(0));
        await readImage(new File([bytes], "a"), all.images);
    }
    return [...unread];
}""".replace("ANSWER", ANSWER)


def test_a_browser_reads_every_fact(page, made):
    facts, ours = made
    files = [base64.b64encode(encode(draw_lesion(), name)).decode() for name in ("PNG", "JPEG")]
    unread = page.evaluate(UNREAD, [facts, [given for *_, given in ours], files, TABLES])
    assert unread == ["model_sha256"]  # for people, to see which model the file is made from
