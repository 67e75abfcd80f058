"""Measure how often the page makes remarks on images, and what removing black borders does.

    python -m scripts.measure_remarks                 HAM10000 in data/ or in $HAM10000_DIR
    python -m scripts.measure_remarks --csv A.csv --metadata B.csv

Chromium runs static/remarks.js on the full-size originals, `ISIC_….jpg` in subfolders: unchanged,
when remarks should be rare, and degraded in one way at a time, when they should be made. Then black
borders are added, and the page finds and removes them. The model's answers are compared with those
for the originals by the rule of `scripts.measure_crops`.
"""

import base64
import io
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter
from playwright.sync_api import Page, Route, sync_playwright

from lesion_lens import ROOT
from lesion_lens.model.classifier import Classifier
from lesion_lens.model.crops import LEAST_VIEW
from scripts.chromium import launch
from scripts.measure_crops import Sample, answer, compare, cut, head, loaded, originals, row
from skin_cancer_detection import preprocess

Change: TypeAlias = Callable[[Image.Image], Image.Image]

KEPT = (0.9, 0.8, 0.7, 0.6, 0.5)  # shares of each side that a black border leaves


def darkened(image: Image.Image) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(0.45)


def overexposed(image: Image.Image) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(1.8)


def blurred(image: Image.Image) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(4))


def reflecting(image: Image.Image) -> Image.Image:
    """Draw a white reflection over 1/60 of the image."""
    image = image.copy()
    width, height = image.size
    box = (width * 0.3, height * 0.3, width * 0.44, height * 0.45)
    ImageDraw.Draw(image).ellipse(box, "white")
    return image


def far_away(image: Image.Image) -> Image.Image:
    """Shrink the image to a tenth of its width, on skin of its own colour."""
    edge = np.concatenate([np.asarray(image)[0], np.asarray(image)[-1]])
    skin = Image.new("RGB", image.size, tuple(np.median(edge, axis=0).astype(int).tolist()))
    width, height = image.width // 10, image.height // 10
    mask = Image.new("L", (width, height))
    ImageDraw.Draw(mask).ellipse((4, 4, width - 4, height - 4), 255)
    place = (image.width * 45 // 100, image.height * 45 // 100)
    skin.paste(
        image.resize((width, height)), place, mask.filter(ImageFilter.GaussianBlur(width // 15))
    )
    return skin


def halved(image: Image.Image) -> Image.Image:
    return image.crop((image.width // 2, 0, image.width, image.height))


def bordered(image: Image.Image, kept: float = 0.8) -> Image.Image:
    """Add a black border, so that the image has a share of each side."""
    width, height = round(image.width / kept), round(image.height / kept)
    frame = Image.new("RGB", (width, height), (6, 6, 6))
    frame.paste(image, ((width - image.width) // 2, (height - image.height) // 2))
    return frame


def round_view(image: Image.Image) -> Image.Image:
    """Keep only a round field of view, slightly higher than the image."""
    mask = Image.new("L", image.size)
    radius = 0.6 * image.height
    x, y = image.width / 2, image.height / 2
    ImageDraw.Draw(mask).ellipse((x - radius, y - radius, x + radius, y + radius), 255)
    return Image.composite(image, Image.new("RGB", image.size, (6, 6, 6)), mask)


# How an image is degraded, and the remarks of which at least one should follow.
SPOILED: dict[str, tuple[Change, tuple[str, ...]]] = {
    "darkened to 45 %": (darkened, ("dark",)),
    "overexposed by 80 %": (overexposed, ("bright",)),
    "blurred, radius 4": (blurred, ("blurred",)),
    "a white reflection": (reflecting, ("glare",)),
    "the spot a tenth as wide": (far_away, ("small",)),
    "cut through the middle": (halved, ("cut-off",)),
    "a black border": (bordered, ("border",)),
    "a round black field of view": (round_view, ("corners", "border")),
}

INSPECT = """async ([data, cuts]) => {
  const { inspect } = await import("/remarks.js");
  const { cutOut } = await import("/decode.js");
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const file = new File([bytes], "lesion.jpg", { type: "image/jpeg" });
  const { view, remarks } = await inspect(file);
  if (!cuts) return { view, remarks };
  const cut = new Uint8Array(await (await cutOut(file, view)).arrayBuffer());
  const letters = Array.from(cut, (byte) => String.fromCharCode(byte));
  return { view, remarks, cut: btoa(letters.join("")) };
}"""


@contextmanager
def page_of_scripts() -> Iterator[Page]:
    """Open a page in Chromium that can import the scripts in static/, and nothing else."""

    def answer_from_disk(route: Route) -> None:
        name = route.request.url.rsplit("/", 1)[1]
        if name.endswith(".js"):
            route.fulfill(
                body=(ROOT / "static" / name).read_bytes(), content_type="text/javascript"
            )
        else:
            route.fulfill(body="<!doctype html><title>Scripts</title>", content_type="text/html")

    with sync_playwright() as tools:
        page = launch(tools).new_page()
        page.route("**/*", answer_from_disk)
        page.goto("http://localhost/")
        yield page


def look(page: Page, image: Image.Image, cuts: bool = False) -> dict[str, Any]:
    """Let the page inspect an image: its `remarks`, `view` and, with `cuts`, the cropped file."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=95)
    found: dict[str, Any] = page.evaluate(
        INSPECT, [base64.b64encode(file.getvalue()).decode(), cuts]
    )
    return found


def report_remarks(page: Page, sample: Sample) -> None:
    """Print how often each remark is made on a sample, unchanged and degraded."""
    count = len(sample.pictures)
    if not count:
        return
    made = Counter(key for image in sample.pictures for key in look(page, image)["remarks"])
    print(f"\n{sample.name}: {count} images\n\n| remark | on unchanged images |\n|---|---|")
    for key in dict.fromkeys(key for _, keys in SPOILED.values() for key in keys):
        print(f"| {key} | {made[key]} |")
    print("\n| degraded | with a remark |\n|---|---|")
    for name, (change, keys) in SPOILED.items():
        found = [look(page, change(image))["remarks"] for image in sample.pictures]
        print(f"| {name} | {sum(not set(keys).isdisjoint(one) for one in found)} |", flush=True)


def report_borders(page: Page, classifier: Classifier, sample: Sample) -> None:
    """Print how adding black borders and removing them again changes the answers."""
    if not sample.pictures:
        return
    whole = answer(classifier, cut(sample.pictures, 1, (0, 0)))
    print(f"\n{sample.name}, black borders added and removed\n")
    print(head("image's share of each side", "found"))
    for kept in KEPT:
        looks = [look(page, bordered(image, kept), cuts=True) for image in sample.pictures]
        files = [io.BytesIO(base64.b64decode(one["cut"])) for one in looks]
        pixels = np.stack([preprocess(Image.open(file).convert("RGB")) for file in files])
        effect = compare(whole, [answer(classifier, pixels)], sample.is_malignant)
        found = sum("border" in one["remarks"] for one in looks)
        print(row(kept, effect, f"{found}"), flush=True)


def main() -> None:
    csv_path, data, parts, classifier = loaded(__doc__)
    with page_of_scripts() as page:
        for name, part in (
            ("Originals, training and calibration parts", parts != "test"),
            ("Originals, test part", parts == "test"),
        ):
            sample = originals(csv_path, data, name, part)
            report_remarks(page, sample)
            report_borders(page, classifier, sample)
    print(f"\nLEAST_VIEW is {LEAST_VIEW}.")


if __name__ == "__main__":
    main()
